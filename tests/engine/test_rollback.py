"""The way back: a run's steps, the last one first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from converge.errors import Exit, UsageError
from converge.journal import stories
from converge.rollback import describe, plan_rollback, roll_back
from converge.steps import Mode, RemedyContext, Step, Unit, Write
from hosts.schema import Inventory
from tests.engine.stage import Severed, Stage, build_stage
from tests.engine.world import build


@pytest.fixture
def stage(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return build_stage(build(tmp_path, inventory, monkeypatch), Severed(), monkeypatch)


def test_rollback_takes_a_run_back_in_reverse(stage: Stage) -> None:
    root = stage.world.root
    (root / "secret").write_text("old")
    (root / "secret").chmod(0o644)

    def several(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/1", "new", "one", (Write(f"{root}/secret", "new"), Mode(f"{root}/secret", 0o600)))
        yield Step("A/2", "new", "two", (Unit("enable", "app.service"),), undo="a person decides on it")
        yield Step("A/3", "new", "three", (Write(f"{root}/A", "x"),))

    stage.add("A", several)
    stage.go()
    story = stories(stage.link)[0]
    assert [(b.n, b.stays) for b in plan_rollback(story)] == [(3, ""), (2, "none: a person decides on it"), (1, "")]
    code, records = roll_back(stage.world.inv, {"new": stage.link}, "R1", "R2", "ada", stage.said.append)
    assert code is Exit.HOLDS
    assert [r.result for r in records] == ["done", "done"]
    assert (root / "secret").read_text() == "old"
    assert (root / "secret").stat().st_mode & 0o777 == 0o644
    assert not (root / "A").exists()
    assert stage.world.unit("app.service", "enabled") == "enabled"
    first, second = stories(stage.link)
    assert describe(first)["undone"] == 2
    assert describe(second)["takes back"] == "R1"
    assert any("run R2, step 1, by ada: take back step 3 of run R1: three: begins" in text for text in stage.world.said)
    assert [b.n for b in plan_rollback(first)] == [2], "what was taken back is not taken back again"


def test_rollback_leaves_what_somebody_changed_and_takes_the_rest_back(stage: Stage) -> None:
    stage.add("A", stage.writer("A"))
    stage.add("B", stage.writer("B"))
    stage.go()
    (stage.world.root / "B").write_text("a hand's")
    code, records = roll_back(stage.world.inv, {"new": stage.link}, "R1", "R2", "ada", stage.said.append)
    assert code is Exit.STATE_MOVED
    assert "changed since" in records[0].reason
    assert not (stage.world.root / "A").exists()
    assert (stage.world.root / "B").read_text() == "a hand's"


def test_rollback_of_an_unknown_run_names_the_known_ones(stage: Stage) -> None:
    stage.add("A", stage.writer("A"))
    stage.go()
    with pytest.raises(UsageError, match="no journal of a run R9; its last ones are: R1"):
        roll_back(stage.world.inv, {"new": stage.link}, "R9", "R2", "ada", stage.said.append)
