"""What a session asks its hosts, when, and how often."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from converge.checking.statement import Outcome
from converge.errors import Exit
from converge.planning.plan import Plan
from converge.readings import answers as known_answers
from converge.runs import convergence
from converge.runs.convergence import act, ask_and_look_again, verdict_of_run, warn
from converge.runs.tasks import StaleProof
from converge.steps import RemedyContext, Step
from hosts.schema import Inventory
from tests.converge.answers import Answers, build_answers
from tests.converge.world import build


@pytest.fixture
def answers(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> Answers:
    return build_answers(build(tmp_path, inventory, monkeypatch), monkeypatch)


def test_proof_asks_what_its_statements_ask_and_no_more(answers: Answers) -> None:
    for id in ("A", "B"):
        answers.add(id)
    answers.session.read(answers.session.everything())
    assert answers.heard == ["new: asks a, b, landscape, since"]
    answers.heard.clear()
    answers.session.store.void()
    answers.session.prove(["A"], 0.0)
    answers.session.finish(0, "")
    assert answers.heard == ["new: asks a"]
    assert answers.session.record.misses == []
    assert answers.session.record.situation == "as ever"


def test_proof_of_what_is_due_only_after_the_soak_asks_when_that_began(answers: Answers) -> None:
    answers.add("A", soak=True)
    answers.session.inv = answers.session.store.inv = answers.world.inv.changed({"soak_days": 100_000})
    assert answers.session.prove(["A"], 0.0)["A"].outcome is Outcome.DUE
    answers.session.finish(0, "")
    assert answers.heard == ["new: asks a, landscape, since"]
    assert answers.session.record.misses == []


def test_what_others_did_between_the_plan_and_the_lock_is_seen(answers: Answers) -> None:
    answers.add("A")
    answers.add("B")
    made, plan = answers.plan()
    (answers.world.root / "A").touch()
    made.start(plan)
    made.execute(plan)
    made.finish(0, "")
    assert [task.state for task in plan.tasks] == ["held", "proven"]


@pytest.mark.parametrize(
    ("demanded", "code"),
    [
        (None, Exit.FAILS),
        (Exit.FAILS, Exit.FAILS),
        (Exit.STATE_MOVED, Exit.FAILS),
        (Exit.ROLLED_BACK, Exit.ROLLED_BACK),
        (Exit.UNKNOWN, Exit.UNKNOWN),
        (Exit.INTERRUPTED, Exit.INTERRUPTED),
    ],
)
def test_what_held_before_fails_a_run_but_does_not_hide_that_a_step_was_put_back(
    answers: Answers, demanded: Exit | None, code: Exit
) -> None:
    answers.add("A")
    (answers.world.root / "A").touch()
    session, everything = answers.session, answers.session.everything()
    session.read(everything)
    session.record.before = session.judge_all(everything)
    (answers.world.root / "A").unlink()
    session.store.void()
    ended = verdict_of_run(session, everything, everything, demanded)
    assert ended
    assert ended[0] == code
    lost = "held before the run and does not hold now: A"
    assert (lost in ended[1]) == (code is not Exit.INTERRUPTED)
    assert lost in session.record.notes


@pytest.mark.parametrize(
    ("demanded", "code"),
    [
        (None, Exit.UNKNOWN),
        (Exit.FAILS, Exit.UNKNOWN),
        (Exit.STATE_MOVED, Exit.UNKNOWN),
        (Exit.ROLLED_BACK, Exit.UNKNOWN),
        (Exit.INTERRUPTED, Exit.INTERRUPTED),
    ],
)
def test_a_journal_that_could_not_be_closed_is_told_before_all_but_an_interruption(
    answers: Answers, demanded: Exit | None, code: Exit
) -> None:
    answers.add("A")
    session, trouble = answers.session, "the journal stays open: disk full"
    for said in ("", trouble):
        runner: Any = SimpleNamespace(
            start=lambda _: None, execute=lambda _: demanded, measure=list, finish=lambda *_, said=said: said
        )  # fmt: skip
        ended = act(session, runner, Plan([]), session.everything(), lambda _: None)
        assert (ended and ended[0]) == (code if said else demanded)
        assert (ended is not None and ended[1] == trouble) == (code is Exit.UNKNOWN and bool(said))


def test_of_several_codes_that_steps_demand_the_first_in_rank_is_told(answers: Answers) -> None:
    runner, plan = answers.plan()
    for code in (Exit.FAILS, Exit.STATE_MOVED, Exit.ROLLED_BACK, Exit.UNKNOWN):
        runner.mender.demand(code)
        assert runner.execute(plan) == code


def test_who_must_answer_in_the_middle_of_a_step_is_told_so_with_each_plan_that_is_shown(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_night(_: RemedyContext) -> Iterator[Step]:
        yield replace(answers.write("B"), confirm=60.0)

    for id, remedy in (("A", None), ("B", by_night), ("C", None)):
        answers.add(id, remedy)
    for id in ("B", "C"):
        (answers.world.root / id).touch()
    session, everything = answers.session, answers.session.everything()
    monkeypatch.setattr(session.links["new"], "asks_again", ("me@new: Code: ",), raising=False)
    runner, plan = answers.plan()
    warn(session, plan, answers.said.append)
    warning, told = "new will be logged in to a second time", list[int]()

    def confirmed(_: str) -> bool:
        """Meanwhile somebody takes a file away, twice."""
        told.append(sum(warning in text for text in answers.said))
        for id in ("B", "C")[len(told) - 1 : len(told)]:
            (answers.world.root / id).unlink()
            session.store.void()
        return True

    monkeypatch.setattr(convergence, "confirmed", confirmed)
    plan = ask_and_look_again(session, runner, plan, everything, answers.said.append)
    assert [step.id for step in plan.steps] == ["A/write", "B/write", "C/write"]
    assert told == [0, 1, 2]
    assert sum(warning in note for note in session.record.notes) == 1


def test_remedy_asks_again_only_what_may_have_changed(answers: Answers) -> None:
    answers.add("A", answers.writer("A", "a"))
    answers.go()
    assert [text for text in answers.heard if "write" not in text] == ["new: asks a"] * 2


def test_remedy_does_not_go_by_old_answers(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    answers.add("A", answers.writer("A", "a"))
    monkeypatch.setattr(known_answers, "FRESH", -1.0)
    answers.go()
    before, after = between_steps(answers.heard)
    assert len(before) > 1
    assert len(after) > 1


def between_steps(heard: list[str]) -> list[list[str]]:
    """What was asked before each step, and after the last."""
    found: list[list[str]] = [[]]
    for text in heard:
        if "asks" in text:
            found[-1].append(text)
        else:
            found.append([])
    return found


def test_between_two_tasks_that_act_each_host_is_asked_once(answers: Answers) -> None:
    """What proves A, what B is judged by, what C needs and what its remedy asks first."""
    there = answers.world.root / "D"
    there.touch()
    for id in ("A", "B", "C", "D"):
        answers.add(id, answers.writer(id, f"before_{id.lower()}"), ("B",) if id == "C" else ())
    (answers.world.root / "B").touch()
    plan = answers.go()
    assert [task.state for task in plan.tasks if task.steps] == ["proven", "proven"]
    assert between_steps(answers.heard) == [
        ["new: asks a, before_a"],
        ["new: asks a, b, before_c, c"],
        ["new: asks c"],
    ]


def test_a_remedy_of_several_steps_is_asked_once_between_them_and_once_at_its_end(answers: Answers) -> None:
    def two(ctx: RemedyContext) -> Iterator[Step]:
        for number in ("", "2"):
            ctx.read(answers.reading("first"))
            ctx.read(answers.reading("again"))
            yield answers.write("A", number)
        ctx.read(answers.reading("last"))

    answers.add("A", two)
    answers.add("B")
    answers.go()
    assert between_steps(answers.heard) == [
        ["new: asks a, again, first"],
        ["new: asks again, first"],
        ["new: asks a, b, last"],
        ["new: asks b"],
    ]


def test_a_proof_that_does_not_hold_is_asked_for_again_alone(answers: Answers) -> None:
    def elsewhere(_: RemedyContext) -> Iterator[Step]:
        yield answers.write("X")

    answers.add("A", elsewhere)
    answers.add("B", answers.writer("B", "before_b"))
    plan = answers.go()
    assert [task.state for task in plan.tasks] == ["unproven", "proven"]
    _, after, _ = between_steps(answers.heard)
    assert after[0] == "new: asks a, b, before_b"
    assert set(after[1:-1]) <= {"new: asks a"}
    assert after[-1] == "new: asks b, before_b", "the first answers are from before the wait"


def test_what_could_not_be_read_ahead_is_asked_for_once_more(answers: Answers) -> None:
    """B's reading fails while A's proof is asked for; at its turn it can be read again."""
    root = answers.world.root
    fails = f"[ ! -e {root}/A ] || [ -e {root}/seen ] || {{ : >{root}/seen; exit 1; }}\n[ ! -e {root}/B ] || echo there"
    answers.reading("b", fails)
    answers.add("A")
    answers.add("B")
    plan = answers.go()
    assert [task.state for task in plan.tasks] == ["proven", "proven"]
    assert between_steps(answers.heard)[1] == ["new: asks a, b", "new: asks b"]


def test_a_proof_that_is_older_than_the_step_before_it_is_noticed(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers.add("A")
    (answers.world.root / "B").touch()
    answers.add("B")
    monkeypatch.setattr(answers.session.store, "void", lambda _acted=None: None)
    with pytest.raises(StaleProof, match="A was to be proven by what was read before step 1"):
        answers.go()


def test_verdicts_tell_how_many_steps_came_before_them(answers: Answers) -> None:
    for id in ("A", "B", "C"):
        answers.add(id, answers.writer(id, *"abc"))
    answers.go()
    verdicts = answers.session.judge_all(answers.session.everything())
    assert {verdict.id: verdict.epoch for verdict in verdicts}["C"] == 3
