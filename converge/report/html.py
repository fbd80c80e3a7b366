"""The record through pytest-html: its hooks, and what the written page needs to be safe to open anywhere."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Generator
from html import escape
from pathlib import Path
from typing import Any

import pytest
import pytest_html
from pytest_html.basereport import BaseReport

from converge.checking.record import Record, Survey, Verdict
from converge.report.page import (
    POLICY,
    SECTIONS,
    allowed,
    cell,
    first_screen,
    record_anchor,
    row_details,
    sections,
    stylesheet,
    survey_screen,
    survey_title,
    title,
)
from converge.text.display import clipped, shown

__all__ = ["HtmlReport", "harden"]

_COLUMNS = ("statement", "host", "severity", "outcome")
_TABLE_HEADING = (
    '<div class="pytest-table record"><section><h2>The same as a table, to sort and filter</h2>'
    "<noscript><p>This table needs JavaScript; all that it says is above.</p></noscript></section></div>"
)


class HtmlReport:
    """pytest plugin: puts the record on the first screen of pytest-html's page, and its words into the table.

    `get_record` is asked when a row and when the page is written; what it does not know yet is taken from the test
    report's ``user_properties`` (``statement``, ``severity``, ``outcome``, ``host``). `folder` is the session's own: it is
    taken away with the page if in the end there is no record in it.
    """

    def __init__(self, get_record: Callable[[], Record | Survey], folder: Path | None = None) -> None:
        self._get_record, self._folder = get_record, folder
        self._page: Any = None
        self._told: tuple[Verdict, str] | None = None
        self._path: Path | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_report_title(self, report: Any) -> None:
        """Keep the page's data for later: the title is known only in the end."""
        self._page = report
        # The environment of whoever runs this (CI variables among it) is nobody's business who reads the report.
        report.set_data("environment", {})
        # All that a row unfolds to is above already.
        report.set_data("renderCollapsed", ["all"])

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_summary(self, prefix: list[str]) -> None:
        """The first screen."""
        record = self._get_record()
        if self._page is not None:
            self._page.title = survey_title(record) if isinstance(record, Survey) else title(record)
        prefix += [survey_screen(record) if isinstance(record, Survey) else first_screen(record), _TABLE_HEADING]

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_header(self, cells: list[str]) -> None:
        """Statement, host, severity, outcome; pytest's own word stays, because the page's filters go by it."""
        names = self._columns()
        ours = [f'<th class="sortable" data-column-type="{name}">{name.capitalize()}</th>' for name in names]
        cells[:] = [*ours, '<th class="sortable" data-column-type="result">pytest</th>']

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_row(self, report: pytest.TestReport, cells: list[str]) -> None:
        """A row with as many cells as the header, each escaped, each on one line; pytest-html shows none without cells."""
        if report.passed and report.when in {"setup", "teardown"} and not report.sections:
            # It has none for these in any case, and decides that after all cells were made: twice for each statement.
            cells.clear()
            return
        said = {name: str(value) for name, value in getattr(report, "user_properties", [])}
        verdict = self._verdict(report)
        if verdict:
            statement = f"{verdict.id} {verdict.sentence}"
            words = [statement, verdict.host, verdict.severity, verdict.outcome.value]
        else:
            words = [said.get("statement") or report.nodeid, *(said.get(name, "") for name in _COLUMNS[1:])]
        names = self._columns()
        words = words if names == _COLUMNS else [said.get("target", ""), *words]
        ours = [f'<td class="col-{name}">{cell(word)}</td>' for name, word in zip(names, words, strict=True)]
        # The word as pytest-html decided it, from the cell that it made.
        result = re.fullmatch(r'<td class="col-result">(\w+)</td>', cells[0]) if cells else None
        cells[:] = [*ours, f'<td class="col-result">{result[1] if result else "Error"}</td>']

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_html(self, report: pytest.TestReport, data: list[str]) -> None:
        """The message below the row, instead of a traceback; its evidence is in the record above, and not twice."""
        verdict = self._verdict(report)
        if verdict:
            data[:] = [self._details(verdict, report)]
            return
        kept, note = clipped(shown(getattr(report, "longreprtext", "")))
        data[:] = [f"<pre>{escape(kept)}</pre><p>{escape(note)}</p>".replace("\n", "&#10;")]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Find out where the page will be written, before anything changes the working directory."""
        named = session.config.getoption("htmlpath", default=None)
        if named and session.config.getoption("self_contained_html", default=False):
            self._path = Path.cwd() / Path(os.path.expandvars(named)).expanduser()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """After pytest-html has written the page: give it our style and the policy that lets nothing else in."""
        yield
        if self._folder and not (self._folder / "run.json").exists():
            self._take_away(session.config.pluginmanager, self._folder)
        if self._path and self._path.exists():
            record = self._get_record()
            top, _, rest = harden(self._path.read_text(encoding="utf-8")).partition(SECTIONS)
            with self._path.open("w", encoding="utf-8") as page:
                page.write(top)
                if isinstance(record, Survey):
                    page.writelines(sections(record))
                page.write(rest)

    def _take_away(self, plugins: pytest.PytestPluginManager, folder: Path) -> None:
        """Leave no page that says nothing, and let pytest-html name none; what else is in the folder stays, with it."""
        if self._path and self._path.parent == folder:
            self._path.unlink(missing_ok=True)
            for plugin in [each for each in plugins.get_plugins() if isinstance(each, BaseReport)]:
                plugins.unregister(plugin)
        with contextlib.suppress(OSError):
            folder.rmdir()

    def _details(self, verdict: Verdict, report: pytest.TestReport) -> str:
        # pytest-html asks for each phase of a test, and keeps the last answer.
        if self._told is None or self._told[0] is not verdict:
            several = isinstance(self._get_record(), Survey)
            prefix = record_anchor(str(dict(report.user_properties)["target"])) if several else ""
            self._told = verdict, row_details(verdict, prefix)
        return self._told[1]

    def _columns(self) -> tuple[str, ...]:
        return ("target", *_COLUMNS) if isinstance(self._get_record(), Survey) else _COLUMNS

    def _verdict(self, report: pytest.TestReport) -> Verdict | None:
        record = self._get_record()
        if isinstance(record, Survey):
            target = dict(getattr(report, "user_properties", [])).get("target")  # a file that was not collected has none
            mine = next((each for each in record.targets if each.target == target), None)
            return next((v for v in reversed(mine.verdicts) if v.nodeid == report.nodeid), None) if mine else None
        # A rerun is an attempt before the run acted.
        places = [record.before, record.verdicts] if report.outcome == "rerun" else [record.verdicts, record.before]  # type: ignore[comparison-overlap]
        # From the end: it is nearly always the last one, and asked for twice for each of hundreds.
        return next((v for place in places for v in reversed(place) if v.nodeid == report.nodeid), None)


def harden(document: str) -> str:
    """pytest-html's page with our style, a view port, and a policy under which only its own script and styles count.

    The script is allowed by its hash, and only if it is the one that pytest-html ships: so nothing that came from a
    host could run, even if an escape were missing somewhere.
    """
    policy = f"{POLICY}; style-src {_allowed_styles(document)}; script-src {_allowed_script(document)}"
    head = (
        f'<meta charset="utf-8"/>\n    <meta http-equiv="Content-Security-Policy" content="{policy}"/>'
        '\n    <meta name="viewport" content="width=device-width, initial-scale=1"/>'
    )
    document = document.replace('<meta charset="utf-8"/>', head, 1).replace("<html>", '<html lang="en">', 1)
    return document.replace("</head>", f"<style>{stylesheet()}</style>\n  </head>", 1)


def _allowed_styles(document: str) -> str:
    """Hashes of the style in the head, which no host's text reaches, and of ours."""
    head = document.partition("</head>")[0]
    found = [*re.findall(r"<style[^>]*>(.*?)</style>", head, re.DOTALL), stylesheet()]
    return " ".join(allowed(each) for each in found)


def _allowed_script(document: str) -> str:
    """The hash of the page's last script if it is pytest-html's own, else none at all."""
    shipped = (Path(pytest_html.__file__).parent / "resources" / "app.js").read_text(encoding="utf-8")
    script = document.rpartition("<script>")[2].partition("</script>")[0]
    return allowed(script) if script.strip() == shipped.strip() else "'none'"
