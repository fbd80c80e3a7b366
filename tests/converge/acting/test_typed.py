"""What is known of when a step began that a person typed, and how pages that were lost meanwhile are judged by that."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from converge.acting import manual_wait
from converge.acting.manual import withdraw_script
from converge.checking.record import Outage, Probe, StepRecord
from converge.errors import ConnectionLost
from converge.journal.journal import stories
from converge.probe.unannounced import losses
from converge.steps import RemedyContext, Run, Sign, Step
from converge.transport import Completed
from converge.transport.link import TIMED_OUT
from hosts.schema import Inventory
from tests.converge.person import line_in, meanwhile, typed
from tests.converge.stage import Severed, Stage, build_stage, results
from tests.converge.world import build


class Deaf(Severed):
    """A link over which the next look at what was laid ready gets no answer, once it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.deaf = threading.Event()

    def exec(self, script: str, *, limit: float, stdin: bytes = b"") -> Completed:
        if self.deaf.is_set() and "echo begun" in script:
            self.deaf.clear()
            return Completed(TIMED_OUT, b"", b"", limit)
        return super().exec(script, limit=limit, stdin=stdin)


@pytest.fixture
def link() -> Deaf:
    return Deaf()


@pytest.fixture
def stage(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch, link: Deaf) -> Stage:
    monkeypatch.setattr(manual_wait, "SOON", 0.05)
    made = build_stage(build(tmp_path, inventory, monkeypatch), link, monkeypatch)
    made.wait = 20.0
    return made


def typed_late(stage: Stage, line: str = "", **changes: Any) -> tuple[StepRecord, float]:
    """A step that somebody types when it was waited for a while, and when it acted."""
    root = stage.world.root
    act = f"date +%s.%N | put {root}/acted 644; echo x | put {root}/A 644"

    def remedy(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/act", "new", "act", (Run(act),), may="deploy", typed=line, **changes)

    def person(asked: str) -> None:
        time.sleep(0.5)
        assert line in asked
        typed(asked)

    stage.add("A", remedy)
    thread = meanwhile(stage, person)
    _, plan, _ = stage.go()
    thread.join()
    assert results(plan) == {"A/act": "done"}, plan.steps
    return plan.steps[0], float((root / "acted").read_text())


def without_an_answer(at: float, since: float) -> Probe:
    """A site that was asked `since` then, and of which one page was waited for in vain from `at` on."""
    return Probe("u", since, at + 9, 9, 1, 5.0, [Outage(at, at + 0.01, 1, "TimeoutError", at + 0.01)], first_good=since)


def test_step_that_was_typed_began_after_the_last_look_that_did_not_show_it(stage: Stage) -> None:
    record, acted = typed_late(stage)
    # It is seen by its script, which is kept before it acts: `started` may be before that.
    assert record.waited < record.begun <= acted
    assert record.begun < record.started
    assert losses(without_an_answer(acted, record.waited), [record])
    assert losses(without_an_answer(record.begun - 0.1, record.waited), [record]) == []


def test_look_that_was_not_answered_does_not_show_that_it_had_not_begun(
    stage: Stage, link: Deaf, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = manual_wait.Hands._look
    seen: list[tuple[float, manual_wait.Look]] = []

    def look(self: manual_wait.Hands, *words: Any) -> manual_wait.Look:
        end = time.monotonic() + 10
        while not seen and not stage.holds("A") and time.monotonic() < end:
            time.sleep(0.02)
        if not seen:
            link.deaf.set()
        seen.append((time.time(), looked(self, *words)))
        return seen[-1][1]

    monkeypatch.setattr(manual_wait.Hands, "_look", look)
    record, acted = typed_late(stage)
    assert [each.kind for _, each in seen] == ["unread", "begun"]
    assert record.begun <= acted < seen[0][0]


def test_of_what_a_person_did_in_a_way_of_their_own_nobody_knows_when_it_began(stage: Stage) -> None:
    root = stage.world.root
    line = f"date +%s.%N >{root}/acted; touch {root}/A"
    record, acted = typed_late(stage, line, sign=Sign("new", f"[ -e {root}/A ]"))
    assert record.begun == 0.0 < record.waited < acted
    assert losses(without_an_answer(acted, record.waited), [record]) == []


def laid(stage: Stage, look: Any, monkeypatch: pytest.MonkeyPatch) -> StepRecord:
    """The only step of a run, laid ready, if looks at it show this."""
    monkeypatch.setattr(manual_wait.Hands, "_look", look)

    def remedy(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/act", "new", "act", (Run(f"echo x | put {stage.world.root}/A 644"),), may="deploy")

    stage.add("A", remedy)
    _, plan, _ = stage.go()
    return plan.steps[0]


def test_what_is_not_waited_for_any_more_cannot_be_typed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.wait = 0.3
    assert laid(stage, lambda *_: manual_wait.Look("nothing"), monkeypatch).result == "manual"
    done = typed(line_in(stage.said))
    assert done.returncode != 0
    assert not stage.holds("A")


def test_what_was_typed_while_the_run_judged_is_followed_all_the_same(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*_: Any) -> manual_wait.Look:
        assert typed(line_in(stage.said)).returncode == 0
        return manual_wait.Look("moved", "it is done already")

    step = laid(stage, look, monkeypatch)
    assert step.result == "done"
    assert step.begun > 0
    assert "run by hand" in step.reason


@pytest.mark.parametrize(
    ("begun", "room", "said"), [(False, True, "withdrawn"), (False, False, "withdrawn"), (True, True, "begun")]
)
def test_what_was_laid_ready_is_withdrawn_on_a_full_disk_too(stage: Stage, begun: bool, room: bool, said: str) -> None:
    folder = stage.world.home / ".local/state/hkn-migration/runs/R1"
    folder.mkdir(parents=True)
    (folder / "1.hand").write_text("echo acts\n")
    if begun:
        (folder / "1.typed").mkdir()
    script = withdraw_script("R1", 1)
    if not room:
        script = script.replace(': >"$T"', "false")
        assert script.count("false") == 1
    for _ in range(2):
        # The first answer may have been lost.
        assert stage.link.exec(script, limit=5).out.decode().strip() == said


def test_what_may_still_be_typed_keeps_the_journal_open(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manual_wait, "withdraw_script", lambda *_: "exit 1")
    stage.wait = 0.3
    with pytest.raises(ConnectionLost, match="whether its line can still be typed is not known"):
        laid(stage, lambda *_: manual_wait.Look("nothing"), monkeypatch)
    assert stories(stage.link)[0].is_open
