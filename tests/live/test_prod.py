"""The desired state is green, again and again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from converge.checking.statement import Outcome
from converge.errors import Exit
from tests.live.faulting import planned_wrongly
from tests.live.rig import Rig
from tests.suite.test_pairing import CATALOGUE

TIMES = 20
HOSTS = 2


def test_the_desired_state_is_green_twenty_times(lab_in: Callable[[str], Rig]) -> None:
    rig = lab_in("prod")
    for n in range(1, TIMES + 1):
        answer = rig.check("-q")
        assert answer.code == Exit.HOLDS, f"check {n} of {TIMES}"
        assert {v.outcome for v in answer.verdicts} == {Outcome.HOLDS}, f"check {n} of {TIMES}"
        assert {v.id for v in answer.verdicts} == set(CATALOGUE), f"check {n} of {TIMES}"
        assert answer.record
        assert answer.record.situation == "finished"
        assert answer.record.misses == []
        assert answer.record.connections == HOSTS
        # Each host and this machine are asked once, unless a process was too young to be judged.
        assert answer.record.execs == HOSTS + 1 or answer.record.waited


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [(("--id", "UNIT-3"), {"UNIT-3"}), (("-k", "solr_pid_file"), {"SOLR-4"}), (("-m", "minor"), None)],
)
def test_a_part_of_it_can_be_asked_for(
    lab_in: Callable[[str], Rig], arguments: tuple[str, ...], ids: set[str] | None
) -> None:
    answer = lab_in("prod").check(*arguments)
    assert answer.code == Exit.HOLDS
    assert ids is None or {v.id for v in answer.verdicts} == ids
    assert ids or {v.severity for v in answer.verdicts} == {"minor"}


def test_a_plan_has_no_step_and_a_run_does_none(lab_in: Callable[[str], Rig]) -> None:
    rig = lab_in("prod")
    plan, run = rig.check("--plan"), rig.check("--remediate", "--yes")
    assert run.record
    if run.record.kind != "check":
        rig.spoil()
    assert (plan.code, run.code) == (Exit.HOLDS, Exit.HOLDS)
    assert plan.record
    assert (plan.record.steps, run.record.steps) == ([], [])
    assert planned_wrongly(plan, run) == []
    assert "nothing to do" in run.out
