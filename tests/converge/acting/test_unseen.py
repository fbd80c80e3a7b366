"""Steps that a person typed, and of which the run that waited for them saw nothing any more."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from converge.acting.manual_wait import Hands, Look
from converge.errors import ConnectionLost, Exit
from converge.journal.history import Story
from converge.journal.journal import Journal, stories
from converge.journal.ownership import this_machine
from converge.planning.plan import Failing
from converge.runs.recovery import close_open_runs
from converge.runs.rollback import roll_back
from converge.runs.undo_plan import plan_rollback
from converge.steps import RemedyContext, Step, Write
from converge.transport import Link
from hosts.schema import Inventory
from tests.converge.person import meanwhile, typed
from tests.converge.stage import Desk, Severed, Stage, build_stage
from tests.converge.world import build


@pytest.fixture
def stage(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = build_stage(build(tmp_path, inventory, monkeypatch), Severed(), monkeypatch)
    made.wait = 20.0
    return made


def unseen(stage: Stage, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Story:
    """The story of a run that lost its lock after its line was typed on the legacy host, before it looked again."""

    def remedy(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/old", "old", "write A", (Write(f"{stage.world.root}/A", "x"),), may="deploy", **changes)

    def lost(*_: object) -> Look:
        raise ConnectionLost("new: the lock was lost")

    stage.add("A", remedy)
    made = stage.runner()
    plan = made.plan([Failing("A", "new")], {"A"}, {})
    made.start(plan)

    def person(line: str) -> None:
        done.append(typed(line))
        gone.set()

    done, gone = list[subprocess.CompletedProcess[str]](), threading.Event()
    monkeypatch.setattr(Hands, "_look", lambda *_: lost() if gone.wait(20) else Look("nothing"))
    thread = meanwhile(stage, person)
    with pytest.raises(ConnectionLost, match="the lock was lost"):
        made.execute(plan)
    thread.join()
    made.finish(13, "")
    assert done[0].returncode == 0, done
    (story,) = stories(stage.link)
    return story


def test_step_that_was_typed_and_not_seen_before_the_run_ended_is_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stage.world.top)
    story = unseen(stage, monkeypatch)
    assert [entry.kind for entry in story.entries] == ["plan", "waiting"]
    assert (story.damage, story.waiting) == ("", None)
    (intent,) = story.intents()
    assert (intent["step"], intent["host"], intent["undoable"]) == ("A/old", "old", True)
    links: dict[str, Link] = {"new": stage.link, "old": stage.link, "control": stage.link}
    (note,) = close_open_runs(links, stage.link, "R2").notes
    assert note.endswith("ended without an end: step 1 (A/old at old): it was done")
    assert stage.holds("A")
    code, _ = roll_back(stage.world.inv, links, "R1", "R2", "ada", print, stage.world.top / "reports")
    assert code is Exit.HOLDS
    assert not stage.holds("A")


def test_step_that_was_typed_and_not_seen_keeps_what_serves_from_going_from_under_the_site(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (back,) = plan_rollback(unseen(stage, monkeypatch, undo="it was started by hand", serves=True))
    assert (back.carries, back.stays) == (True, "none: it was started by hand")


def test_line_that_waits_and_was_not_typed_tells_of_no_step_that_was_begun(stage: Stage) -> None:
    stage.wait = 0.3
    stage.add("A", stage.writer("A", may="deploy"))
    stage.go()
    (story,) = stories(stage.link)
    assert [entry.kind for entry in story.entries] == ["plan", "waiting", "proof", "end"]
    assert (story.intents(), story.damage) == ([], "")


@pytest.mark.parametrize(("file", "begun"), [("1.rc", [1]), ("1.hand", [])])
def test_step_that_was_typed_in_another_home_than_the_journals_is_written_down_by_the_next_run(
    stage: Stage, tmp_path: Path, file: str, begun: list[int]
) -> None:
    desk = Desk(tmp_path / "desk")
    facts = {"host": "control", "sentence": "write A", "undo": "put it back", "undoable": True, "limit": 9.0}
    journal = Journal("R1", stage.link)
    journal.write("plan", who="ada", machine=this_machine())
    journal.write("waiting", n=1, step="A/write", where="here", typed="sh 1.hand", laid=True, **facts)
    folder = desk.home / ".local/state/hkn-migration/runs/R1"
    folder.mkdir(parents=True)
    (folder / file).write_text("0\n")
    (note,) = close_open_runs({"new": stage.link, "control": desk}, stage.link, "R2").notes
    assert ("it was done" if begun else "it never began") in note
    (story,) = stories(stage.link)
    assert ([intent["n"] for intent in story.intents()], story.damage) == (begun, "")
    assert all(facts.items() <= intent.items() for intent in story.intents())
