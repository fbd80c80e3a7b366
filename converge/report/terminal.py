"""The end of the terminal's output, as lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from converge.checking.record import Record
from converge.report.summary import (
    Group,
    cost,
    groups,
    headline,
    later,
    led,
    led_text,
    left,
    name_of,
    next_commands,
    remark,
    remediable,
    said,
)
from converge.text.display import count, duration, one_line, shown


def tally_line(record: Record) -> str:
    """``1 connection, 1 exec, 212 readings, 0 misses, 0.61 s``."""
    misses = f"{len(record.misses):,} miss{'' if len(record.misses) == 1 else 'es'}"
    parts = [count(record.connections, "connection"), count(record.execs, "exec"), count(record.readings, "reading"), misses]
    return ", ".join([*parts, duration(record.seconds)])


def miss_lines(misses: Sequence[str]) -> list[str]:
    """``1 miss: NAME at HOST, asked by UNIT-3``: what was not foreseen costs a round trip of its own; nothing if none."""
    return [f"{count(len(misses), 'miss', 'misses')}: {'; '.join(misses)}"] if misses else []


def closing_line(report: PurePath | str) -> str:
    """The last line: the one file to attach."""
    return f"report: {report}"


def closing_lines(record: Record, report: PurePath | str, width: int = 120) -> list[str]:
    """Verdict, situation, what is not well below its likely cause, what is left for a person, tally; last the report."""
    head = headline(record)
    found = [head.text, f"  {head.figures}"]
    if record.situation:
        found.append(f"  situation: {one_line(record.situation, width)}")
    if bad := groups(record.verdicts):
        found += ["", *(line for group in bad for line in _group(group, width))]
    if mendable := remediable(record):
        which = f"{count(len(mendable), 'statement')} of these {'has' if len(mendable) == 1 else 'have'} a remedy"
        found += ["", f"{which}:"]
    found += [f"  {typed}    {what}" for typed, what in next_commands(record)]
    if todo := left(record):
        found += ["", "left for a person:", *(f"  {one_line(f'{item.title}: {item.text}', width)}" for item in todo)]
    found += [f"  {name_of(v)} {v.outcome.value}: {one_line(remark(v), width)}" for v in later(record)]
    found += ["", text] if (text := cost(record)) else []
    found += [text] if (text := led_text(led(record.steps))) else []
    found += [f"note: {one_line(note, width)}" for note in record.notes]
    found += [one_line(line, width * 3) for line in miss_lines(record.misses)]
    # Once more for all of it: no line may steer the terminal, whatever it was made of.
    return [shown(line).replace("\n", " ") for line in [*found, "", tally_line(record), closing_line(report)]]


def _group(group: Group, width: int) -> list[str]:
    root = group.root
    seen = said(root.message)
    found = [f"  {root.outcome.value:<12} {name_of(root)}: {one_line(root.sentence, width)}"]
    found += [f"    {label}: {one_line(seen[label], width)}" for label in ("expected", "seen") if label in seen]
    if group.followers:
        names = ", ".join(dict.fromkeys(each.id for each in group.followers))
        found.append(f"    probably because of it: {one_line(names, width * 3)}")
    return found
