"""What a session asks its hosts, when, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest

from converge.readings import store
from converge.statements import Outcome
from hosts.schema import Inventory
from tests.engine.answers import Answers, build_answers
from tests.engine.world import build


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


def test_remedy_asks_again_only_what_may_have_changed(answers: Answers) -> None:
    answers.add("A", answers.writer("A", "a"))
    answers.go()
    assert [text for text in answers.heard if "write" not in text] == ["new: asks a"] * 2


@pytest.mark.parametrize("age", [0.0, 60.0])
def test_remedy_does_not_go_by_old_answers(answers: Answers, monkeypatch: pytest.MonkeyPatch, age: float) -> None:
    answers.add("A", answers.writer("A", "a"))
    monkeypatch.setattr(store, "FRESH", age - 1.0)
    answers.go()
    assert len([text for text in answers.heard if "asks" in text]) == (2 if age else 3)
