"""What a record says, in the few words that every report uses: verdict, what was wrong, what was done, what is left."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from converge.checking.record import Line, Probe, Record, StepRecord, Verdict
from converge.checking.statement import Outcome
from converge.errors import Exit
from converge.probe.unannounced import losses, lost_in_all, overran, told
from converge.text.display import clock, count, duration, one_line

Tone = Literal["good", "bad", "unsure"]

ORDER = (
    Outcome.FAILS,
    Outcome.MANUAL,
    Outcome.BLOCKED,
    Outcome.UNOBSERVABLE,
    Outcome.ADVICE,
    Outcome.WAIVED,
    Outcome.DUE,
    Outcome.HOLDS,
)
"""Outcomes from the most to the least urgent."""

_SEVERITIES = ("blocker", "major", "minor")
_LABEL = re.compile(r"^(expected|seen|where|do|why): +", re.MULTILINE)


@dataclass(frozen=True)
class Headline:
    """The verdict in one line, and figures that go with it."""

    tone: Tone
    text: str
    figures: str


@dataclass
class Group:
    """A statement that is not well, and those that probably are not because of it."""

    root: Verdict
    followers: list[Verdict] = field(default_factory=list)


@dataclass(frozen=True)
class Left:
    """Something that the tool leaves to a person."""

    title: str
    text: str
    anchor: str = ""


@dataclass(frozen=True)
class Ticked:
    """A line of the page with what became of it: ``well`` means that it does not hold yet, but may."""

    line: Line
    state: Literal["holds", "well", "fails", "unread"]
    verdicts: list[Verdict]
    remark: str


@dataclass(frozen=True)
class Done:
    """The steps of one remedy."""

    remedy: str
    steps: list[StepRecord]

    @property
    def seconds(self) -> float:
        """How long they took."""
        return sum(step.seconds for step in self.steps)

    @property
    def result(self) -> str:
        """The one result of all of them, or the first that is not ``done``."""
        return next((step.result for step in self.steps if step.result != "done"), "done")

    @property
    def statements(self) -> list[str]:
        """What they were to mend."""
        return list(dict.fromkeys(each for step in self.steps for each in step.statements))


def name_of(verdict: Verdict) -> str:
    """``UNIT-3 (HOST)``; without a host for a statement about the whole target."""
    return f"{verdict.id} ({verdict.host})" if verdict.host else verdict.id


def anchor_of(id: str, host: str = "") -> str:
    """A fragment for links within the page, safe whatever the id and the host contain."""
    return "s-" + re.sub(r"[^A-Za-z0-9_-]", "_", f"{id}-{host}" if host else id)


def counts(verdicts: Iterable[Verdict]) -> list[tuple[Outcome, int]]:
    """How many verdicts have which outcome, the urgent ones first; outcomes that none has are left out."""
    found = Counter(verdict.outcome for verdict in verdicts)
    return [(outcome, found[outcome]) for outcome in ORDER if found[outcome]]


def number_of(number: int, outcome: Outcome) -> str:
    """``1 fails``, ``3 fail``, ``2 due``."""
    several = {Outcome.FAILS: "fail", Outcome.HOLDS: "hold"}.get(outcome, outcome.value)
    return f"{number:,} {outcome.value if number == 1 else several}"


def counted(verdicts: Iterable[Verdict]) -> str:
    """``3 fail, 1 unobservable, 67 hold``."""
    return ", ".join(number_of(number, outcome) for outcome, number in counts(verdicts)) or "no statement was read"


def unwell(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Verdicts with which the exit code is not 0, the urgent ones first."""
    found = [verdict for verdict in verdicts if not verdict.outcome.is_well]
    return sorted(found, key=urgency)


def urgency(verdict: Verdict) -> tuple[int, int]:
    """For sorting: outcome, then severity."""
    severity = _SEVERITIES.index(verdict.severity) if verdict.severity in _SEVERITIES else len(_SEVERITIES)
    return ORDER.index(verdict.outcome), severity


def groups(verdicts: Iterable[Verdict]) -> list[Group]:
    """Verdicts that are not well, each below its likely cause; the causes with most followers first."""
    found = unwell(verdicts)
    ids = {verdict.id for verdict in found}
    heads = [Group(v) for v in found if v.likely_cause not in ids - {v.id}]
    first = {group.root.id: group for group in reversed(heads)}
    for verdict in found:
        if verdict.likely_cause in ids - {verdict.id}:
            group = first.get(verdict.likely_cause)
            if group is None:
                heads.append(Group(verdict))
            else:
                group.followers.append(verdict)
    return sorted(heads, key=lambda group: -len(group.followers))


def said(message: str) -> dict[str, str]:
    """The parts of a failing statement's message: expected, seen, where, do, why; all of it as ``seen`` if it has none."""
    marks = list(_LABEL.finditer(message))
    if not marks:
        return {"seen": message.strip()} if message.strip() else {}
    ends = [mark.start() for mark in marks[1:]] + [len(message)]
    return {mark[1]: message[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)}


def was_wrong(record: Record) -> list[Verdict]:
    """The verdicts that tell what was wrong: before a run acted, or now."""
    return record.before or record.verdicts


def mended(record: Record) -> list[Verdict]:
    """What was not well before and holds now."""
    before = {(verdict.id, verdict.host) for verdict in unwell(record.before)}
    return [v for v in record.verdicts if v.outcome is Outcome.HOLDS and (v.id, v.host) in before]


def broken(record: Record) -> list[Verdict]:
    """What held before and is not well now."""
    before = {(v.id, v.host) for v in record.before if v.outcome is Outcome.HOLDS}
    return [verdict for verdict in unwell(record.verdicts) if (verdict.id, verdict.host) in before]


def done(record: Record) -> list[Done]:
    """The steps by remedy, in the order in which they were taken."""
    found: dict[str, list[StepRecord]] = {}
    for step in record.steps:
        found.setdefault(step.remedy, []).append(step)
    return [Done(remedy, steps) for remedy, steps in found.items()]


def results(record: Record) -> list[tuple[str, int]]:
    """What became of the remedies, with how many, in the order in which each was first met."""
    return list(Counter(each.result for each in done(record)).items())


def headline(record: Record) -> Headline:
    """The verdict in one line."""
    bad, fixed = unwell(record.verdicts), mended(record)
    figures = counted(record.verdicts)
    if record.exit_code not in {Exit.HOLDS, Exit.FAILS}:
        return Headline("unsure", _abnormal(record), figures)
    if not record.verdicts:
        return Headline("unsure", "Nothing was read, so nothing is known", figures)
    if record.exit_code == Exit.HOLDS and not bad:
        again = f" again: {count(len(fixed), 'statement')} mended and proven" if fixed else ""
        return Headline("good", f"The site stands as it should{again}", figures)
    pages = lost_in_all(losses(record.probe, record.steps))
    if record.kind == "run" and bad:
        text = f"Not finished: {len(bad)} of {count(len(record.verdicts), 'statement')} not as stated"
        text += f", {len(fixed)} mended" if fixed else ""
        lost = broken(record)
        text += f", {len(lost)} held before" if lost else ""
        return Headline("bad", text + (f"; {pages}" if pages else ""), figures)
    if bad and all(verdict.outcome is Outcome.UNOBSERVABLE for verdict in bad):
        return Headline("unsure", f"Not known: {count(len(bad), 'statement')} could not be read", figures)
    if pages:
        return Headline("bad", f"Every statement holds, but {pages}", figures)
    if not bad:
        return Headline("bad", one_line(record.exit_reason) or "Every statement holds, but a guard does not", figures)
    text = f"The site does not stand as it should: {len(bad)} of {count(len(record.verdicts), 'statement')} not as stated"
    return Headline("bad", text, figures)


def _abnormal(record: Record) -> str:
    words = {
        Exit.INTERRUPTED: "Interrupted: this is what was known by then",
        Exit.INTERNAL: "Ended by a fault of the tool itself",
        Exit.USAGE: "Not begun: flags or inventory make no sense",
        Exit.NOTHING_RAN: "No statement was selected, so nothing is known",
        Exit.LOCK_HELD: "Not begun: another run is at work on this target",
        Exit.STATE_MOVED: "Stopped: the state moved under the plan",
        Exit.ROLLED_BACK: "Rolled back: the old state serves again",
        Exit.UNKNOWN: "Unknown: how something that was done ended is not known, or could not be kept",
        Exit.UNREACHABLE: "Not known: a host could not be reached",
        Exit.PUBLISHING_FAILED: "All well, but publishing the report failed",
        Exit.DECLINED: "Nothing was done: declined at the prompt",
    }
    text = words.get(Exit(record.exit_code), "") if record.exit_code in set(Exit) else ""
    reason = one_line(record.exit_reason)
    return ". ".join(part for part in (text or f"Ended with exit code {record.exit_code}", reason) if part)


def left(record: Record) -> list[Left]:
    """What a person still has to do, the urgent first, each thing once; empty if nothing."""
    found = _left_verdicts(verdict for verdict in unwell(record.verdicts) if not _followed(verdict, record))
    told = "\n".join(item.text for item in found)
    for step in record.steps:
        if step.result in {"failed", "refused", "unknown", "rolled back", "manual", "blocked"}:
            # What a person types stands on its own lines; anything else is a sentence.
            text = (step.reason or (step.commands if step.result == "manual" else step.err)).strip()
            if step.result in {"manual", "blocked"} and text and text in told:
                continue  # said of its statements
            where = f" on {step.host}" if step.host else ""
            found.append(Left(f"step {step.id}{where}: {step.result}", text, anchor_of("step", step.id)))
    return found


def _left_verdicts(verdicts: Iterable[Verdict]) -> list[Left]:
    """An entry for all verdicts of one outcome with one text: one step of a person's may be for many statements."""
    found: dict[tuple[Outcome, str], list[Verdict]] = {}
    for verdict in verdicts:
        parts = said(verdict.message)
        text = parts.get("do") or parts.get("why") or parts.get("seen", "")
        found.setdefault((verdict.outcome, text), []).append(verdict)
    return [
        Left(f"{', '.join(map(name_of, each))}: {outcome.value}", text, anchor_of(each[0].id, each[0].host))
        for (outcome, text), each in found.items()
    ]


def _followed(verdict: Verdict, record: Record) -> bool:
    """Whether the statement will be mended with its cause, or by its own remedy in a run that is still to come."""
    if verdict.outcome in {Outcome.MANUAL, Outcome.BLOCKED, Outcome.UNOBSERVABLE}:
        return False
    return record.kind != "run" and bool(verdict.remedy)


def remediable(record: Record) -> list[Verdict]:
    """What a run could mend: failing statements with a remedy, of a check or a plan."""
    return [v for v in unwell(record.verdicts) if v.outcome is Outcome.FAILS and v.remedy and record.kind != "run"]


def next_commands(record: Record) -> list[tuple[str, str]]:
    """What a person types next, each with what it does: after a run that began, or where something could be mended."""
    told = {
        "check": {"plan": "shows what it would do", "remediate": "does it, and asks first"},
        "plan": {"remediate": "carries out this plan, and asks first"},
        "run": {"show": "tells each step and its way back", "rollback": "takes the run back, and asks first"},
    }[record.kind]
    has_begun = any(step.started for step in record.steps)
    if not (has_begun if record.kind == "run" else remediable(record)):
        return []
    return [(record.commands[verb], what) for verb, what in told.items() if verb in record.commands]


def later(record: Record) -> list[Verdict]:
    """What does not hold but may: advice, waived, due."""
    return sorted((v for v in record.verdicts if v.outcome.is_well and v.outcome is not Outcome.HOLDS), key=urgency)


def remark(verdict: Verdict) -> str:
    """The last line of a verdict's message, which says why or until when; its sentence if there is no message."""
    rows = [row for row in verdict.message.splitlines() if row.strip()]
    return rows[-1].strip() if rows else verdict.sentence


def ticked(line: Line, verdicts: Iterable[Verdict]) -> Ticked:
    """What became of a line of the page: it holds when all instances of all its statements do."""
    found = [verdict for verdict in verdicts if verdict.id in line.statements]
    missing = sorted(set(line.statements) - {verdict.id for verdict in found})
    bad, other = unwell(found), [v for v in found if v.outcome.is_well and v.outcome is not Outcome.HOLDS]
    if bad:
        return Ticked(line, "fails", found, "; ".join(f"{name_of(v)} {v.outcome.value}" for v in bad))
    if not found or missing:
        return Ticked(line, "unread", found, f"not read: {', '.join(missing)}" if missing else "no statement proves it")
    if other:
        return Ticked(line, "well", found, "; ".join(f"{name_of(v)} {v.outcome.value}" for v in other))
    return Ticked(line, "holds", found, "")


def led(steps: Iterable[StepRecord]) -> list[tuple[float, str]]:
    """Whom the site led to and from when, as the steps noted it on the host; what does not change is told once."""
    noted = [each for step in steps for each in step.led]
    return [each for n, each in enumerate(noted) if n == 0 or noted[n - 1][1] != each[1]]


def led_text(notes: Sequence[tuple[float, str]]) -> str:
    """The same in one sentence; empty where it led to the same all the while, or nothing was noted."""
    if len(notes) < 2:
        return ""
    parts = [f"to {who} until {clock(over)}" for (_, who), (over, _) in pairwise(notes)]
    return f"The site led {', '.join(parts)} UTC, and to {notes[-1][1]} from then on."


def expected_search_gap(steps: Iterable[StepRecord]) -> float:
    """Seconds that searches were to do without an answer, as the plan had it of the steps that were begun; 0 for none."""
    return max((step.search_gap or 0.0 for step in steps if step.started), default=0.0)


def cost(record: Record) -> str:
    """What the run cost those who asked the site, and which of it no step had announced; empty if nobody asked."""
    if record.probe is None:
        return ""
    found = losses(record.probe, record.steps)
    said = "".join(f" {text}." for text in (told(found), overran(found)) if text)
    return downtime(record.probe, expected_search_gap(record.steps)) + said


def downtime(probe: Probe, expected: float = 0.0) -> str:
    """What the run cost those who asked the site, in one sentence; `expected` seconds without search were in the plan."""
    if not probe.sent:
        return "The site was not asked during the run, so its downtime is not known."
    lost = sum(outage.end - outage.start for outage in probe.outages)
    if not probe.failed:
        text = f"No request was lost: {count(probe.sent, 'request')} answered"
    else:
        text = f"{probe.failed:,} of {count(probe.sent, 'request')} failed, in {duration(lost)} without a good answer"
    text += f"; the longest gap between two good answers was {duration(probe.longest_gap)}"
    if probe.searches_sent:
        text += f"; {probe.searches_failed:,} of {count(probe.searches_sent, 'search', 'searches')} failed"
        if expected or probe.searches_failed:
            text += f", with {duration(probe.search_gap)} between two good ones at most"
            text += f" (about {duration(expected)} were expected, and they are asked for seldomer)" if expected else ""
    if probe.saves_sent:
        text += f"; {probe.saves_failed:,} of {count(probe.saves_sent, 'save')} failed"
    return text + "."
