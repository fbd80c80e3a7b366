"""Taking runs back from where a test stands: the call, the command, and what the journal says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli import rollback, runs, show
from cli.__main__ import main
from converge.errors import Exit
from converge.runs.rollback import roll_back
from converge.transport import Link, LocalLink
from hosts.schema import Inventory
from tests.converge.stage import Stage


def reports(stage: Stage) -> Path:
    return stage.world.top / "reports"


def back(stage: Stage, run: str = "R1", mine: str = "R2", **changes: Any) -> Exit:
    def dial(_inv: Inventory, _host: str) -> Link:
        return LocalLink()

    return roll_back(
        stage.world.inv, {"new": stage.link}, run, mine, "ada", stage.said.append, reports(stage), dial, **changes
    )[0]


def noted(stage: Stage, *lines: str, run: str = "R1") -> None:
    """More lines in the journal of the run."""
    with (stage.world.home / f".local/state/hkn-migration/runs/{run}/journal.jsonl").open("a") as journal:
        journal.writelines(f"{text}\n" for text in lines)


def damaged(stage: Stage, of: str, step: str = "A/serve", kind: str = "intent") -> None:
    """The line of this run's journal that says what the step is to do is zeros now, or its line of another `kind`."""
    file = stage.world.home / f".local/state/hkn-migration/runs/{of}/journal.jsonl"
    lines = file.read_text().splitlines()
    (number,) = (n for n, text in enumerate(lines) if f'"{kind}"' in text and step in text)
    lines[number] = "\0" * 40
    file.write_text("".join(f"{text}\n" for text in lines))


def commanded(stage: Stage, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit code of ``./hkn rollback R1 --yes``, with more `words`."""
    return typed(stage, monkeypatch, "rollback", "R1", "--yes", *words)


def typed(stage: Stage, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit code of ``./hkn`` with these words."""

    @contextmanager
    def reached(_target: str, *, everything: bool) -> Iterator[tuple[Inventory, dict[str, Link]]]:
        assert everything == (words[0] == "rollback")
        yield stage.world.inv, {"new": stage.link, "control": stage.link}

    module = {"rollback": rollback, "runs": runs, "show": show}[words[0]]
    monkeypatch.setattr(module, "reached", reached)
    monkeypatch.setattr(rollback, "REPORTS", reports(stage))
    monkeypatch.setattr(sys, "argv", ["hkn", *words])
    return main()
