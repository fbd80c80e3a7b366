"""A plan as a file: written by ``--plan``, carried out by ``--remediate --plan-file`` as long as the world has not moved.

What the plan says of a step is kept as text, with the run's own id and folder left open, since the run that carries it out
has others. What looks like a secret is masked on both sides before it is compared.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converge.errors import StateMoved, UsageError
from converge.planning.plan import Plan
from converge.text.masking import mask

SCHEMA = 1
NAME = "plan.json"
TEXTS = ("commands", "sentence", "undo", "reason")
COMPARED = ("remedy", "statements", "sentence", "commands", "preconditions", "undo", "interrupts", "result", "follows")
"""What must be the same for a step to be the one that was planned; the first words of a difference name what is not."""

Row = dict[str, Any]


class PlanFileError(UsageError):
    """A plan's file cannot be read, or is not meant for this target or version."""


class PlanMoved(StateMoved):
    """What the hosts need now is not what the file plans; nothing was done."""


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan as it was written: for which target, by which version, in which session, and its steps in order."""

    file: str
    target: str
    version: str
    run: str
    steps: tuple[Row, ...]


def rows(plan: Plan, run: str, folder: str) -> list[Row]:
    """The steps of a plan as plain data that does not depend on the session (`run`, `folder`) in which it was made."""

    def open_text(text: str) -> str:
        return mask(text.replace(folder, "{folder}").replace(run, "{run}"))

    found = []
    for task in plan.tasks:
        for step in task.steps:
            row: Row = {"id": step.id, "host": step.host, "remedy": step.remedy, "statements": list(step.statements)}
            row |= {name: open_text(getattr(step, name)) for name in TEXTS}
            row |= {"preconditions": [open_text(text) for text in step.preconditions]}
            row |= {"interrupts": step.interrupts, "search_gap": step.search_gap}
            row |= {"result": step.result, "follows": task.follows}
            found.append(row)
    return found


def write(plan: Plan, folder: Path, *, target: str, version: str, run: str, at: float) -> Path:
    """Write the plan into a session's folder; `at` is seconds since the epoch. Returns the file.

    Raises:
        PlanFileError: it cannot be written.
    """
    data = {"schema": SCHEMA, "kind": "plan", "target": target, "version": version, "run": run, "at": at}
    file = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({**data, "steps": rows(plan, run, str(folder))}, indent=1) + "\n", encoding="utf-8")
    except OSError as problem:
        raise PlanFileError(f"{file}: the plan could not be written ({problem.strerror})") from None
    return file


def read(file: Path) -> SavedPlan:
    """The plan in a file, whatever it is for.

    Raises:
        PlanFileError: it cannot be read, or is no plan of a known schema.
    """
    try:
        if file.exists() and not file.is_file():  # a pipe can be read only once
            raise PlanFileError(f"{file}: is no file: name the one that --plan wrote")
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise PlanFileError(f"{file}: cannot be read ({problem.strerror}): --plan writes one and names it") from None
    except (ValueError, RecursionError) as problem:
        raise PlanFileError(f"{file}: is no plan: {problem}") from None
    if not isinstance(data, dict) or data.get("kind") != "plan" or data.get("schema") != SCHEMA:
        seen = data.get("schema") if isinstance(data, dict) and data.get("kind") == "plan" else "none"
        raise PlanFileError(f"{file}: is no plan of schema {SCHEMA} (read: {seen}): make one with --plan")
    found = data.get("steps")
    if not isinstance(found, list) or not all(isinstance(r, dict) and {"id", "host", *COMPARED} <= r.keys() for r in found):
        raise PlanFileError(f"{file}: its steps cannot be understood: make a new one with --plan")
    target, version, run = (str(data.get(key, "")) for key in ("target", "version", "run"))
    return SavedPlan(str(file), target, version, run, tuple(found))


def load(file: Path, *, target: str, version: str) -> SavedPlan:
    """The plan in a file, which must be for this target and version.

    Raises:
        PlanFileError: it cannot be read, is no plan of a known schema, or is for another target or version.
    """
    saved = read(file)
    for what, its, mine in (("target", saved.target, target), ("version", saved.version, version)):
        if its != mine:
            raise PlanFileError(f"{file}: this plan is for {what} {its}, not for {mine}: make one with --plan")
    return saved


def differences(saved: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is new, gone, changed or in another order in a plan; empty if it is the same. Pure."""
    before, after = _numbered(saved), _numbered(now)
    found = [f"new: {_named(after[key])}" for key in after if key not in before]
    found += [f"gone: {_named(before[key])}" for key in before if key not in after]
    for key in after:
        if key in before and (parts := [part for part in COMPARED if before[key][part] != after[key][part]]):
            found.append(f"changed: {_named(after[key])}: {'; '.join(_change(p, before[key], after[key]) for p in parts)}")
    if not found and [(r["id"], r["host"]) for r in saved] != [(r["id"], r["host"]) for r in now]:
        found.append(f"another order: {', '.join(str(r['id']) for r in now)}")
    return found


def _numbered(found: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, int], Mapping[str, Any]]:
    """The steps by id and host; a remedy that is called twice yields the same ones again, so each has its turn too."""
    turns: Counter[tuple[str, str]] = Counter()
    result = {}
    for row in found:
        name = str(row["id"]), str(row["host"])
        turns[name] += 1
        result[*name, turns[name]] = row
    return result


def refuse_if_moved(saved: SavedPlan, plan: Plan, run: str, folder: str) -> None:
    """Make sure that what would be done now is what the file plans.

    Raises:
        PlanMoved: it is not; the message has the difference.
    """
    if found := differences(saved.steps, rows(plan, run, folder)):
        lines = "\n".join(f"  {text}" for text in found)
        raise PlanMoved(f"{saved.file} is not what would be done now, so nothing was done; make a new --plan:\n{lines}")


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['id']} at {row['host']}, {row['sentence']}"


def _change(part: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if part == "preconditions":
        lost = [text for text in before[part] if text not in after[part]]
        came = [text for text in after[part] if text not in before[part]]
        return f"it relied on: {' and '.join(lost) or 'nothing else'}; now: {' and '.join(came) or 'nothing else'}"
    if part == "commands":
        return "its commands"
    return f"{part} was {before[part]!r}, is {after[part]!r}"
