"""Several targets in one report: the verdict on each in a line, and all of them in one sentence."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath

from converge.checking.record import Record, Survey
from converge.report.markdown import MARK, code, prose, wrong
from converge.report.summary import Headline, Tone, headline, name_of, remediable, unwell
from converge.report.terminal import miss_lines
from converge.text.display import count, duration, one_line, shown, when

_WORD: dict[Tone, str] = {"good": "well", "bad": "wrong", "unsure": "not known"}


def survey_headline(survey: Survey) -> Headline:
    """The verdict on all targets in one line, and what it took to get it."""
    tones = Counter(headline(record).tone for record in survey.targets)
    total = count(len(survey.targets), "target")
    if set(tones) == {"good"}:
        return Headline("good", f"All well: {total} as they should be", tally(survey))
    parts = [(tones["bad"], "not as they should be"), (tones["unsure"], "not known"), (tones["good"], "well")]
    text = ", ".join(f"{number} {word}" for number, word in parts if number)
    return Headline("bad" if tones["bad"] else "unsure", f"{total}: {text}", tally(survey))


def tally(survey: Survey) -> str:
    """``50 connections, 50 execs, 2,950 readings, 0 misses, 6.10 s``."""
    connections, execs = (sum(getattr(r, name) for r in survey.targets) for name in ("connections", "execs"))
    readings, misses = sum(r.readings for r in survey.targets), sum(len(r.misses) for r in survey.targets)
    parts = [count(connections, "connection"), count(execs, "exec"), count(readings, "reading")]
    return ", ".join([*parts, count(misses, "miss", "misses"), duration(survey.seconds)])


def survey_lines(survey: Survey, report: PurePath | str, width: int = 120) -> list[str]:
    """The end of the terminal's output: each target's verdict in a line, all of them in one, last the report."""
    wide = max((len(record.target) for record in survey.targets), default=0)
    found = [line for record in survey.targets for line in _target_lines(record, wide, width)]
    found += [f"note: {one_line(note, width)}" for note in survey.notes]
    for record in survey.targets:
        found += [f"{record.target}: {one_line(line, width * 3)}" for line in miss_lines(record.misses)]
    mendable = [record.commands["plan"] for record in survey.targets if remediable(record) and "plan" in record.commands]
    if mendable:
        found.append(f"with remedies, one target at a time: {mendable[0]}")
    found += ["", survey_headline(survey).text, tally(survey), f"report: {report}"]
    return [shown(line).replace("\n", " ") for line in found]


def _target_lines(record: Record, wide: int, width: int) -> list[str]:
    head = headline(record)
    what = head.text if head.tone == "unsure" or not record.verdicts else head.figures
    bad = list(dict.fromkeys(name_of(verdict) for verdict in unwell(record.verdicts)))
    names = f": {', '.join(bad)}" if bad else ""
    return [f"{record.target:<{wide}}  {_WORD[head.tone]:<9}  {one_line(what + names, width * 2)}"]


def survey_markdown(survey: Survey) -> str:
    """Several targets for the issue: the verdict on each in a line, then what is wrong where something is."""
    head = survey_headline(survey)
    facts = [when(survey.started), f"version {prose(survey.version)}", f"id {code(survey.id)}"]
    parts = [f"## {MARK[head.tone]} {prose(head.text)}", "", " · ".join(facts), "", f"{prose(head.figures)}.", ""]
    for record in survey.targets:
        each = headline(record)
        parts.append(f"- {MARK[each.tone]} **{prose(record.target)}**: {prose(each.text)} ({prose(each.figures)})")
    parts += ["", *(f"- {prose(note)}" for note in survey.notes)]
    for record in survey.targets:
        if found := wrong(record):
            parts += ["", f"## {prose(record.target)}", "", *found]
    return "\n".join(parts).rstrip() + "\n"
