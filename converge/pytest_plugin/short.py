"""A short way through pytest's protocol, for statements whose arguments are answers that are there already.

pytest sets up, calls and tears down each test. Nothing is set up for an answer, so that of three phases two do nothing, and
take half of the time. Such a statement is called once, with what the judge would give it (as in a proof, a reading's name
means the reading), inside the hooks of pytest's call. Its report of the teardown is an empty one, which JUnit and the page
wait for. Whatever else is asked for, a statement or a flag, goes pytest's own way.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import pytest

from converge.checking.session import Session
from converge.checking.statement import Statement

WATCHED = ("usepdb", "trace", "setupshow", "durations", "log_level", "log_cli_level", "log_file", "log_file_level", "reruns")
"""Options of pytest that are about its phases."""
ANSWERS = frozenset({"inv", "at", "instance", "request"})
"""What a test may ask for beside readings; the last two are what readings' fixtures are made from."""
FORMAT = "%(levelname)-8s %(name)s:%(filename)s:%(lineno)d %(message)s"


class Call(NamedTuple):
    """One statement on one host, as it is judged."""

    session: Session
    statement: Statement
    at: str | None


class Short:
    """The hook; `call_of` says what a test states, None if it is no statement, or if nothing of it may be judged."""

    def __init__(self, config: pytest.Config, call_of: Callable[[pytest.Item], Call | None]) -> None:
        self.config, self.call_of = config, call_of
        self.has_left_something = False
        self._log = Log()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Call the statement and report it; None if it goes pytest's own way."""
        call = self.call_of(item) if self._is_wanted else None
        if call is None or not isinstance(item, pytest.Function) or not is_plain(item, call):
            self.has_left_something = True
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self._report(item, call)
        item.ihook.pytest_runtest_logreport(report=self._end(item, nextitem))
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _report(self, item: pytest.Function, call: Call) -> None:
        def judged() -> None:
            item.funcargs = call.session.judge.values(call.statement, call.at)
            self._call(item=item)

        with self._logged(item):
            info = pytest.CallInfo.from_call(judged, "call", reraise=(pytest.exit.Exception, KeyboardInterrupt))
        item.funcargs = {}
        os.environ.pop("PYTEST_CURRENT_TEST", None)
        report = item.ihook.pytest_runtest_makereport(item=item, call=info)
        item.ihook.pytest_runtest_logreport(report=report)
        if info.excinfo and isinstance(info.excinfo.value, Exception) and not hasattr(report, "wasxfail"):
            item.ihook.pytest_exception_interact(node=item, call=info, report=report)

    def _end(self, item: pytest.Function, nextitem: pytest.Item | None) -> pytest.TestReport:
        # A test that went the long way may have left modules and packages set up, which the next one must not meet.
        left, session = self.has_left_something, item.session
        nextitem = None if session.shouldfail or session.shouldstop else nextitem
        info = pytest.CallInfo.from_call(lambda: self._teardown(item=item, nextitem=nextitem) if left else None, "teardown")
        return pytest.TestReport.from_item_and_call(item, info)

    @cached_property
    def _is_wanted(self) -> bool:
        """Whether nobody looks at pytest's phases: no flag, and no plugin or conftest."""
        option = self.config.option
        if option.capture == "no" or any(getattr(option, name, None) for name in WATCHED) or self.config.getini("log_cli"):
            return False
        hooks: Sequence[Any] = (self.config.hook.pytest_runtest_setup, self.config.hook.pytest_runtest_teardown)
        looks = [impl for hook in hooks for impl in hook.get_hookimpls()]
        # Wrappers of the whole protocol are about each test; who replaces it (to run a test again) is not to be replaced.
        replaces: Any = self.config.hook.pytest_runtest_protocol
        looks += [impl for impl in replaces.get_hookimpls() if not (impl.wrapper or impl.hookwrapper)]
        return all(str(getattr(impl.function, "__module__", "")).startswith(("_pytest.", "converge.")) for impl in looks)

    @cached_property
    def _call(self) -> Any:
        return self._without_logging("pytest_runtest_call")

    @cached_property
    def _teardown(self) -> Any:
        return self._without_logging("pytest_runtest_teardown")

    def _without_logging(self, hook: str) -> Any:
        # pytest's capture of logging counts on all three phases of its own.
        plugins = self.config.pluginmanager
        logs = plugins.get_plugin("logging-plugin")
        return plugins.subset_hook_caller(hook, [logs] if logs else [])

    @contextmanager
    def _logged(self, item: pytest.Function) -> Iterator[None]:
        logging.getLogger().addHandler(self._log)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(self._log)
            if self._log.lines:
                item.add_report_section("call", "log", "\n".join(self._log.lines))
                self._log.lines.clear()


class Log(logging.Handler):
    """Keeps what is logged, as pytest would show it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter(FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self.lines.append(self.format(record))


def is_plain(item: pytest.Function, call: Call) -> bool:
    """Whether all that a test asks for is answers, and nothing is said of it but what a statement is."""
    answers = call.session.app.readings
    # Of a whole target the judge takes testinfra's host for the control machine, and a fixture may for another.
    known = ANSWERS | {"host"} if call.at else ANSWERS
    if not all(name in answers or name in known for name in item.fixturenames):
        return False
    spec = getattr(item, "callspec", None)
    if spec and spec.params.keys() - {"instance"}:
        return False
    return not any(mark.name.startswith(("skip", "xfail", "usefixtures", "filterwarnings")) for mark in item.iter_markers())
