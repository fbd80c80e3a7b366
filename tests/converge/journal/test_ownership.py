"""Whose a run is: a journal may have runs of several targets of one account."""

from __future__ import annotations

from typing import Any

import pytest

from converge.journal.history import Entry, Story
from converge.journal.ownership import OtherTarget, owner, refuse_other, stays_for
from hosts.schema import Inventory


def story_of(**plan: Any) -> Story:
    return Story("R1", [Entry("plan", 0.0, {"who": "ada", **plan})])


def elsewhere(inventory: Inventory, **web: str) -> Inventory:
    return inventory.changed({"name": "other", "file": "hosts/other.toml", "web": inventory.web.changed(web)})


def test_own_run_is_ours(inventory: Inventory) -> None:
    story = story_of(**owner(inventory, "ada"))
    assert refuse_other(story, inventory) is story
    assert stays_for(story, inventory) == ""


def test_run_of_another_site_is_not_taken_back(inventory: Inventory) -> None:
    inv = elsewhere(inventory, server_name="other.example", listen="/srv/other.sock")
    said = (
        r"run R1 is of the target demo, and hosts/other\.toml is of another site \(server_name app\.example, not "
        r"other\.example, listen .*, not /srv/other\.sock\): nothing was done, .*the inventory of that run: --target demo"
    )
    with pytest.raises(OtherTarget, match=said):
        refuse_other(story_of(**owner(inventory, "ada")), inv)


def test_run_of_this_inventory_as_it_was_before_it_was_edited_names_that_one(inventory: Inventory) -> None:
    edited = inventory.changed({"file": "hosts/demo.toml", "web": inventory.web.changed({"listen": "/srv/other.sock"})})
    said = (
        r"run R1 is of the target demo, and hosts/demo\.toml is of another site \(listen .*, not /srv/other\.sock\): "
        r"nothing was done, .*\. It was edited since: use the inventory as it was then \(git log -p hosts/demo\.toml\), as "
        r"a file of its own: --target PATH"
    )
    with pytest.raises(OtherTarget, match=said):
        refuse_other(story_of(**owner(inventory, "ada")), edited)


def test_inventory_that_was_renamed_takes_its_run_back_and_purges_nothing(inventory: Inventory) -> None:
    story = story_of(**owner(inventory, "ada"))
    renamed = inventory.changed({"name": "renamed", "soak_days": 0})
    assert refuse_other(story, renamed) is story
    assert stays_for(story, renamed) == "it is of the target demo: only that one's inventory purges it"


def test_app_host_that_was_replaced_makes_no_other_target(inventory: Inventory) -> None:
    host = inventory.app_host.changed({"address": "newer.example", "hostname": "newer"})
    moved = inventory.changed({"hosts": {**inventory.hosts, inventory.app_host.name: host}})
    assert stays_for(story_of(**owner(inventory, "ada")), moved) == ""


def test_journal_of_an_earlier_version_has_the_name_alone(inventory: Inventory) -> None:
    assert stays_for(story_of(target=inventory.name), inventory) == ""
    refuse_other(story_of(target=inventory.name), inventory)
    with pytest.raises(OtherTarget, match=r"target lab:b, not demo\)"):
        refuse_other(story_of(target="lab:b"), inventory)
    assert stays_for(story_of(target="lab:b"), inventory).startswith("it is of the target lab:b: ")


def test_run_of_which_nothing_tells_whose_it_is_can_be_taken_back_and_is_kept(inventory: Inventory) -> None:
    story = Story("R1", [Entry("intent", 0.0, {"n": 1})])
    assert refuse_other(story, inventory) is story
    assert stays_for(story, inventory).startswith("its journal does not say of which target it is: ")
