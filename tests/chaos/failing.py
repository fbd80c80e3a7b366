"""A plugin for a run of which one act fails: the Nth that is sent (``CHAOS_ACT=N``), once it has done what it does.

The program of a step in a unit of its own fails as it begins: what it has come to the end of, it does not put back.
"""

from __future__ import annotations

import os
import sys

import pytest

from converge.acting import executor
from converge.steps import Step
from converge.steps.compile import compile_step
from converge.steps.fence import Fence

VARIABLE = "CHAOS_ACT"
SAID = "chaos: made to fail: "
ENDED = "\n) </dev/null; cv_judge 'act {n}'"


def failing(script: str, act: int, *, at_once: bool) -> str:
    """The script of a step of which an act fails: as it begins, or when it has done what it does."""
    end = ENDED.format(n=act)
    done, _, rest = script.partition(end)
    if not at_once:
        return f"{done}\n) </dev/null && false; cv_judge 'act {act}'{rest}"
    before, _, program = done.rpartition("\n(\n")
    return f"{before}\n(\nexit 1\n{program}{end}{rest}"


class Acts:
    """Compiles steps as the engine does, and counts the acts of those that are sent."""

    def __init__(self, chosen: int) -> None:
        self.chosen, self.sent = chosen, 0

    def compile(self, step: Step, prelude: str, fence: Fence, key: str) -> str:
        """The step's script."""
        script = compile_step(step, prelude, fence, key)
        if key == executor.CHECKED:
            return script
        act = self.chosen - self.sent
        self.sent += len(step.acts)
        if not 1 <= act <= len(step.acts):
            return script
        print(f"{SAID}{fence.run_id}/{key} act {act}", file=sys.__stderr__, flush=True)
        return failing(script, act, at_once=step.in_unit)


def pytest_configure(config: pytest.Config) -> None:
    """Stand in for the compiler of steps where they are sent."""
    stand_in = pytest.MonkeyPatch()
    stand_in.setattr(executor, "compile_step", Acts(int(os.environ[VARIABLE])).compile)
    config.add_cleanup(stand_in.undo)
