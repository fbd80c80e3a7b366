"""pytest glue: options, selection, marks, fixtures, reports and exit codes of a session with a target.

The engine is at work only when tests of the statements' folder are asked for; other tests of the project are pytest's own.
"""

from __future__ import annotations

import difflib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from converge.application import Application
from converge.errors import ConvergeError, Exit
from converge.fixtures import instance_host
from converge.judging import instances_of
from converge.record import Verdict
from converge.refusals import ids, refuse_foreign, refuse_strange_waivers, refuse_unused
from converge.session import Chosen, Session
from converge.statements import REGISTRY, Outcome, Statement

ENGINE = pytest.StashKey["Engine"]()


class Hooks:
    """Hooks that the engine adds."""

    @pytest.hookspec(firstresult=True)
    def pytest_converge_application(self) -> Application:
        """The application that the engine looks after."""
        raise NotImplementedError


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add our hooks."""
    pluginmanager.add_hookspecs(Hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("converge", "health check and remediation of a target")
    group.addoption("--target", default="lab", metavar="NAME|FILE", help="inventory to check (default: lab)")
    group.addoption("--id", default=None, metavar="ID,ID", help="only these statements, by exact id")
    group.addoption("--remediate", action="store_true", help="mend what fails, then prove it (asks first)")
    group.addoption("--plan", action="store_true", help="show what --remediate would do, and do nothing")
    group.addoption("--yes", action="store_true", help="with --remediate: do not ask")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start the engine if statements are asked for, and refuse what makes no sense."""
    for line in (
        "statement(id): the statement that a test states",
        "blocker: the site is down or wrong without it",
        "major: a defect that will bite",
        "minor: advice unless --strict",
    ):
        config.addinivalue_line("markers", line)
    app: Application = config.hook.pytest_converge_application()
    option = config.option
    if not asks_for(config, app.statements):
        refuse_unused(config, app.statements)
        return
    refuse_foreign(config)
    try:
        inv = app.load(option.target, offline=bool(option.collectonly))
    except ConvergeError as problem:
        raise pytest.UsageError(str(problem)) from None
    session = Session(app, inv, config.rootpath / "reports", strict=is_strict(config))
    engine = Engine(config, session)
    config.stash[ENGINE] = engine
    config.pluginmanager.register(engine, "converge-engine")
    if not option.collectonly:
        from converge.report.html import HtmlReport

        make_folder(session.folder)
        config.pluginmanager.register(HtmlReport(lambda: session.record), "converge-html")
        if not option.htmlpath:
            option.htmlpath = str(session.folder / "report.html")
        option.self_contained_html = True


def make_folder(folder: Path) -> None:
    """Make the folder of this session's report, before anything is connected to or done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise pytest.UsageError(f"{folder}: reports cannot be written there ({problem.strerror})") from None


def is_strict(config: pytest.Config) -> bool:
    """Whether pytest's own --strict is on, which for statements means that advice is a failure too."""
    return bool(config.getini("strict"))


def asks_for(config: pytest.Config, folder: str) -> bool:
    """Whether an argument of the session is in the statements' folder."""
    home = (config.rootpath / folder).resolve()
    for arg in config.args:
        path = (config.invocation_params.dir / arg.split("::")[0]).resolve()
        if path == home or home in path.parents:
            return True
        if path in home.parents:
            raise pytest.UsageError(f"{arg}: statements and other tests are run apart: name {folder}/ or the tests you want")
    return False


def session_of(config: pytest.Config) -> Session:
    """The session of a pytest run on statements."""
    return config.stash[ENGINE].session


def statement_of(item: pytest.Item) -> Statement | None:
    """The statement that a test states."""
    return cast("Statement | None", getattr(getattr(item, "function", None), "__statement__", None))


class Engine:
    """The hooks of a session on statements."""

    def __init__(self, config: pytest.Config, session: Session) -> None:
        self.config, self.session = config, session
        self.ended: tuple[Exit, str] | None = None

    # Collection: from the inventory alone.

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One instance for each host that a statement is about."""
        statement: Statement | None = getattr(metafunc.function, "__statement__", None)
        if statement is None:
            return
        places = instances_of(statement.on, self.session.inv)
        if places != [None]:
            metafunc.fixturenames.append("instance")
            metafunc.parametrize("instance", places, ids=[str(p) for p in places])

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
            ("host", instance_host(item) or ""),
        ]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what the target has no host for, and select by --id, exactly."""
        items[:] = [i for i in items if (s := statement_of(i)) is None or instances_of(s.on, self.session.inv)]
        refuse_strange_waivers(self.session)
        wanted = ids(self.config)
        for id in wanted:
            if id not in REGISTRY:
                near = difflib.get_close_matches(id.upper(), REGISTRY, n=3)
                items.clear()  # what is not asked for is not listed below the error
                hint = f": did you mean {', '.join(near)}?" if near else ""
                raise pytest.UsageError(f"--id {id}: no statement has this id{hint} (see {self.session.app.statements}/)")
        if wanted:
            out = [i for i in items if (s := statement_of(i)) is None or s.id not in wanted]
            items[:] = [i for i in items if i not in out]
            self.config.hook.pytest_deselected(items=out)

    def pytest_report_header(self) -> str:
        """Name the target."""
        inv = self.session.inv
        hosts = ", ".join(f"{h.name} ({h.role}{', retired' if h.retired else ''})" for h in inv.hosts.values())
        return f"target: {inv.name} ({inv.file}): {hosts}"

    def pytest_report_collectionfinish(self, items: Sequence[pytest.Item]) -> list[str]:
        """With --collect-only, the checklist in words."""
        if not self.config.option.collectonly:
            return []
        found = {s.id: f"{s.id:9} {s.severity.value:8} {s.sentence}" for item in items if (s := statement_of(item))}
        lines = [line for line in self.session.app.checklist() if found.keys() & set(line.statements)]
        if not lines:
            return list(found.values())
        return [
            text
            for line in lines
            for text in ("", f"{line.ref} {line.text}", *(f"    {found[id]}" for id in line.statements if id in found))
        ]

    # The run: everything that talks to hosts happens here, before pytest's own loop judges each item.

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Connect, read, remediate if asked; then pytest's loop judges on the last reading. True: nothing to judge."""
        if self.config.option.collectonly or session.testsfailed:
            return None
        chosen = self.chosen(session.items)
        try:
            self.session.open()
            self.session.read_until_stable(chosen, self.say)
            self.say(f"situation: {self.session.situation.name}")
            for line in self.session.situation.detail:
                self.say(f"  {line}")
            if self.config.option.remediate or self.config.option.plan:
                from converge.remediation import remediate

                self.ended = remediate(self.session, chosen, self.config.option, self.say)
        except ConvergeError as problem:
            self.ended = (problem.exit_code, str(problem))
            self.say(f"\n{problem}")
            session.shouldstop = False
            return True
        return None

    def chosen(self, items: Sequence[pytest.Item]) -> Chosen:
        """The instances that pytest selected."""
        return [(s, instance_host(item)) for item in items if (s := statement_of(item))]

    def say(self, text: str) -> None:
        """A line on the terminal, plain: what comes from a host is never markup."""
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(text)

    # Judging and reporting.

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Turn what a statement raised into its outcome."""
        report = yield
        statement = statement_of(item)
        problem = call.excinfo.value if call.excinfo else None
        if statement is None or (call.when != "call" and problem is None):
            return report
        if problem is not None and not isinstance(problem, Exception):
            return report  # an interrupt, or pytest's own skip: not a verdict
        verdict = self.session.judge.verdict(statement, instance_host(item), problem, item.nodeid)
        self.session.record.verdicts.append(verdict)
        said = ("outcome", verdict.outcome.value)
        report.user_properties.append(said)
        item.user_properties.append(said)  # JUnit takes them from the report of the teardown
        shape(report, verdict, problem)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Complete the record, decide the exit code, write what is not pytest's own."""
        if self.config.option.collectonly:
            return
        from converge.judging import likely_causes
        from converge.masking import masked
        from converge.report import write_reports

        self.session.close()
        verdicts = self.session.record.verdicts
        likely_causes(verdicts)
        self.session.record.checklist = self.session.app.checklist()
        if self.ended and exitstatus in (Exit.HOLDS, Exit.FAILS, Exit.NOTHING_RAN):
            session.exitstatus = int(self.ended[0])
        reason = self.ended[1] if self.ended else ""
        self.session.finish(int(session.exitstatus), reason)
        self.session.record = masked(self.session.record)
        if verdicts or self.session.record.steps:
            write_reports(self.session.record, self.session.folder)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Counts by our outcomes, what fails and why, and last the one file to attach."""
        if self.config.option.collectonly:
            return
        from converge.report.terminal import closing_lines

        record = self.session.record
        if record.verdicts:
            report = Path(self.config.option.htmlpath)
            shown = report.relative_to(Path.cwd()) if report.is_relative_to(Path.cwd()) else report
            self.closing = closing_lines(record, str(shown))
            for line in self.closing[:-1]:
                terminalreporter.write_line(line)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """The very last line names the file to attach."""
        closing = getattr(self, "closing", None)
        if closing:
            self.say(closing[-1])


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


@pytest.fixture
def inv(request: pytest.FixtureRequest) -> Any:
    """The target's inventory."""
    return session_of(request.config).inv


@pytest.fixture
def at(request: pytest.FixtureRequest) -> str:
    """The name of the instance's host; the app host's for a statement about the whole target."""
    return instance_host(request.node) or session_of(request.config).inv.app_host.name
