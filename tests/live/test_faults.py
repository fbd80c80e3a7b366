"""Faults, one at a time: a seeded draw of them here (FAULTS_SEED, FAULTS_DRAW), all of them by script/faults."""

from __future__ import annotations

import os

import pytest

from lab.faults import FAULTS
from tests.live.faulting import attempt, draw
from tests.live.rig import Rig
from tests.suite.test_pairing import CATALOGUE

# Always the same few unless asked otherwise: a red run is then about the change, not about the draw.
SEED = int(os.environ.get("FAULTS_SEED") or 661)
DRAWN = draw(int(os.environ.get("FAULTS_DRAW") or 5), SEED)


def test_each_statement_has_a_fault_that_it_must_see() -> None:
    seen = {id for fault in FAULTS.values() for id in fault.statements}
    assert sorted(seen - set(CATALOGUE)) == [], "no such statements"
    assert sorted(set(CATALOGUE) - seen) == [], "nothing shows that these can fail"


@pytest.mark.parametrize("name", DRAWN)
def test_a_fault_is_seen_and_mended(rig: Rig, name: str) -> None:
    trial = attempt(rig, FAULTS[name])
    assert trial.problems == [], f"FAULTS_SEED={SEED}, or script/faults {name}"
