"""A run while it goes on, watched from outside by the lines of its journal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from lab.lab import Lab
from lab.payload.places import HOME
from tests.chaos import failing
from tests.live.rig import LIMIT, TOP, Rig, environment

LOOK = 0.004
"""Seconds between two looks at the journal: far less than any step takes."""


def runs_of(lab: Lab) -> Path:
    """The folder of the runs' journals, as this machine sees it."""
    return lab.home / HOME.removeprefix("/home/") / ".local/state/hkn-migration/runs"


def lines_of(journal: Path) -> list[str]:
    """The whole lines of a journal; none if there is none yet."""
    try:
        text = journal.read_text(errors="replace")
    except OSError:
        return []
    return text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]


def label(line: str) -> str:
    """What a line of a journal is about, in short: its kind, and its step's name."""
    data = json.loads(line)
    return " ".join(str(data[key]) for key in ("kind", "n", "step") if key in data)


@dataclass
class Going:
    """One run in a process group of its own, whose output is kept in a file."""

    rig: Rig
    log: Path
    arguments: tuple[str, ...]
    act: int = 0
    """The act that fails, by its number among those that are sent; 0 for none."""
    process: subprocess.Popen[bytes] | None = None
    known: set[str] = field(default_factory=set)
    _seen: tuple[Path, int, list[str]] | None = None
    """Its journal, how many bytes that had when it was last read, and the lines."""

    def begin(self) -> None:
        """Start it."""
        self.rig.spoil()
        self.known, self._seen = self._names(), None
        words = ["--target", self.rig.target, "--remediate", "--yes", *self.arguments]
        plugin = ["-p", "tests.chaos.failing"] if self.act else []
        variables = {**environment(os.environ.items()), failing.VARIABLE: str(self.act)}
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "verify/", *words, *plugin], cwd=TOP, env=variables,
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def lines(self) -> list[str]:
        """The lines that its journal on the app host has by now."""
        if self._seen is None:
            new = sorted(self._names() - self.known)
            if not new:
                return []
            self._seen = (runs_of(self.rig.lab) / new[-1] / "journal.jsonl", -1, [])
        journal, known, lines = self._seen
        size = journal.stat().st_size if journal.exists() else 0
        if size != known:
            lines = lines_of(journal)
            self._seen = (journal, size, lines)
        return lines

    def reaches(self, boundary: int) -> str | None:
        """Wait until its journal has so many lines; what the last of them is about, None if it ended before."""
        assert self.process
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            lines = self.lines()
            if len(lines) >= boundary:
                return label(lines[boundary - 1])
            if self.process.poll() is not None:
                lines = self.lines()
                return label(lines[boundary - 1]) if len(lines) >= boundary else None
            time.sleep(LOOK)
        raise AssertionError(f"the run did not come to line {boundary} in {LIMIT:g} s:\n{self.said()[-2000:]}")

    def fails(self) -> str | None:
        """Wait until it has ended; which act was made to fail, None if it did not come so far."""
        self.wait()
        found = re.search(rf"^{failing.SAID}(.+)$", self.said(), re.MULTILINE)
        return found[1] if found else None

    def kill(self) -> None:
        """End all its processes at once."""
        assert self.process
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def wait(self) -> int:
        """Its exit code, when it has ended by itself or was killed (negative)."""
        assert self.process
        try:
            return self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait(30)
            raise AssertionError(f"the run did not end in {LIMIT:g} s:\n{self.said()[-2000:]}") from None

    def said(self) -> str:
        """What it wrote to its terminal."""
        return self.log.read_text(errors="replace")

    def _names(self) -> set[str]:
        try:
            return {path.name for path in runs_of(self.rig.lab).iterdir()}
        except OSError:
            return set()
