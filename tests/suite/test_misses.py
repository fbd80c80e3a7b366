"""No statement of the suite reads what was not foreseen: the whole check is one exec a host."""

from __future__ import annotations

from pathlib import Path

import pytest

from converge.checking.judge import arguments
from converge.checking.session import Session
from converge.checking.statement import Outcome
from converge.readings import Reading
from converge.readings.answers import CONTROL
from converge.readings.testinfra import ModuleReading
from converge.transport import Completed
from facts.application import READINGS, application
from tests.suite.test_pairing import STATEMENTS
from tests.targets import at_app, inventory


class Silent:
    """A host that answers nothing, and counts how often it was asked."""

    def __init__(self, name: str) -> None:
        self.name, self.asked = name, 0

    def exec(self, script: str, *, limit: float, stdin: bytes = b"") -> Completed:  # noqa: ARG002
        self.asked += 1
        return Completed(0, b"", b"", 0.0)

    def close(self) -> None:
        """Nothing is held open."""


def test_everything_that_is_judged_was_asked_for_in_one_exec_a_host(tmp_path: Path) -> None:
    session = Session(application(), inventory(web={"urls": []}), tmp_path)
    links = {name: Silent(name) for name in [CONTROL, *(host.name for host in session.inv.live)]}
    session.links.update(links)
    chosen = [(s, at) for s, at in session.everything() if s in STATEMENTS]
    session.read(chosen)
    verdicts = session.judge_all(chosen)
    session.finish(1, "")
    assert {v.id for v in verdicts} == {s.id for s in STATEMENTS}
    assert {v.outcome for v in verdicts} == {Outcome.UNOBSERVABLE}
    assert session.record.misses == []
    assert {name: link.asked for name, link in links.items()} == dict.fromkeys(links, 1)


def test_no_statement_takes_testinfras_host_itself() -> None:
    # What is asked of it directly cannot be foreseen.
    assert [s.id for s in STATEMENTS if s.function and "host" in arguments(s.function)] == []


@pytest.mark.parametrize("name", [name for name, each in READINGS.items() if isinstance(each, ModuleReading)])
def test_every_use_of_a_module_is_one_that_it_has(name: str) -> None:
    reading: Reading[object] = READINGS[name]
    assert isinstance(reading, ModuleReading)
    without = ModuleReading(name, reading.on, None, None, build=reading.build, uses=())
    asked = [ModuleReading(name, reading.on, None, None, build=reading.build, uses=(use,)) for use in reading.uses]
    known = without.commands(at_app(inventory()))
    assert all(len(each.commands(at_app(inventory()))) > len(known) for each in asked)
