"""A lab of the tests' own, started once; without what it needs these tests say why they are skipped, but never in CI."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab import needs
from lab.cache import Cache, default_root
from lab.errors import NeedsMissing
from lab.lab import Lab
from lab.states import STATES
from tests.live.figures import MEMORY, MIB, SECONDS, lines
from tests.live.rig import Rig

USED = pytest.StashKey[Rig]()
FIGURES = pytest.StashKey[list[str]]()
NAME = "-".join([os.environ.get("LIVE_LAB", "ci"), *os.environ.get("PYTEST_XDIST_WORKER", "").split()])
"""The lab of this process: pytest-xdist's workers have one each."""


@pytest.fixture(scope="session")
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """The lab (down until a test asks for a state) and the suite to run against it. LIVE_KEEP=1 leaves it running."""
    try:
        needs.check_root()
        needs.check(Cache(default_root()))
    except NeedsMissing as lacking:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no lab here: {lacking}")
    lab = Lab.open(NAME, STATES, lambda text: print(f"lab: {text}", flush=True))
    # What a killed session left may be in any condition.
    lab.down()
    used = request.config.stash[USED] = Rig(lab)
    yield used
    if not request.session.testsfailed:
        used.sweep()
    if not os.environ.get("LIVE_KEEP"):
        lab.down()


@pytest.fixture
def lab_in(rig: Rig) -> Callable[[str], Rig]:
    """Puts the lab into a named state; tests that only read share one boot."""

    def enter(state: str) -> Rig:
        rig.enter(state)
        return rig

    return enter


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The time of each live test: together they have a budget; and what the lab took for its states, which has one too."""
    spent: dict[str, float] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if "tests/live/" in getattr(report, "nodeid", "") and hasattr(report, "duration"):
                spent[report.nodeid] = spent.get(report.nodeid, 0.0) + report.duration
    if spent:
        terminalreporter.section(f"live tests: {sum(spent.values()):.0f} s")
        for nodeid, seconds in spent.items():
            terminalreporter.write_line(f"{seconds:7.1f} s  {nodeid.split('tests/live/')[-1]}")
    config = terminalreporter.config
    if figures := [*config.stash.get(FIGURES, []), *figures_of(config)]:
        aim = f"{SECONDS} s, {MEMORY // MIB // 1024} GiB"
        terminalreporter.section(f"entering a state of the lab (wanted of one that is in the cache: {aim})")
        for line in figures:
            terminalreporter.write_line(line)


def figures_of(config: pytest.Config) -> list[str]:
    """What the lab of this process took."""
    used = config.stash.get(USED, None)
    return lines(used.entries, used.weight) if used else []


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker sends what its lab took to the process that reports."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["lab"] = figures_of(session.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Keep what a worker's lab took."""
    said = getattr(node, "workeroutput", {}).get("lab", [])
    node.config.stash.setdefault(FIGURES, []).extend(f"{node.gateway.id}: {line}" for line in said)
