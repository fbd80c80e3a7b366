"""The record as Markdown, for the issue: verdict first."""

from __future__ import annotations

import re

from converge.checking.record import Record, Verdict
from converge.report.summary import (
    Group,
    cost,
    done,
    groups,
    headline,
    later,
    led,
    led_text,
    left,
    mended,
    name_of,
    next_commands,
    remark,
    remediable,
    said,
    ticked,
    unwell,
    was_wrong,
)
from converge.text.display import clipped, count, duration, one_line, shown, when

MARK = {"good": "✅", "bad": "❌", "unsure": "❔"}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!@&])")


def prose(text: str, limit: int = 400) -> str:
    """`text` on one line in which nothing is markup, a mention, a link or HTML."""
    escaped = _SPECIAL.sub(r"\\\1", one_line(text, limit))
    # Backslashes do not stop autolinks and mentions: a zero-width word joiner does.
    return re.sub(r"(?i)(https?|ftp|www)(://|\.)", "\\1\u2060\\2", escaped.replace("\\@", "@\u2060"))


def code(text: str, limit: int = 200) -> str:
    """`text` as inline code, whatever backquotes it contains."""
    line = one_line(text, limit)
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    return f"{fence}{' ' if '`' in line else ''}{line}{' ' if '`' in line else ''}{fence}"


def block(text: str, indent: str = "") -> list[str]:
    """`text` as a fenced block that nothing in it can end."""
    kept, _ = clipped(shown(text), lines=30, chars=3000)
    fence = "`" * max(3, max((len(run) for run in re.findall("`+", kept)), default=0) + 1)
    return [indent + line for line in [f"{fence}text", *kept.splitlines(), fence]]


def markdown(record: Record) -> str:
    """The record for the issue: verdict, checklist, what was wrong, what was done, what is left."""
    parts = [*_head(record), *_checklist(record), *wrong(record), *_done(record), *_left(record)]
    return "\n".join(parts).rstrip() + "\n"


def _head(record: Record) -> list[str]:
    head = headline(record)
    mark = MARK[head.tone]
    facts = [f"{record.kind} of **{prose(record.target)}**", when(record.started), f"took {duration(record.seconds)}"]
    facts += [f"version {prose(record.version)}", f"id {code(record.id)}"]
    found = [f"## {mark} {prose(head.text)}", "", " · ".join(facts), "", f"{prose(head.figures)}."]
    if record.situation:
        found += ["", f"Situation: **{prose(record.situation)}**"]
        found += [f"- {prose(line)}" for line in record.situation_detail]
    if text := cost(record):
        found += ["", f"Downtime: {prose(text, 2000)}"]
    if text := led_text(led(record.steps)):
        found += ["", prose(text)]
    return [*found, ""]


def _checklist(record: Record) -> list[str]:
    found: list[str] = []
    section = None
    for line in record.checklist:
        if line.section != section:
            section = line.section
            found += ["", f"### {prose(section or 'Checklist')}", ""]
        result = ticked(line, record.verdicts)
        ids = ", ".join(dict.fromkeys(verdict.id for verdict in result.verdicts))
        remark = result.remark or ids
        found.append(f"- [{'x' if result.state == 'holds' else ' '}] {prose(line.text)} ({prose(remark)})")
    return [*found, ""]


def wrong(record: Record) -> list[str]:
    bad = groups(was_wrong(record))
    if not bad:
        return []
    title = "What was wrong" if record.before else "What is wrong"
    return [f"### {title}", "", *(line for group in bad for line in _group(group)), ""]


def _group(group: Group) -> list[str]:
    found = _verdict(group.root)
    if group.followers:
        found.append(f"  - probably because of it: {prose(', '.join(dict.fromkeys(each.id for each in group.followers)))}")
    return found


def _verdict(verdict: Verdict) -> list[str]:
    found = [f"- **{prose(name_of(verdict))}** {verdict.outcome.value}: {prose(verdict.sentence)}"]
    seen = said(verdict.message)
    return found + [f"  - {label}: {code(seen[label])}" for label in ("expected", "seen", "where") if seen.get(label)]


def _done(record: Record) -> list[str]:
    if not record.steps:
        text = "Nothing: a check reads and changes nothing." if record.kind == "check" else "Nothing: no step was needed."
        return ["### What was done", "", text, ""]
    found = ["### What would be done" if record.kind == "plan" else "### What was done", ""]
    if fixed := mended(record):
        found += [f"Mended and proven by a new reading: {prose(', '.join(name_of(v) for v in fixed), 2000)}.", ""]
    for remedy in done(record):
        took = f", {duration(remedy.seconds)}" if remedy.seconds else ""
        what = f"{code(remedy.remedy)} for {prose(', '.join(remedy.statements))}"
        found.append(f"- {what}: {count(len(remedy.steps), 'step')}{took}")
        found += [f"  - {step.result}: {prose(step.sentence)} ({prose(step.host)})" for step in remedy.steps]
    found += [f"- {prose(guard)}" for guard in record.guards]
    return [*found, ""]


def _left(record: Record) -> list[str]:
    found = ["### What is left", ""]
    if mendable := remediable(record):
        found += [f"- {count(len(mendable), 'statement')} with a remedy"]
    found += [f"- {code(typed)} {what}" for typed, what in next_commands(record)]
    for item in left(record):
        found += [f"- **{prose(item.title)}**", *(block(item.text, "  ") if item.text else [])]
    found += [f"- {prose(name_of(v))} is {v.outcome.value}: {prose(remark(v))}" for v in later(record)]
    found += [f"- {prose(note)}" for note in record.notes]
    if len(found) == 2:
        found.append("Nothing." if not unwell(record.verdicts) else "See above.")
    return [*found, ""]
