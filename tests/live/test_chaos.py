"""A run that is struck, at every boundary of a short real plan and at drawn ones of the whole migration; script/chaos
does it at all of them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.chaos.blows import BLOWS, SIZES
from tests.chaos.trial import COURSES, Trial, attempt
from tests.live.rig import Rig

# Always the same unless asked otherwise: a red run is then about the change, not about the draw.
SEED = int(os.environ.get("CHAOS_SEED") or 72)
DRAWS = 2


@pytest.fixture(scope="module")
def rig_to_strike(rig: Rig) -> Iterator[Rig]:
    """The lab with disks that can be filled."""
    rig.spoil()
    rig.lab.sizes = dict(SIZES)
    yield rig
    rig.lab.sizes = {}
    rig.spoil()


def told(trial: Trial) -> str:
    """What to run to see it again."""
    return f"script/chaos --course {trial.course} --blow {trial.blow} --boundary {trial.boundary} ({trial.struck})"


@pytest.mark.parametrize("blow", BLOWS)
def test_a_short_run_is_struck_at_every_boundary(rig_to_strike: Rig, blow: str, tmp_path: Path) -> None:
    for n in count(1):
        trial = attempt(rig_to_strike, COURSES["short"], BLOWS[blow], n, tmp_path)
        assert trial.problems == [], told(trial)
        if not trial.struck:
            break
    # The plan, the step's intent and result, its proof, and the end.
    assert n > (2 if BLOWS[blow].is_act else 5), "the run was not struck at all"


@pytest.mark.parametrize("draw", range(DRAWS))
def test_a_migration_is_struck_somewhere(rig_to_strike: Rig, tmp_path: Path, draw: int) -> None:
    drawn = random.Random(f"{SEED} {draw}")
    blow = drawn.choice(sorted(BLOWS))
    n = drawn.randint(1, BLOWS[blow].fewest)
    trial = attempt(rig_to_strike, COURSES["full"], BLOWS[blow], n, tmp_path)
    assert trial.problems == [], f"CHAOS_SEED={SEED}: {told(trial)}"
    assert trial.struck, f"the migration has fewer boundaries than {n}"
