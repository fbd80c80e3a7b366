"""A run is not taken back beneath what later ones did."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from converge.errors import Exit
from converge.journal.journal import line, stories
from converge.journal.ownership import OtherTarget
from converge.runs.recovery import close_open_runs
from converge.runs.undo_plan import JournalDamaged, LaterRunStands, SiteRestsOnIt
from converge.shell.library import Rc
from converge.steps import Condition, Needless, RemedyContext, Run, Step, Unit, Write
from hosts.command_line import command_line
from hosts.schema import Inventory
from tests.converge.backwards import back, commanded, damaged, noted, typed
from tests.converge.stage import Severed, Stage, build_stage
from tests.converge.world import build


@pytest.fixture
def stage(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.chdir(tmp_path)
    return build_stage(build(tmp_path, inventory, monkeypatch), Severed(), monkeypatch)


def base(_: RemedyContext, stage: Stage) -> Iterator[Step]:
    """A run's steps that come before the site is handed over: the unit's file, and something else."""
    acts = (Write(f"{stage.world.root}/unit", "ConditionHost=new"), Write(f"{stage.world.root}/A", "x"))
    yield Step("A/unit", "new", "write the unit", acts)


def serving(stage: Stage, **changes: Any) -> Callable[[RemedyContext], Iterator[Step]]:
    """A remedy that hands the site over, and enables what serves then."""
    words: dict[str, Any] = {"undo": (Run(f"echo migrate | put {stage.world.root}/served 644"),), "serves": True, **changes}

    def remedy(_: RemedyContext) -> Iterator[Step]:
        yield Step("B/serve", "new", "let it serve", (Run(f"echo prod | put {stage.world.root}/served 644"),), **words)
        yield Step("B/enable", "new", "enable it", (Unit("enable", "app.service"), Write(f"{stage.world.root}/B", "x")))

    return remedy


def two_runs(stage: Stage, **changes: Any) -> None:
    """R1 writes the unit's file; R2 hands the site over, by a step with `changes`, and enables it."""
    (stage.world.root / "unit").write_text("ConditionHost=old")
    stage.add("A", partial(base, stage=stage))
    stage.go("R1")
    stage.add("B", serving(stage, **changes))
    stage.go("R2")


def unit_file(stage: Stage) -> str:
    return (stage.world.root / "unit").read_text()


def test_a_run_is_not_taken_back_beneath_a_later_cutover(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    two_runs(stage)
    with pytest.raises(
        LaterRunStands, match=r"of run R2: step 1 \(B/serve at new: let it serve\). .*rollback R2 --target demo.toml`; of"
    ):
        back(stage, mine="R3")
    assert commanded(stage, monkeypatch) == Exit.USAGE
    again = command_line("rollback", "R2", target="demo.toml")
    assert f"Take back the newest run first: `{again}`; of" in capsys.readouterr().err
    assert unit_file(stage) == "ConditionHost=new"
    assert [story.id for story in stories(stage.link)] == ["R1", "R2"]


def test_the_newest_run_first_and_then_the_one_before_bring_the_site_back(stage: Stage) -> None:
    two_runs(stage)
    assert back(stage, run="R2", mine="R3") is Exit.HOLDS
    assert (stage.world.root / "served").read_text() == "migrate\n"
    assert stage.world.unit("app.service", "enabled") == "disabled"
    assert back(stage, run="R1", mine="R4") is Exit.HOLDS
    assert unit_file(stage) == "ConditionHost=old"


def test_a_later_cutover_that_stays_is_taken_back_by_a_person_first(stage: Stage) -> None:
    two_runs(stage, undo="which unit served is not known")
    with pytest.raises(LaterRunStands, match="of run R2: step 1 "):
        back(stage, mine="R3")
    assert back(stage, run="R2", mine="R3", by_hand=(1,)) is Exit.HOLDS
    assert back(stage, run="R1", mine="R4") is Exit.HOLDS
    assert unit_file(stage) == "ConditionHost=old"


def sited(at: Stage, run: str, **site: str) -> None:
    """The run's journal says of its site that this is other than it was; without words nothing of it, and another target."""
    file = at.world.home / f".local/state/hkn-migration/runs/{run}/journal.jsonl"
    first, rest = file.read_text().split("\n", 1)
    plan = json.loads(first)
    plan |= {"target": "other", "site": {**plan["site"], **site} if site else None}
    file.write_text(f"{json.dumps(plan)}\n{rest}")


def runs_by_clocks_apart(stage: Stage) -> None:
    """R8, of a laptop whose clock is ahead, writes the unit's file; R3 hands the site over after it."""
    (stage.world.root / "unit").write_text("ConditionHost=old")
    stage.add("A", partial(base, stage=stage))
    stage.go("R8")
    stage.add("B", serving(stage))
    stage.go("R3")


def test_a_later_run_is_the_one_that_began_later_whatever_the_laptops_clocks_said(stage: Stage) -> None:
    runs_by_clocks_apart(stage)
    assert [(story.id, story.seq) for story in stories(stage.link)] == [("R8", 1), ("R3", 2)]
    with pytest.raises(LaterRunStands, match=r"run R8 is not taken back: .* rollback R3 --target demo.toml`; of a step"):
        back(stage, run="R8", mine="R2")
    assert unit_file(stage) == "ConditionHost=new"
    assert back(stage, run="R3", mine="R2") is Exit.HOLDS
    assert back(stage, run="R8", mine="R1") is Exit.HOLDS
    assert unit_file(stage) == "ConditionHost=old"
    assert [story.id for story in stories(stage.link)] == ["R8", "R3", "R2", "R1"]


def test_a_damaged_run_whose_number_is_lost_counts_as_a_later_one(stage: Stage) -> None:
    runs_by_clocks_apart(stage)
    damaged(stage, "R3", '"seq"', kind="plan")
    assert close_open_runs({"new": stage.link}, stage.link, "R2").seq == 3, "the number that was R3's is left free"
    with pytest.raises(JournalDamaged, match="run R8 is not taken back: the journal of run R3, which came after it"):
        back(stage, run="R8", mine="R2")
    assert unit_file(stage) == "ConditionHost=new"


@pytest.mark.parametrize("web", [{"listen": "/srv/apps/new.sock"}, {"server_name": "new.example"}], ids=["listen", "name"])
def test_an_inventory_that_was_corrected_since_hides_no_later_run(stage: Stage, web: dict[str, str]) -> None:
    """R2 is of the corrected inventory; the one before is fetched from git to take R1 back."""
    (stage.world.root / "unit").write_text("ConditionHost=old")
    stage.add("A", partial(base, stage=stage))
    stage.go("R1")
    before = stage.world.inv
    stage.world.inv = before.changed({"web": before.web.changed(web)})
    stage.add("B", serving(stage))
    stage.go("R2")
    with pytest.raises(OtherTarget, match="the inventory as it was then"):
        back(stage, mine="R3")
    stage.world.inv = before
    with pytest.raises(LaterRunStands, match="of run R2: step 1 "):
        back(stage, mine="R3")
    assert unit_file(stage) == "ConditionHost=new"


@pytest.mark.parametrize("site", [{"server_name": "new.example", "stage": "/home/new", "listen": "/srv/new.sock"}, {}])
def test_a_later_run_that_shares_a_unit_or_does_not_say_what_is_its_is_in_the_way(
    stage: Stage, site: dict[str, str]
) -> None:
    two_runs(stage)
    sited(stage, "R2", **site)
    with pytest.raises(LaterRunStands, match="of run R2: step 1 "):
        back(stage, mine="R3")


def test_a_later_run_of_another_site_of_the_account_is_not_in_the_way(stage: Stage) -> None:
    two_runs(stage)
    sited(stage, "R2", server_name="blog.example", unit="blog.service", stage="/home/blog", listen="/srv/blog.sock")
    assert back(stage, mine="R3") is Exit.HOLDS


@pytest.mark.parametrize(
    "changes",
    [
        {"when": (Condition("nothing serves", "false"),)},
        {"undo": Needless("it ran before")},
        {"serves": False},
    ],
    ids=["refused", "needless", "no cutover"],
)
def test_a_later_run_that_carries_nothing_keeps_no_run_from_being_taken_back(stage: Stage, changes: dict[str, Any]) -> None:
    two_runs(stage, **changes)
    assert back(stage, mine="R3") is Exit.HOLDS
    assert unit_file(stage) == "ConditionHost=old"


def test_a_later_cutover_that_its_host_put_back_keeps_no_run_from_being_taken_back(stage: Stage) -> None:
    two_runs(stage)
    noted(stage, line("result", n=1, rc=int(Rc.ROLLED_BACK)), run="R2")
    assert back(stage, mine="R3") is Exit.HOLDS


def sole(_: RemedyContext) -> Iterator[Step]:
    """A cutover from what was started by hand, and nothing else."""
    yield Step("S/serve", "new", "let it serve", (Run("true"),), undo="it was started by hand", serves=True)


def enabled_later(stage: Stage, **changes: Any) -> None:
    """R1 writes the unit's file and hands the site over; R2 enables it and moves the old unit away."""
    stage.add("A", partial(base, stage=stage))
    stage.add("S", serving(stage, confirm=None, **changes))
    stage.statements["S"] = replace(stage.statements["S"], needs=("A",))

    def later(_: RemedyContext) -> Iterator[Step]:
        yield Step("C/1", "new", "turn the old off", (Unit("disable", "app-old.service"),))
        yield Step("C/2", "new", "note it", (Write(f"{stage.world.root}/C", "x"),))

    stage.go("R1")
    (stage.world.root / "S").write_text("x")
    stage.add("C", later)
    stage.go("R2")


def test_later_runs_are_named_before_a_step_that_a_person_is_to_take_back(stage: Stage) -> None:
    stage.world.link.exec("systemctl --user enable app-old.service", limit=9)
    enabled_later(stage, undo="what served was started by hand")
    with pytest.raises(LaterRunStands, match=r"of run R2: step 2 .*, step 1 "):
        back(stage, mine="R3")
    assert back(stage, run="R2", mine="R3") is Exit.HOLDS
    with pytest.raises(SiteRestsOnIt, match="--by-hand 2"):
        back(stage, mine="R4")


def test_later_runs_are_named_though_nothing_is_left_but_what_a_person_is_to_take_back(stage: Stage) -> None:
    stage.add("S", sole)
    stage.go("R1")
    (stage.world.root / "S").write_text("x")
    stage.add("A", partial(base, stage=stage))
    stage.go("R2")
    with pytest.raises(LaterRunStands, match="of run R2: step 1 "):
        back(stage, mine="R3")
    assert back(stage, run="R2", mine="R3") is Exit.HOLDS
    with pytest.raises(SiteRestsOnIt, match="--by-hand 1"):
        back(stage, mine="R4")


def test_a_cutover_is_not_taken_back_beneath_what_a_later_run_did_because_of_it(stage: Stage) -> None:
    stage.world.link.exec("systemctl --user enable app-old.service", limit=9)
    enabled_later(stage)
    assert stage.world.unit("app-old.service", "enabled") == "disabled"
    with pytest.raises(LaterRunStands, match=r"of run R2: step 2 .*, step 1 \(C/1 at new: turn the old off\)"):
        back(stage, mine="R3")
    assert back(stage, run="R2", mine="R3") is Exit.HOLDS
    assert back(stage, mine="R4") is Exit.HOLDS
    assert stage.world.unit("app-old.service", "enabled") == "enabled"
    assert (stage.world.root / "served").read_text() == "migrate\n"


def test_what_a_later_run_did_and_somebody_changed_since_keeps_the_one_before_for_ever_no_more(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    enabled_later(stage)
    (stage.world.root / "C").write_text("a hand's")
    assert back(stage, run="R2", mine="R3") is Exit.STATE_MOVED
    assert typed(stage, monkeypatch, "show", "R2") == Exit.HOLDS
    assert "; it was to be taken back, and was changed since" in capsys.readouterr().out
    assert back(stage, mine="R4") is Exit.HOLDS


def test_a_later_run_of_which_not_all_is_told_keeps_one_from_being_taken_back(stage: Stage) -> None:
    two_runs(stage)
    damaged(stage, "R2", "B/serve")
    with pytest.raises(JournalDamaged, match="run R1 is not taken back: the journal of run R2, which came after it, on "):
        back(stage, mine="R3")
    assert unit_file(stage) == "ConditionHost=new"
