"""pytest glue of a session with several targets, or spread over several processes with pytest-xdist.

Every process collects everything. The targets are dealt to the workers in their order, one never split, and each worker
reads all of its own at the same time when it is sent its first test. What it judges travels with pytest's own reports to
the controller, which connects to nothing and writes the one report.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from converge.checking.application import Application
from converge.checking.fleet import Fleet
from converge.checking.judge import instances_of
from converge.checking.record import Survey, Verdict
from converge.checking.session import Chosen, Session
from converge.errors import ConvergeError, Exit
from converge.pytest_plugin.items import Place, place_of, statement_of
from converge.report.run_json import made

PART = "converge_part"
"""Attribute of a test report with what a worker judged, as JSON."""


class Unreached(ConvergeError):
    """Stands once for all statements of a target that could not be read."""


def quiet(config: pytest.Config) -> None:
    """Leave to the report what pytest would say of every failure, unless it was asked to."""
    option = config.option
    option.tbstyle = "no" if option.tbstyle == "auto" else option.tbstyle
    option.reportchars = "" if option.reportchars == "fE" else option.reportchars


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is one of pytest-xdist's workers."""
    return hasattr(config, "workerinput")


def is_spread(config: pytest.Config) -> bool:
    """Whether this process sends its tests to workers."""
    return bool(getattr(config.option, "dist", "no") != "no" and not is_worker(config))


def is_cut_short(session: pytest.Session) -> bool:
    """Whether pytest is about to end the session because a file could not be collected."""
    return bool(session.testsfailed and not session.config.option.continue_on_collection_errors)


class Surveying:
    """The hooks in the process that reads: the only one, or a worker."""

    def __init__(self, config: pytest.Config, sessions: Mapping[str, Session], say: Callable[[str], None]) -> None:
        self.fleet, self.say, self.config = Fleet(sessions), say, config
        self.asked: dict[str, int] = {}
        self._told: set[str] = set()

    def name_of(self, item: pytest.Item) -> str:
        """The target of a test's instance."""
        return place_of(item).target or next(iter(self.fleet.sessions))

    def work(self, items: Sequence[pytest.Item]) -> dict[str, Chosen]:
        """What is to be read for which target, in the targets' order."""
        found: dict[str, Chosen] = {name: [] for name in self.fleet.sessions}
        for item in items:
            if statement := statement_of(item):
                found[self.name_of(item)].append((statement, place_of(item).host))
        return {name: chosen for name, chosen in found.items() if chosen}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """One target after the other."""
        places = {name: n for n, name in enumerate(self.fleet.sessions)}
        items.sort(key=lambda item: places[self.name_of(item)])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Judge each target as soon as it has been read. A worker's loop is pytest-xdist's own."""
        if self.config.option.collectonly or is_cut_short(session) or is_worker(self.config):
            return None
        work = self.work(session.items)
        self.asked = {name: len(chosen) for name, chosen in work.items()}
        items: dict[str, list[pytest.Item]] = {name: [] for name in work}
        for item in session.items:
            items.setdefault(self.name_of(item), []).append(item)
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.showfspath = False
        self.fleet.begin(work)
        for name in self.fleet.arrivals():
            self._introduce(name)
            self._run(session, items[name])
            self.fleet.sessions[name].rest()
        return True

    def _run(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Wait for the target's answers. True, not to be run: one that has none is told once, by its first test."""
        name = self.name_of(item)
        if not self.fleet.has_begun:
            share = share_of(list(self.fleet.sessions), name, int(self.config.workerinput["workercount"]))  # type: ignore[attr-defined]
            self.fleet.begin({each: chosen for each, chosen in self.work(item.session.items).items() if each in share})
        self.fleet.wait(name)
        if name in self._told:
            return True
        if self.fleet.sessions[name].ended:
            self._told.add(name)
        return None

    def _introduce(self, name: str) -> None:
        ended = self.fleet.sessions[name].ended
        for line in [*self.fleet.said[name], *(ended[1:] if ended else [])]:
            self.say(f"{name}: {line}")
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and self.config.option.verbose == 0:
            reporter.write_ensure_prefix(f"{name}: ")  # its letters follow on the same line

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Nothing of a target that was not read is judged."""
        ended = self.fleet.sessions[self.name_of(item)].ended
        if ended:
            raise Unreached(ended[1])


def share_of(names: Sequence[str], name: str, workers: int) -> set[str]:
    """The targets that are read by the same of so many workers as `name`."""
    return {each for n, each in enumerate(names) if n % workers == names.index(name) % workers}


def send_along(config: pytest.Config, report: pytest.TestReport, session: Session, verdict: Verdict | None) -> None:
    """Give a worker's report what the controller must hear of a target: a verdict, and how it stands otherwise."""
    if not is_worker(config):
        return
    session.account()
    told = ("situation", "situation_detail", "seconds", "connections", "execs", "readings", "misses", "waited", "asking")
    what = {
        "target": session.inv.name,
        "verdict": asdict(verdict) if verdict else None,
        "ended": session.ended,
        "record": {key: getattr(session.record, key) for key in told},
    }
    setattr(report, PART, json.dumps(what))


def survey_of(app: Application, sessions: Sequence[Session]) -> Survey:
    """One record of several targets, to be completed in the end."""
    records = [session.record for session in sessions]
    notes = [note for record in records for note in record.notes]
    return Survey(sessions[0].id, app.version, time.time(), records, notes=notes)


class Gathering:
    """The hooks in the process that sends its tests to workers: it deals out the targets and takes in the verdicts."""

    def __init__(self, sessions: Mapping[str, Session]) -> None:
        self.sessions = dict(sessions)
        self.asked: dict[str, int] = {}
        self._targets = {
            str(Place(name, host)): name
            for name, session in sessions.items()
            for on in ("live", "target")
            for host in instances_of(on, session.inv)
        }

    def name_of(self, nodeid: str) -> str:
        """The target that a test's id names."""
        return self._targets.get(nodeid.rpartition("[")[2].removesuffix("]"), next(iter(self.sessions)))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Our own, so that no target is split whatever --dist says, and no test's id gets a suffix as with loadgroup."""
        names, scheduler = list(self.sessions), LoadScopeScheduling(config, log)
        scheduler._split_scope = lambda nodeid: str(names.index(self.name_of(nodeid)) % scheduler.numnodes)
        return scheduler

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """How many verdicts to expect of which target."""
        found = [self.name_of(each) for each in ids]
        self.asked = {name: found.count(name) for name in self.sessions if name in found}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a worker sent along, before any other reporter looks for it."""
        text = report.__dict__.pop(PART, None)
        if text is None:
            return
        told = json.loads(text)
        session = self.sessions[told["target"]]
        vars(session.record).update(told["record"])
        session.ended = (Exit(told["ended"][0]), told["ended"][1]) if told["ended"] else None
        if told["verdict"]:
            session.record.take_verdict(made(Verdict, told["verdict"]))
