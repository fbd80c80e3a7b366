"""The figures of the lab in a log of the tests: what is measured when a state is entered, and how it is said."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest

from lab.lab import Lab
from tests.live.conftest import USED, pytest_terminal_summary
from tests.live.figures import MIB, Entry, lines
from tests.live.rig import Rig


@dataclass
class Hosts:
    """Stands in for a lab; the first entering of a state builds it."""

    cache: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    on: bool = False
    machines: tuple[str, ...] = ("werewolves", "vampires")

    def running(self) -> bool:
        return self.on

    def built(self, name: str) -> bool:
        return name in self.cache

    def memory(self, machine: str) -> int:
        return len(machine) * MIB

    def down(self) -> None:
        self.done.append("down")

    def up(self, name: str) -> None:
        self.on = True
        self.state(name)

    def state(self, name: str) -> None:
        self.done.append(name)
        self.cache.append(name)


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


@pytest.fixture
def rig(hosts: Hosts) -> Rig:
    return Rig(cast("Lab", hosts), lambda _: None)


def test_each_entering_is_measured_and_told_apart_from_building(hosts: Hosts, rig: Rig) -> None:
    rig.enter("prod")
    rig.enter("prod")
    rig.spoil()
    rig.enter("prod")
    assert hosts.done == ["down", "prod", "prod"]
    assert [(entry.state, entry.built) for entry in rig.entries] == [("prod", True), ("prod", False)]
    assert rig.entries[0].memory == {"werewolves": 10 * MIB, "vampires": 8 * MIB} == rig.weight


def test_the_lines_have_each_cached_state_and_what_was_built() -> None:
    used = {"werewolves": 100 * MIB, "vampires": 900 * MIB}
    more = {"werewolves": 100 * MIB, "vampires": 1000 * MIB}
    entries = [
        Entry("prod", 93.04, True, used),
        Entry("prod", 7.26, False, used),
        Entry("migrated", 6.0, False, used),
        Entry("prod", 5.5, False, more),
    ]
    assert lines(entries, used) == [
        "prod: 2 times, 5.5 to 7.3 s, at most 1100 MiB",
        "migrated: once, 6.0 to 6.0 s, at most 1000 MiB",
        "prod: 93.0 s, with building it",
        "memory when last looked at: werewolves 100 + vampires 900 = 1000 MiB, of 4096",
    ]


def test_nothing_is_said_of_a_lab_that_was_not_used() -> None:
    assert lines([], {}) == []


@dataclass
class Reporter:
    """Stands in for pytest's terminal reporter."""

    config: SimpleNamespace
    stats: dict[str, list[object]] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)

    def section(self, title: str) -> None:
        self.written.append(f"= {title}")

    def write_line(self, line: str) -> None:
        self.written.append(line)


def test_the_summary_has_the_figures_of_a_lab_that_was_used(rig: Rig) -> None:
    reporter = Reporter(SimpleNamespace(stash=pytest.Stash()))
    pytest_terminal_summary(reporter)
    reporter.config.stash[USED] = rig
    pytest_terminal_summary(reporter)
    assert reporter.written == []

    rig.enter("prod")
    pytest_terminal_summary(reporter)
    assert reporter.written[0] == "= entering a state of the lab (wanted of one that is in the cache: 10 s, 4 GiB)"
    assert reporter.written[1].startswith("prod: ")
    assert reporter.written[1].endswith(" s, with building it")
    assert reporter.written[2].startswith("memory when last looked at: werewolves 10 + vampires 8 = 18 MiB")
