"""One fault from its making to its end: seen for its own reason and no other, mended, and nothing left to do."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from converge.checking.record import StepRecord
from converge.checking.statement import Outcome
from converge.errors import Exit
from converge.planning.plan_file import NAME, Row
from lab.faults import FAULTS, Fault
from tests.live.rig import Answer, Rig
from tests.live.snapshots import changes, journals, neighbours


@dataclass(frozen=True)
class Trial:
    """What became of one fault; `problems` is empty if all was as it must be."""

    fault: str
    seen: list[str]
    by_hand: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


def draw(count: int, seed: int) -> list[str]:
    """`count` faults, always the same ones for a seed and a set of faults."""
    names = sorted(FAULTS)
    return sorted(random.Random(seed).sample(names, min(count, len(names))))


def attempt(rig: Rig, fault: Fault) -> Trial:
    """Break, check by asking for a plan, remediate twice; gathers every problem instead of ending at the first."""
    began = time.monotonic()
    rig.spoil()
    rig.enter(fault.state)
    rig.spoil()
    fault.apply(rig.lab)
    before = neighbours(rig.lab)
    check = rig.check("--plan")
    if check.record is None:
        return Trial(fault.name, [], [], [f"the check left no record (exit code {check.code})"], time.monotonic() - began)
    problems = seen_wrongly(fault, check)
    run = rig.remediate()
    problems += [*mended_wrongly(run), *planned_wrongly(check, run)]
    if run.record is None or run.acted:  # a run that did nothing would do nothing again
        runs = journals(rig.lab)
        again = rig.remediate()
        problems += repeated_wrongly(run, again, runs, journals(rig.lab))
    problems += [f"a neighbour changed: {line}" for line in changes(before, neighbours(rig.lab))]
    by_hand = sorted(run.ids(Outcome.MANUAL)) if run.record else []
    return Trial(fault.name, sorted(check.failing), by_hand, problems, round(time.monotonic() - began, 1))


def seen_wrongly(fault: Fault, check: Answer) -> list[str]:
    """Where the failing statements are others than the fault's, or one of them does not say what it saw."""
    found = []
    if unseen := sorted(fault.statements - check.failing):
        found.append(f"not seen by {', '.join(unseen)}")
    if strange := sorted(check.failing - fault.statements):
        found.append(f"seen also by {', '.join(strange)}")
    mute = [v.id for v in check.verdicts if v.outcome in {Outcome.FAILS, Outcome.MANUAL} and "seen:" not in v.message]
    if mute:
        found.append(f"failing without what was seen: {', '.join(sorted(set(mute)))}")
    return found


def mended_wrongly(run: Answer) -> list[str]:
    """Where a statement neither holds after the run, nor is left to a person in words, nor waits for one that is."""
    if run.record is None:
        return [f"the run left no record (exit code {run.code})"]
    found = []
    for_a_person = run.ids(Outcome.MANUAL)
    needs = {v.id: set(v.needs) for v in run.verdicts}
    for verdict in run.verdicts:
        if verdict.outcome is Outcome.HOLDS:
            continue
        where = f"{verdict.id}{f'[{verdict.host}]' if verdict.host else ''}"
        if verdict.outcome is Outcome.MANUAL:
            if "do:       " not in verdict.message:
                found.append(f"{where} is left to a person without a word on what to do")
        elif not reach(verdict.id, needs) & for_a_person:
            found.append(f"{where} {verdict.outcome} after the run: {' '.join(verdict.message.split())[:300]}")
    if not for_a_person and not found and run.code != Exit.HOLDS:
        found.append(f"all holds after the run, and its exit code is {run.code}")
    return found


DID = {"done", "failed", "unknown", "rolled back"}
"""Results of a step that was executed, whatever came of it."""

BROKE_OFF = {"failed", "unknown", "rolled back", "refused"}
"""Results of a step behind which others may be left, as `LEFT`."""
LEFT = {"blocked", "not reached"}

SPARED: Mapping[str, tuple[str, str]] = {
    "SOLR-2/": ("DEP-1/deploy", "it moves Solr to the new release"),
    "SOLR-3/": ("SOLR-1/start", "wait for its core"),
    "UNIT-4/stop-": (r"UNIT-5/(cutover|stop-\S+)", r"\b(end|stop) \S+\.service"),
    "REPO-6/change": ("REPO-6/checkout", r"merge \S+ into the clone"),
    "REPO-8/": ("REPO-6/checkout", r"merge \S+ into the clone"),
}
"""Planned steps (what their ids begin with) that an earlier one may turn out to have spared, with its id and its words in
the same plan which say so: what it does is what they are for. Others are spared only where the plan says so (`follows`).
"""


def planned_wrongly(plan: Answer, run: Answer) -> list[str]:
    """Where a run does other steps than the plan before it printed, says other words of them, or leaves one out.

    Left out may be what the plan says may be, if the run found it not needed; and what is behind a step that broke off.
    """
    if plan.folder is None or run.record is None:
        return []
    rows = [row for row in json.loads((plan.folder / NAME).read_text())["steps"] if row["result"] == "planned"]
    did = sorted((step for step in run.record.steps if step.result in DID), key=lambda step: step.started)
    done = {(step.id, step.host) for step in did}
    found = []
    printed = [(str(row["id"]), str(row["host"])) for row in rows]
    if strange := [f"{id} at {host}" for id, host in ((s.id, s.host) for s in did) if (id, host) not in printed]:
        found.append(f"the run did what the plan does not have: {', '.join(strange)}")
    expected = [place for place in printed if place in done]
    if not strange and expected != [(step.id, step.host) for step in did]:
        found.append(f"the plan was {', '.join(id for id, _ in expected)}; the run did {', '.join(s.id for s in did)}")
    found += _other_words(rows, did)
    return found + _left_out([row for row in rows if (row["id"], row["host"]) not in done], rows, run.record.steps)


def _other_words(rows: Iterable[Row], did: Iterable[StepRecord]) -> list[str]:
    """Executed steps that said something else than was printed; what a step depends on is said of it beforehand alone."""
    said = {(row["id"], row["host"]): row for row in rows}
    return [
        f"{step.id} was to {row['sentence']}; what was done is to {step.sentence}"
        for step in did
        if (row := said.get((step.id, step.host))) and not row["follows"]
        if row["sentence"] != step.sentence and not row["sentence"].startswith(f"{step.sentence} (")
    ]


def _left_out(left: Sequence[Row], rows: Sequence[Row], steps: Sequence[StepRecord]) -> list[str]:
    """Planned steps that were not executed although neither the plan nor a step that broke off before says why."""
    told = {(step.id, step.host): (place, step) for place, step in enumerate(steps)}
    broken = min((place for place, step in enumerate(steps) if step.result in BROKE_OFF), default=len(steps))
    begun = any(not row["follows"] for row in rows)
    found = []
    for row in left:
        place, step = told.get((row["id"], row["host"]), (0, None))
        result = step.result if step else "told of nowhere"
        spared = result == "not needed" and (row["follows"] or _is_spared(row, rows, steps))
        # A run without a step of its own to do is not begun, and then nothing can follow.
        unbegun = result == "planned" and not begun
        if not (spared or unbegun or (place > broken and result in LEFT) or result == "refused"):
            found.append(f"the plan has {row['id']} at {row['host']}, which was left out: {result}{_why(step)}")
    return found


def _is_spared(row: Row, rows: Iterable[Row], steps: Iterable[StepRecord]) -> bool:
    done = {step.id for step in steps if step.result == "done"}
    return any(
        row["id"].startswith(start)
        and other["id"] in done
        and re.fullmatch(by, other["id"])
        and re.search(words, other["sentence"])
        for start, (by, words) in SPARED.items()
        for other in rows
    )


def _why(step: StepRecord | None) -> str:
    return f" ({step.reason})" if step and step.reason else ""


def repeated_wrongly(run: Answer, again: Answer, before: list[str], after: list[str]) -> list[str]:
    """Where a second run acts, or finds another world than the first left."""
    found = []
    if again.record is None:
        return [f"the second run left no record (exit code {again.code})"]
    if again.acted:
        found.append(f"the second run acted: {', '.join(again.acted)}")
    if run.code == Exit.HOLDS and "nothing to do" not in again.out:
        found.append("the second run does not say that there is nothing to do")
    if run.code == Exit.HOLDS and again.code != Exit.HOLDS:
        found.append(f"exit code {again.code} of the second run, where the first one ended with {run.code}")
    if run.code == Exit.HOLDS and after != before:
        found.append("the second run left a journal on the host")
    return found


def reach(id: str, needs: Mapping[str, Iterable[str]]) -> set[str]:
    """All that a statement needs, directly or not."""
    found: set[str] = set()
    todo = [id]
    while todo:
        for need in needs.get(todo.pop(), ()):
            if need not in found:
                found.add(need)
                todo.append(need)
    return found
