"""A run is taken back from a machine that has nothing of it: all that it needs is on the hosts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from converge.errors import Exit
from converge.journal.journal import line, stories
from converge.runs.rollback import roll_back
from converge.runs.undo_plan import SiteRestsOnIt, way_script
from converge.steps import RemedyContext, Step, Write
from hosts.schema import Inventory
from tests.converge.backwards import noted
from tests.converge.stage import Desk, Severed, Stage, build_stage
from tests.converge.world import build


@pytest.fixture
def stage(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.chdir(tmp_path)
    made = build_stage(build(tmp_path, inventory, monkeypatch), Severed(), monkeypatch)

    def two(ctx: RemedyContext) -> Iterator[Step]:
        yield Step("A/clone", "control", "make a clone", (Write(f"{ctx.workdir}/clone", "x"),))
        yield from made.writer("A")(ctx)

    made.add("A", two)
    made.go()
    shutil.rmtree(made.world.top / "reports")
    return made


def from_elsewhere(stage: Stage, desk: Desk) -> Exit:
    links = {"new": stage.link, "control": desk}
    return roll_back(stage.world.inv, links, "R1", "R2", "bob", stage.said.append, desk.home / "reports")[0]


def test_what_was_done_on_hosts_is_taken_back_from_anywhere_and_the_rest_is_named(stage: Stage, tmp_path: Path) -> None:
    desk = Desk(tmp_path / "desk")
    assert from_elsewhere(stage, desk) is Exit.FAILS
    assert not stage.holds("A")
    stays = "stays: its way back is not on control: was it done from another machine?"
    assert f"step 1, make a clone: {stays}" in stage.said
    first, second = stories(stage.link)
    assert first.undone() == {2}
    assert second.end
    assert second.end["reason"] == f"step 1 {stays}"
    assert not (desk.home / ".local").exists(), "nothing acted there"


def test_a_machine_that_has_nothing_of_the_run_is_no_witness_that_a_step_never_began(stage: Stage, tmp_path: Path) -> None:
    told: dict[str, Any] = {"n": 3, "step": "A/deploy", "host": "control", "sentence": "deploy", "carries": True}
    noted(stage, line("intent", **told))
    desk = Desk(tmp_path / "desk")
    assert desk.exec(way_script("R1", 3), limit=9).out == b"elsewhere\n"
    assert stage.link.exec(way_script("R1", 3), limit=9).out == b"never\n"
    with pytest.raises(SiteRestsOnIt, match=r"rests on step 3 \(A/deploy at control: deploy\)"):
        from_elsewhere(stage, desk)
    assert stage.holds("A")
