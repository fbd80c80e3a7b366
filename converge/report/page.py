"""The record as a page: readable without a script, from any folder, and without asking anything of anybody.

Everything goes through templates that escape by themselves, and each value through ``shown`` before: whatever came from a
host is data, by construction and not by care.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket
from markupsafe import Markup

from converge.checking.record import Record, Survey, Verdict
from converge.readings import Evidence
from converge.report import fleet, summary
from converge.report.timeline import chart
from converge.text import display

_TEMPLATES = Path(__file__).parent / "templates"

POLICY = "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'"
"""Content security policy of every page; allowances for the page's own style and script are added by their hashes."""


SECTIONS = "<!-- here are the targets' sections -->"
"""Where the sections of a survey come into the page, one after the other as they are made."""


FOLD = 6
"""Remedies that are listed as they are: more of them would push what is left for a person off the first screen."""


def _fit(value: Any) -> Any:
    if value is None:
        return ""
    return display.shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


class _Compiled(FileSystemBytecodeCache):
    """Compiled templates beside the templates, as Python keeps its own; done without where that cannot be written."""

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep one."""
        with contextlib.suppress(OSError):
            Path(self.directory).mkdir(exist_ok=True)
            super().dump_bytecode(bucket)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_fit,
        undefined=StrictUndefined,
        auto_reload=False,
        bytecode_cache=_Compiled(str(_TEMPLATES / "__pycache__")),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        when=display.when, clock=display.clock, duration=display.duration, clipped=display.clipped, one_line=display.one_line
    )
    made.globals.update(
        count=display.count,
        said=summary.said,
        name_of=summary.name_of,
        anchor_of=summary.anchor_of,
        remark=summary.remark,
        number_of=summary.number_of,
    )
    return made


@cache
def stylesheet() -> str:
    """The pages' style."""
    return (_TEMPLATES / "report.css").read_text(encoding="utf-8")


def survey_screen(record: Survey) -> str:
    """Several targets as HTML for the body of a page: each with its verdict, and ``SECTIONS`` below them."""
    heads = [(record_anchor(each.target), each, summary.headline(each)) for each in record.targets]
    context = {"survey": record, "head": fleet.survey_headline(record), "heads": heads, "place": Markup(SECTIONS)}
    return _environment().get_template("survey.html.jinja").render(context)


def sections(record: Survey) -> Iterator[str]:
    """Every target's whole record as HTML, folded where it is well."""
    for each in record.targets:
        head, prefix = summary.headline(each), record_anchor(each.target)
        yield f'<details class="target record {head.tone}" id="{prefix}"{"" if head.tone == "good" else " open"}>'
        yield f"<summary><b>{cell(each.target)}</b> {cell(head.text)}</summary>{first_screen(each, prefix)}</details>\n"


def record_anchor(target: str) -> str:
    """The fragment of a target's section in a survey, which begins the ids of all that is in it."""
    return "t-" + re.sub(r"[^A-Za-z0-9]", lambda m: f"_{ord(m[0]):x}", target) + "-"


def first_screen(record: Record, prefix: str = "") -> str:
    """The whole record as HTML for the body of a page, the verdict first; needs ``stylesheet()``, but no script.

    `prefix` begins every id in it, where a page has several records.
    """
    seen = Counter(verdict.id for verdict in record.verdicts)
    context: dict[str, Any] = {
        "prefix": prefix,
        "shown_once": _once(),
        "anchor_of": lambda *named: prefix + summary.anchor_of(*named),
        "several": {id for id, number in seen.items() if number > 1},
        "record": record,
        "head": summary.headline(record),
        "counts": summary.counts(record.verdicts),
        "wrong": summary.groups(summary.was_wrong(record)),
        "mended": summary.mended(record),
        "done": summary.done(record),
        "results": summary.results(record),
        "fold": FOLD,
        "left": summary.left(record),
        "remediable": summary.remediable(record),
        "next": summary.next_commands(record),
        "later": summary.later(record),
        "checklist": [summary.ticked(line, record.verdicts) for line in record.checklist],
        "chart": chart(record),
        "downtime": summary.cost(record),
        "led": summary.led_text(summary.led(record.steps)),
        "verdicts": sorted(record.verdicts, key=summary.urgency),
        "causes": {verdict.id: verdict for verdict in reversed(summary.unwell(record.verdicts))},
        "now": {(verdict.id, verdict.host): verdict for verdict in record.verdicts},
    }
    return _environment().get_template("screen.html.jinja").render(context)


def _once() -> Callable[[Evidence], Markup]:
    """Evidence as HTML, made once for all the statements that rest on it."""
    made: dict[int, Markup] = {}
    macro = _environment().get_template("parts.html.jinja").module.evidence  # type: ignore[attr-defined]

    def shown(each: Evidence) -> Markup:
        if id(each) not in made:
            made[id(each)] = macro(each)
        return made[id(each)]

    return shown


def row_details(verdict: Verdict, prefix: str = "") -> str:
    """Message of one verdict, and where the rest is, for a row of a table: HTML on a single line."""
    made = _environment().get_template("row.html.jinja").render(verdict=verdict, prefix=prefix)
    return made.strip().replace("\n", "&#10;")


def cell(value: str) -> str:
    """A value as HTML on a single line."""
    return str(Markup.escape(display.one_line(value, 400)))


def page(record: Record) -> str:
    """A complete HTML document of the record, without pytest's table and without any script."""
    return _environment().get_template("page.html.jinja").render(
        title=title(record),
        policy=Markup(f"{POLICY}; style-src {allowed(stylesheet())}"),
        style=Markup(stylesheet()),
        body=Markup(first_screen(record)),
    )


def allowed(content: str) -> str:
    """The word of a content security policy that allows this very script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def title(record: Record) -> str:
    """The page's title."""
    return display.one_line(f"{record.target}: {summary.headline(record).text} ({record.id})")


def survey_title(record: Survey) -> str:
    """The page's title for several targets."""
    return display.one_line(f"{fleet.survey_headline(record).text} ({record.id})")
