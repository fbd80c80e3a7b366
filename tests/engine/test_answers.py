"""What a session asks its hosts, when, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest

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
