"""The hooks of a session on statements: collection, the run, judging, and the end.

Everything that talks to hosts happens between collection and pytest's own loop, which judges each item on the answers.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from converge.checking.application import Application
from converge.checking.judge import instances_of
from converge.checking.record import Record, Survey, Verdict
from converge.checking.selection import ids_in
from converge.checking.session import Chosen, Session
from converge.checking.statement import REGISTRY, Outcome, Statement
from converge.errors import ConvergeError, Exit
from converge.pytest_plugin.finish import conclude, conclude_survey
from converge.pytest_plugin.items import Place, instance_host, place_of, statement_of
from converge.pytest_plugin.options import refuse_strange_waivers, wanted_ids
from converge.pytest_plugin.targets import (
    Gathering,
    Surveying,
    Unreached,
    is_cut_short,
    is_spread,
    is_worker,
    quiet,
    send_along,
    survey_of,
)
from converge.report.fleet import survey_lines
from converge.report.terminal import closing_lines
from converge.runs.convergence import remediate
from converge.text.masking import mask
from hosts.command_line import command_line, target_of


class Engine:
    """The hooks of a session on statements."""

    def __init__(self, config: pytest.Config, app: Application, sessions: dict[str, Session]) -> None:
        self.config, self.app, self.sessions = config, app, sessions
        self.session = next(iter(sessions.values()))
        self.ended: tuple[Exit, str] | None = None
        self.survey = survey_of(app, list(sessions.values())) if len(sessions) > 1 else None
        self.surveying: Surveying | Gathering | None = None
        if self.survey:
            quiet(config)
        if is_spread(config):
            self.surveying = Gathering(sessions)
        elif self.survey or is_worker(config):
            self.surveying = Surveying(config, sessions, self.say)

    @property
    def result(self) -> Record | Survey:
        """The record of everything so far."""
        return self.survey or self.session.record

    def session_at(self, place: Place) -> Session:
        """The session of a target."""
        return self.sessions[place.target] if place.target else self.session

    # Collection: from the inventory alone.

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One instance for each host that a statement is about."""
        statement: Statement | None = getattr(metafunc.function, "__statement__", None)
        if statement is None:
            return
        places = self.places(statement)
        if places != [Place("", None)]:
            metafunc.fixturenames.append("instance")
            metafunc.parametrize("instance", places, ids=[str(p) for p in places])

    def places(self, statement: Statement) -> list[Place]:
        """Where a statement has instances; the only target is not named."""
        return [
            Place(name if self.survey else "", host)
            for name, session in self.sessions.items()
            for host in instances_of(statement.on, session.inv)
        ]

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Id and severity as marks (for -m) and as properties (for JUnit)."""
        statement = statement_of(item)
        if statement is None:
            return
        item.add_marker(pytest.mark.statement(id=statement.id))
        item.add_marker(statement.severity.value)
        item.user_properties += [
            ("statement", statement.id),
            ("severity", statement.severity.value),
            ("target", self.session_at(place_of(item)).inv.name),
            ("host", instance_host(item) or ""),
        ]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what the target has no host for, and select by --id."""

        def has_a_place(statement: Statement) -> bool:
            return any(instances_of(statement.on, session.inv) for session in self.sessions.values())

        items[:] = [i for i in items if (s := statement_of(i)) is None or has_a_place(s)]
        for session in self.sessions.values():
            refuse_strange_waivers(session)
        try:
            wanted = wanted_ids(self.config, self.app.statements)
        except pytest.UsageError:
            items.clear()  # what is not asked for is not listed below the error
            raise
        if wanted:
            out = [i for i in items if (s := statement_of(i)) is None or s.id not in wanted]
            items[:] = [i for i in items if (s := statement_of(i)) is not None and s.id in wanted]
            self.config.hook.pytest_deselected(items=out)

    def pytest_report_header(self) -> str:
        """Name the target."""
        if self.survey:
            return f"targets: {len(self.sessions)}: {', '.join(self.sessions)}"
        inv = self.session.inv
        hosts = ", ".join(f"{h.name} ({h.role}{', retired' if h.retired else ''})" for h in inv.hosts.values())
        return f"target: {inv.name} ({inv.file}): {hosts}"

    def pytest_report_collectionfinish(self, items: Sequence[pytest.Item]) -> list[str]:
        """With --collect-only, the checklist in words; and a hint where ids were given to -k, which does not know them."""
        hint = [f"-k looks at names of tests, which have no ids: {line}" for line in self.by_id()]
        if not self.config.option.collectonly:
            return hint
        found = {s.id: f"{s.id:9} {s.severity.value:8} {s.sentence}" for item in items if (s := statement_of(item))}
        lines = [line for line in self.app.checklist() if found.keys() & set(line.statements)]
        if not lines:
            return [*hint, *found.values()]
        told = [
            text
            for line in lines
            for text in ("", f"{line.ref} {line.text}", *(f"    {found[id]}" for id in line.statements if id in found))
        ]
        return [*hint, *told]

    def by_id(self) -> list[str]:
        """The command that selects the statements whose ids stand in -k; empty if there are none."""
        meant = ids_in(self.config.option.keyword or "", REGISTRY)
        return [command_line("check", *meant, target=target_of(self.session.inv))] if meant else []

    # The run: everything that talks to hosts happens here, before pytest's own loop judges each item.

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Connect, read, remediate if asked; then pytest's loop judges on the last reading. True: nothing to judge."""
        if self.config.option.collectonly or is_cut_short(session) or self.surveying:
            return None
        chosen = self.chosen(session.items)
        try:
            self.session.open(chosen)
            self.session.read_until_stable(chosen, self.say)
            self.say(f"situation: {self.session.situation.name}")
            for line in self.session.situation.detail:
                self.say(f"  {line}")
            if self.config.option.remediate or self.config.option.plan:
                self.config.option.attended = self.attended
                self.ended = remediate(self.session, chosen, self.config.option, self.say)
        except ConvergeError as problem:
            self.ended = (problem.exit_code, mask(str(problem)))
            self.say(f"\n{self.ended[1]}")
            session.shouldstop = False
            return True
        return None

    def chosen(self, items: Sequence[pytest.Item]) -> Chosen:
        """The instances that pytest selected."""
        return [(s, instance_host(item)) for item in items if (s := statement_of(item))]

    @property
    def attended(self) -> bool:
        """Whether a person looks at what is said."""
        return bool(getattr(self.config.pluginmanager.get_plugin("terminalreporter"), "isatty", False))

    def say(self, text: str) -> None:
        """A line on the terminal, plain: what comes from a host is never markup."""
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(text)
            reporter.flush()

    # Judging and reporting.

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Read anew what a statement asks for, if a plugin runs it again."""
        statement, mine = statement_of(item), self.session_at(place_of(item))
        if statement is not None and mine.record.verdict_of(item.nodeid):
            mine.store.ask_again((reading, instance_host(item)) for reading in mine.judge.wanted(statement))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Turn what a statement raised into its outcome."""
        statement, raised = statement_of(item), call.excinfo
        problem = raised.value if raised else None
        if statement is not None and isinstance(problem, Exception):
            # Our message takes the traceback's place: rendering that first would cost more than the whole check.
            call.excinfo = None
        try:
            report = yield
        finally:
            call.excinfo = raised
        if statement is None or (call.when != "call" and problem is None):
            return report
        if problem is not None and not isinstance(problem, Exception):
            return report  # an interrupt, or pytest's own skip: not a verdict
        mine = self.session_at(place_of(item))
        if isinstance(problem, Unreached):
            report.outcome, report.longrepr = "failed", str(problem)
            send_along(self.config, report, mine, None)
            return report
        verdict = mine.judge.verdict(statement, instance_host(item), problem, item.nodeid)
        mine.record.take_verdict(verdict)
        # JUnit takes them from the report of the teardown.
        item.user_properties = [each for each in item.user_properties if each[0] != "outcome"]
        item.user_properties.append(("outcome", verdict.outcome.value))
        report.user_properties = list(item.user_properties)
        shape(report, verdict, problem)
        send_along(self.config, report, mine, verdict)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Leave out places without a line: pytest fails to show them (Python 3.11 on), and ends with 1 instead of 2."""
        excinfo.traceback = excinfo.traceback.filter(has_line)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Complete the record, decide the exit code, write what is not pytest's own."""
        if self.config.option.collectonly:
            return
        if is_worker(self.config):
            for each in self.sessions.values():
                each.close()
        elif self.survey and self.surveying:
            session.exitstatus = conclude_survey(self.survey, self.sessions, self.surveying.asked, exitstatus)
        else:
            session.exitstatus = conclude(self.session, self.ended or self.session.ended, exitstatus)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Counts by our outcomes, what fails and why, and last the one file to attach."""
        if self.config.option.collectonly:
            return
        report = Path(self.config.option.htmlpath)
        shown = str(report.relative_to(Path.cwd()) if report.is_relative_to(Path.cwd()) else report)
        if self.survey:
            self.closing = survey_lines(self.survey, shown) if self.surveying and self.surveying.asked else []
        else:
            self.closing = closing_lines(self.session.record, shown) if self.session.record.verdicts else []
        for line in self.closing[:-1]:
            terminalreporter.write_line(line)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """The very last line names the file to attach."""
        closing = getattr(self, "closing", None)
        if closing:
            self.say(closing[-1])


def has_line(entry: Any) -> bool:
    """Whether the place in a traceback belongs to a line of its file: some instructions of Python's own do not."""
    try:
        return int(entry.lineno) >= 0
    except TypeError:
        return False


def shape(report: pytest.TestReport, verdict: Verdict, problem: BaseException | None) -> None:
    """Give pytest's report the word of our outcome, and our message instead of a traceback."""
    if problem is None:
        return
    title = f"{verdict.id} {verdict.sentence}"
    report.longrepr = f"{title}\n{verdict.message}"
    if verdict.outcome in {Outcome.ADVICE, Outcome.WAIVED, Outcome.DUE}:
        report.outcome = "skipped"
        report.wasxfail = f"reason: {verdict.outcome.value}: {verdict.id}"
    else:
        report.outcome = "failed"
        if verdict.outcome is Outcome.UNOBSERVABLE:
            report.when = "setup"  # pytest's word for what could not be judged is error
