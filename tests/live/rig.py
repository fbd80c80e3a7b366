"""The suite run as a person runs it, against a lab of the tests' own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converge.checking.record import Record, Verdict
from converge.checking.statement import Outcome
from converge.report.run_json import record_of
from lab.connection import merged, toml
from lab.lab import Lab
from tests.live.figures import Entry

TOP = Path(__file__).resolve().parents[2]
REPORT = re.compile(r"^report: (\S+)/report\.html$", re.MULTILINE)
WRITTEN = re.compile(r"Generated html report: file://(\S+/reports/\S+)/report\.html ")
FAILING = (Outcome.FAILS, Outcome.MANUAL, Outcome.ADVICE, Outcome.BLOCKED)
LIMIT = 420.0
"""Seconds that one session may take."""


@dataclass(frozen=True)
class Answer:
    """What one session of the suite said; `record` is None if it left no report."""

    arguments: tuple[str, ...]
    code: int
    out: str
    seconds: float
    folder: Path | None
    record: Record | None

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdicts of its record."""
        assert self.record, f"no record was left:\n{self}"
        return self.record.verdicts

    def ids(self, *outcomes: Outcome) -> set[str]:
        """Statements of which an instance has one of these outcomes."""
        return {v.id for v in self.verdicts if v.outcome in outcomes}

    @property
    def failing(self) -> set[str]:
        """Statements that do not hold, whatever their severity and whoever must mend them."""
        return self.ids(*FAILING)

    def messages(self, id: str) -> str:
        """What was said of a statement that does not hold."""
        return "\n".join(v.message for v in self.verdicts if v.id == id and v.message)

    @property
    def acted(self) -> list[str]:
        """Ids of the steps that changed something, or may have."""
        assert self.record, f"no record was left:\n{self}"
        return [s.id for s in self.record.steps if s.result in {"done", "failed", "unknown"}]

    def __str__(self) -> str:
        return f"$ pytest verify/ {' '.join(self.arguments)}\n{self.out}\nexit code {self.code} after {self.seconds:.1f} s"


@dataclass
class Rig:
    """One lab, and the suite pointed at it. Whoever changes the hosts calls ``spoil`` first."""

    lab: Lab
    say: Callable[[str], None] = print
    folders: list[Path] = field(default_factory=list)
    stands: str = ""
    """What a test left standing, for the next one that begins there; `spoil` forgets it."""
    entries: list[Entry] = field(default_factory=list)
    weight: dict[str, int] = field(default_factory=dict)
    _state: str | None = None

    @property
    def target(self) -> str:
        """The lab's name as a target."""
        return f"lab:{self.lab.name}"

    def enter(self, state: str) -> None:
        """Put the lab into a named state, unless it is in it and nothing has changed it since."""
        if self._state == state:
            return
        self._state = None
        built = not self.lab.built(state)
        began = time.monotonic()
        if self.lab.running():
            self.lab.state(state)
        else:
            self.lab.down()
            self.lab.up(state)
        seconds = time.monotonic() - began
        self._state = state
        self.entries.append(Entry(state, seconds, built, self.weigh()))
        self.say(f"the lab is in the state {state} after {seconds:.1f} s")

    def weigh(self) -> dict[str, int]:
        """Look at what the hosts use of memory, in bytes; kept in ``weight``."""
        self.weight = {name: self.lab.memory(name) for name in self.lab.machines}
        return self.weight

    def spoil(self) -> None:
        """Note that the hosts are about to be changed."""
        self._state, self.stands = None, ""

    def check(self, *arguments: str, target: str | None = None) -> Answer:
        """``pytest verify/ --target T ARGUMENTS`` in a process of its own."""
        words = ("--target", target or self.target, *arguments)
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "verify/", *words],
            cwd=TOP,
            env=environment(os.environ.items()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=LIMIT,
            check=False,
            start_new_session=True,
        )
        folder, record = report_of(done.stdout)
        self.folders += [Path(path) for path in WRITTEN.findall(done.stdout)]
        answer = Answer(words, done.returncode, done.stdout, time.monotonic() - began, folder, record)
        self.say(str(answer))
        return answer

    def remediate(self, *arguments: str) -> Answer:
        """The same with ``--remediate --yes``."""
        self.spoil()
        return self.check("--remediate", "--yes", *arguments)

    def sweep(self) -> None:
        """Remove the reports that these sessions left."""
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)


def environment(variables: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Without what the outer pytest left for itself, and with a wide terminal."""
    return {name: value for name, value in variables if not name.startswith("PYTEST_")} | {"COLUMNS": "160"}


def report_of(out: str) -> tuple[Path | None, Record | None]:
    """The folder that the last line names, and the record in it."""
    found = REPORT.findall(out)
    if not found:
        return None, None
    folder = TOP / found[-1]
    return folder, record_of((folder / "run.json").read_text(), str(folder))

def write_target(rig: Rig, folder: Path, changes: dict[str, Any]) -> Path:
    """The lab as an inventory file of its own, with other values."""
    layers = [tomllib.loads(file.read_text()) for file in (TOP / "hosts/lab.toml", rig.lab.directory / "target.toml")]
    text = toml(merged(merged(layers[0], layers[1]), changes))
    file = folder / "target.toml"
    # Unlike strings, TOML's dates have no quotes.
    file.write_text(re.sub(r'"(\d{4}-\d\d-\d\d)"', r"\1", text))
    return file
