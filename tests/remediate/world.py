"""A stand-in for a run: steps are compiled and run on this machine by the guarded shell, readings are asked of it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from converge.readings import Reading
from converge.steps import RemedyContext, Step
from converge.steps.compile import compile_step
from converge.steps.fence import Fence
from facts.prelude import prelude
from hosts.schema import Inventory
from tests.targets import ask

T = TypeVar("T")


class Here:
    """Reads from this machine, except for readings whose values are given."""

    def __init__(self, inv: Inventory, given: Mapping[Reading[Any], Any]) -> None:
        self.inv, self.given = inv, given

    def __call__(self, what: Reading[T], at: str | None = None) -> T:  # noqa: ARG002 - one machine stands for all
        value: T = self.given[what] if what in self.given else ask(what, self.inv)
        return value


def context(inv: Inventory, folder: Path, given: Mapping[Reading[Any], Any] | None = None) -> RemedyContext:
    """What a remedy gets, with this machine as control machine and host."""
    attic, work = folder / "attic", folder / "work"
    return RemedyContext(inv, Here(inv, given or {}), inv.app_host.name, "run", str(attic), str(work))


def run(step: Step, inv: Inventory, folder: Path, number: int) -> subprocess.CompletedProcess[str]:
    """Perform one step here."""
    (folder / "work").mkdir(exist_ok=True)
    roots = (str(folder / "work"), inv.stages.root)
    fence = Fence(roots=roots, attic=str(folder / "attic"), run_id="run", protected=(inv.stages.root, inv.shared))
    script = compile_step(step, prelude(inv), fence, f"{number:03d}-{step.id.replace('/', '-')}")
    return subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False, timeout=60)


def converge(remedy: Callable[[RemedyContext], Iterator[Step]], inv: Inventory, folder: Path) -> list[str]:
    """Run a remedy step by step, as a run does; the ids of its steps."""
    done = []
    for number, step in enumerate(remedy(context(inv, folder)), 1):
        result = run(step, inv, folder, number)
        assert result.returncode == 0, f"{step.id}: {result.stdout}\n{result.stderr}"
        done.append(step.id)
    return done


def planned(remedy: Callable[[RemedyContext], Iterator[Step]], inv: Inventory, folder: Path) -> list[str]:
    """The ids of a remedy's steps while nothing is run."""
    return [step.id for step in remedy(context(inv, folder))]
