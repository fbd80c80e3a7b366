"""What the trials of faults accept after a run: what holds, what waits for a person, and what the plan said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from converge.checking.record import Record, StepRecord, Verdict
from converge.checking.statement import Outcome
from converge.errors import Exit
from converge.planning.plan_file import NAME
from tests.live.faulting import mended_wrongly, planned_wrongly
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


CUTOVER = "start new.service beside old.service, lead the site over, and end old.service when nobody waits for it"
SAYS = {"UNIT-5/cutover": CUTOVER, "UNIT-1/write": "make x the file y (its text is what the patches leave)"}
PLANNED = ["DEP-5/gate", "UNIT-1/write", "SOCK-2/mode?", "UNIT-5/cutover", "UNIT-4/stop-old", "UNIT-4/remove-old"]
"""As they are printed; with a question mark what the plan says may turn out not to be needed."""


def compared(folder: Path, results: dict[str, str], **said: str) -> list[str]:
    """What is wrong with a run of the plan: `results` are of its steps in order, `said` what it says of one."""
    rows: list[dict[str, Any]] = [
        {"id": id.rstrip("?"), "host": "app", "sentence": SAYS.get(id, id), "follows": id.endswith("?"), "result": "planned"}
        for id in PLANNED
    ]
    (folder / NAME).write_text(json.dumps({"steps": [*rows, {**rows[0], "id": "LEFT-1/x", "result": "manual"}]}))
    record = Record("id", "run", "lab", "1", 0.0)
    for moment, (id, result) in enumerate(results.items()):
        words = said.get(id.partition("/")[2], SAYS.get(id, id).partition(" (")[0])
        step = StepRecord(id, "z.x", [], "app", words, "", [], "", None, result, "so it is", started=float(moment))  # type: ignore[arg-type]
        record.steps.append(step)
    plan = Answer((), 1, "", 1.0, folder, Record("id", "plan", "lab", "1", 0.0))
    return planned_wrongly(plan, Answer((), 0, "", 1.0, None, record))


FULL = {
    "DEP-5/gate": "done",
    "UNIT-1/write": "done",
    "SOCK-2/mode": "not needed",
    "UNIT-5/cutover": "done",
    "UNIT-4/remove-old": "done",
    "UNIT-4/stop-old": "not needed",
}
"""A run as they are: what the cutover has ended need not be stopped, and is told of after what its remedy did instead."""


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"SOCK-2/mode": "done"},
        {"UNIT-5/cutover": "rolled back", "UNIT-4/stop-old": "blocked", "UNIT-4/remove-old": "blocked"},
        {"UNIT-4/remove-old": "refused"},
    ],
    ids=["spared", "not spared", "broke off", "refused"],
)
def test_run_that_did_what_the_plan_said(changed: dict[str, str], tmp_path: Path) -> None:
    assert compared(tmp_path, FULL | changed) == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"DEP-5/gate": "not needed"}, "DEP-5/gate at app, which was left out: not needed (so it is)"),
        ({"UNIT-4/remove-old": "not needed"}, "UNIT-4/remove-old at app, which was left out: not needed"),
        ({"UNIT-4/stop-old": "not reached"}, "UNIT-4/stop-old at app, which was left out: not reached"),
        ({"SOCK-2/mode": "blocked"}, "SOCK-2/mode at app, which was left out: blocked"),
        ({"UNIT-5/cutover": "not needed"}, "UNIT-4/stop-old at app, which was left out"),
        ({"DEP-5/gate": "blocked", "UNIT-5/cutover": "failed"}, "DEP-5/gate at app, which was left out: blocked"),
        ({"UNIT-9/start": "done"}, "the run did what the plan does not have: UNIT-9/start at app"),
    ],
)
def test_step_that_the_plan_and_the_run_do_not_share(changed: dict[str, str], problem: str, tmp_path: Path) -> None:
    assert problem in " / ".join(compared(tmp_path, FULL | changed))


def test_step_that_the_run_says_nothing_of(tmp_path: Path) -> None:
    silent = {id: result for id, result in FULL.items() if id != "SOCK-2/mode"}
    assert compared(tmp_path, silent) == ["the plan has SOCK-2/mode at app, which was left out: told of nowhere"]


def test_another_order_than_the_plans(tmp_path: Path) -> None:
    (problem,) = compared(tmp_path, dict(reversed(FULL.items())))
    assert problem.startswith("the plan was DEP-5/gate, UNIT-1/write, UNIT-5/cutover")


def test_other_words_than_the_plans(tmp_path: Path) -> None:
    (problem,) = compared(tmp_path, FULL, gate="open it")
    assert problem == "DEP-5/gate was to DEP-5/gate; what was done is to open it"
