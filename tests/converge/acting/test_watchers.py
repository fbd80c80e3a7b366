"""Steps of which somebody kills the watchers, and not the program: it must not go on beside the next step."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from converge.acting.executor import Executor
from converge.journal.lock import acting
from converge.runs.recovery import fate_script
from converge.steps import Run, Step
from converge.transport import LocalLink
from tests.converge.acting.test_transient_unit import make, unit, world
from tests.converge.world import World

__all__ = ["make", "world"]

PROGRAM = 'p=$XDG_RUNTIME_DIR/program; echo $$ >"$p.new"; mv -T "$p.new" "$p"; sleep 60; true'


def words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def lives(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


class Killer(threading.Thread):
    """Sends a signal to one process of the step as soon as its program is at work."""

    def __init__(self, world: World, who: str, number: signal.Signals) -> None:
        super().__init__()
        self.world, self.who, self.number = world, who, number
        self.program = 0

    def run(self) -> None:
        file = self.world.top / "run/program"
        while not file.exists():
            time.sleep(0.05)
        self.program = int(file.read_text())
        found = unit(self.world)
        pids = [pid for pid in found if words(pid)[0] == self.who] if self.who == "timeout" else [os.getsid(found[0])]
        os.kill(pids[0], self.number)


def struck(world: World, make: Callable[..., Executor], who: str, number: signal.Signals) -> tuple[Killer, str, str]:
    killer = Killer(world, who, number)
    killer.start()
    record = make(LocalLink()).run_step(Step("A/1", "new", "write it", (Run(PROGRAM),), limit=50.0), "r", ["A"])
    killer.join()
    return killer, record.result, record.reason


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_ends_with_the_one_who_watches_over_it(
    world: World, make: Callable[..., Executor], number: signal.Signals
) -> None:
    killer, result, reason = struck(world, make, "timeout", number)
    assert (result, reason) == ("failed", "it was told to end at act 1")
    assert not lives(killer.program)
    assert acting(LocalLink()) == ""


def test_the_lock_of_a_step_is_held_while_its_program_goes_on_though_its_shell_was_killed(
    world: World, make: Callable[..., Executor]
) -> None:
    killer, result, _ = struck(world, make, "shell", signal.SIGKILL)
    try:
        assert result == "unknown"
        assert lives(killer.program)
        assert acting(LocalLink()) == "R1, step 1: write it"
        assert LocalLink().exec(fate_script("R1", 1), limit=5).out == b"acting\n"
    finally:
        os.killpg(os.getpgid(killer.program), signal.SIGKILL)
    end = time.monotonic() + 5
    while acting(LocalLink()) and time.monotonic() < end:
        time.sleep(0.05)
    assert LocalLink().exec(fate_script("R1", 1), limit=5).out == b"cut\n"
