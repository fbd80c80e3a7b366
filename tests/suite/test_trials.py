"""What the trials of faults accept after a run: what holds, what is left to a person, and what waits for that."""

from __future__ import annotations

import pytest

from converge.errors import Exit
from converge.record import Record, Verdict
from converge.statements import Outcome
from tests.live.faulting import mended_wrongly
from tests.live.rig import Answer


def run(*verdicts: tuple[str, Outcome, str]) -> Answer:
    """A run's answer with these verdicts: id, outcome, and what it needs."""
    record = Record("id", "run", "lab", "1", 0.0)
    for id, outcome, needs in verdicts:
        message = "do:       type it" if outcome is Outcome.MANUAL else "why:      not attempted"
        record.verdicts.append(Verdict(id, "", "", id, "major", [], outcome, message, "z.x", needs.split()))
    return Answer((), Exit.FAILS, "", 1.0, None, record)


@pytest.mark.parametrize("outcome", [Outcome.FAILS, Outcome.BLOCKED])
def test_what_waits_for_a_person_is_no_problem_of_the_fault(outcome: Outcome) -> None:
    behind = ("B-1", outcome, "A-2")
    assert mended_wrongly(run(("A-1", Outcome.MANUAL, ""), ("A-2", Outcome.HOLDS, "A-1"), behind)) == []
    alone = mended_wrongly(run(("A-1", Outcome.MANUAL, ""), ("A-2", Outcome.HOLDS, ""), behind))
    assert alone == [f"B-1 {outcome} after the run: why: not attempted"]


@pytest.mark.parametrize("outcome", [Outcome.FAILS, Outcome.MANUAL, Outcome.ADVICE, Outcome.BLOCKED])
def test_each_of_these_counts_as_failing(outcome: Outcome) -> None:
    assert run(("A-1", outcome, "")).failing == {"A-1"}
