"""One command, measured: wall time, CPU of everything that it started, CPU of the hosts meanwhile, peak memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.cgroups import HostGroup

LIMIT = 300.0
"""Seconds after which a command is ended, and its row is an error."""
LOOK = 0.05
"""Seconds between two looks at the memory of the command's processes."""
HIDDEN = ("PYTEST_", "PYTHON", "VIRTUAL_ENV", "ANSIBLE_", "BW_", "PYINFRA_")
"""Variables whose names begin so are not handed on; PYTHONDONTWRITEBYTECODE would cost a second a run."""


class BenchError(Exception):
    """The bench cannot go on; the message says what was seen and what to do."""


@dataclass(frozen=True)
class Command:
    """What is run, where, and how its end is judged: `judge` gets status and output, and says what is wrong or nothing."""

    words: tuple[str, ...]
    folder: Path
    judge: Callable[[int, str], str]
    env: Mapping[str, str] = field(default_factory=dict)
    sockets: Path | None = None
    """A folder of sockets of shared connections, emptied before each run so that none outlives it."""


@dataclass(frozen=True)
class Sample:
    """One run: seconds of wall time and of CPU (client: all processes of the command), peak memory in MiB."""

    wall: float
    client: float
    host: float
    memory: float
    wrong: str
    out: str


@dataclass(frozen=True)
class Row:
    """One line of a table: who, against whose script or list, and the command that does it."""

    name: str
    command: Command


@dataclass
class Result:
    """All rounds of a row that counted."""

    name: str
    samples: list[Sample] = field(default_factory=list)

    def median(self, what: str) -> float:
        """The median of ``wall``, ``client``, ``host`` or ``memory``."""
        return float(statistics.median(getattr(sample, what) for sample in self.samples))

    @property
    def wrong(self) -> str:
        """What was wrong with a round, if anything was."""
        return next((sample.wrong for sample in self.samples if sample.wrong), "")


def environment() -> dict[str, str]:
    """This process's environment without what would make one tool faster or slower than it is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
    return kept | {"LC_ALL": "C.UTF-8", "COLUMNS": "160"}


class Meter:
    """Runs commands in a control group of their own; what they leave running (a shared ssh) is ended after each.

    `hosts` are the cpu.stat files of the hosts' control groups.
    """

    def __init__(self, hosts: Sequence[Path]) -> None:
        self.hosts = hosts
        self._group = HostGroup.find(f"hkn-bench-{os.getpid()}")

    def run(self, command: Command) -> Sample:
        """Run it once, cold.

        Raises:
            BenchError: it does not end.
        """
        self._group.create()
        for left in command.sockets.iterdir() if command.sockets else ():
            left.unlink()
        try:
            return self._run(command)
        finally:
            self._group.kill()
            self._group.remove()

    def _run(self, command: Command) -> Sample:
        # The shell that enters the group becomes the command.
        entry = ("/bin/sh", "-c", f'echo $$ >{self._group.main}/cgroup.procs && exec "$@"', "bench")
        before, began = self._host_seconds(), time.monotonic()
        process = subprocess.Popen(
            (*entry, *command.words),
            cwd=command.folder,
            env=environment() | dict(command.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        peak = Peak(self._group.main)
        try:
            out, _ = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{' '.join(command.words[:3])} ... did not end within {LIMIT:g} s") from None
        finally:
            wall = time.monotonic() - began
            memory = peak.stop()
        text = out.decode(errors="backslashreplace")
        return Sample(
            wall,
            seconds_of(self._group.main / "cpu.stat"),
            self._host_seconds() - before,
            memory,
            command.judge(process.returncode, text),
            text,
        )

    def _host_seconds(self) -> float:
        return sum(seconds_of(file) for file in self.hosts)


class Peak:
    """The largest sum of the resident memory of a control group's processes, each at its own peak."""

    def __init__(self, group: Path) -> None:
        self._group, self._stop, self._peak = group, threading.Event(), 0.0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """MiB."""
        self._stop.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._stop.wait(LOOK):
            pids = (self._group / "cgroup.procs").read_text().split()
            self._peak = max(self._peak, sum(resident(Path(f"/proc/{pid}/status")) for pid in pids))


def resident(status: Path) -> float:
    """MiB at its peak of the process that a /proc/PID/status file is about; 0 if it has ended."""
    try:
        line = next(text for text in status.read_text().splitlines() if text.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return 0.0
    return int(line.split()[1]) / 1024


def seconds_of(cpu_stat: Path) -> float:
    """CPU seconds that a control group has used."""
    return int(cpu_stat.read_text().split()[1]) / 1e6


def interleaved(
    rows: Sequence[Row], rounds: int, run: Callable[[Command], Sample], say: Callable[[str], None]
) -> list[Result]:
    """Medians need all rows under the same conditions: each round runs every row once, beginning with another one.

    A round before the first warms caches and compiled files, and shows that every row does what it claims.

    Raises:
        BenchError: a row does not do what it claims.
    """
    results = [Result(row.name) for row in rows]
    for number in range(rounds + 1):
        order = [(number + place) % len(rows) for place in range(len(rows))]
        for index in order:
            sample = run(rows[index].command)
            if sample.wrong and number == 0:
                raise BenchError(f"{rows[index].name}: {sample.wrong}\n{sample.out[-3000:]}")
            if number:
                results[index].samples.append(sample)
        say(f"round {number} of {rounds}" if number else "warmed up")
    return results
