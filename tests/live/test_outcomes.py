"""What cannot be read is never called a pass or a failure; what cannot be reached is one message."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import pytest

from converge.checking.statement import Outcome
from converge.errors import Exit
from lab.machine import Machine
from tests.live.rig import Answer, Rig, write_target

BUS = {"UNIT-3", "UNIT-4", "UNIT-5", "UNIT-9"}
"""Statements that only the user manager can answer."""


@contextmanager
def without(machine: Machine, off: str, on: str) -> Iterator[None]:
    """Take something away from a host, and give it back."""
    machine.run(off)
    try:
        yield
    finally:
        machine.run(on)


def assert_plain(answer: Answer) -> None:
    """No foreseeable trouble shows as a traceback."""
    assert "Traceback" not in answer.out
    assert "INTERNALERROR" not in answer.out


def test_a_stopped_user_manager_is_not_an_inactive_unit(lab_in: Callable[[str], Rig]) -> None:
    rig = lab_in("prod")
    rig.spoil()
    # Masked, as a login would start it again.
    rig.lab.app.run("systemctl mask --runtime user@5000.service && systemctl stop user@5000.service")
    answer = rig.check()
    assert answer.code == Exit.FAILS
    assert answer.ids(Outcome.MANUAL) >= {"HOST-2"}
    assert "do:       " in answer.messages("HOST-2")
    there = {v.id: v for v in answer.verdicts if v.host == rig.lab.app.name}
    for id in BUS:
        assert there[id].outcome is Outcome.UNOBSERVABLE, id
        assert there[id].message.startswith("could not be read: "), id
    assert_plain(answer)


def test_a_missing_tool_is_named(lab_in: Callable[[str], Rig]) -> None:
    rig = lab_in("prod")
    rig.spoil()
    with without(rig.lab.app, "mv /usr/bin/curl /usr/bin/curl.away", "mv /usr/bin/curl.away /usr/bin/curl"):
        answer = rig.check()
    assert answer.code == Exit.FAILS
    assert "SOLR-3" in answer.ids(Outcome.UNOBSERVABLE)
    assert "curl" in answer.messages("SOLR-3")
    assert not answer.failing, "what could not be asked is no failure"
    assert_plain(answer)


def test_a_host_that_cannot_be_reached_is_one_message(lab_in: Callable[[str], Rig]) -> None:
    rig = lab_in("prod")
    rig.spoil()
    stop = "systemctl stop ssh.socket ssh.service 2>/dev/null; systemctl stop ssh.service"
    with without(rig.lab.app, stop, "systemctl start ssh.service"):
        answer = rig.check()
    assert answer.code == Exit.UNREACHABLE
    assert answer.record is None
    assert answer.out.count(rig.lab.app.address) <= 2, "said once, not for every statement"
    assert "vampires" in answer.out
    assert "refuses connections" in answer.out
    assert_plain(answer)


@pytest.mark.parametrize(
    ("edit", "words"),
    [("", ("fingerprint", "SHA256:")), ("vampires {address} {other}\n", ("SHA256:",))],
    ids=["unknown", "changed"],
)
def test_a_strange_host_key_is_refused(lab_in: Callable[[str], Rig], edit: str, words: tuple[str, ...]) -> None:
    rig = lab_in("prod")
    known = rig.lab.directory / "known_hosts"
    kept = known.read_text()
    lines = kept.splitlines()
    stranger = next(" ".join(line.split()[1:3]) for line in lines if line.startswith("werewolves"))
    others = "".join(f"{line}\n" for line in lines if not line.startswith("vampires"))
    try:
        known.write_text(others + edit.replace(" {address} {other}", f",{rig.lab.app.address} {stranger}"))
        answer = rig.check()
    finally:
        known.write_text(kept)
    assert answer.code == Exit.UNREACHABLE
    assert answer.record is None
    assert "vampires" in answer.out
    assert str(known) in answer.out
    for word in words:
        assert word in answer.out
    assert_plain(answer)


def test_waived_due_and_advice_are_told_apart(lab_in: Callable[[str], Rig], tmp_path: Path) -> None:
    rig = lab_in("migrated")
    today = date.today()
    target = write_target(
        rig,
        tmp_path,
        {
            "soak_days": 14,
            "waivers": [
                {"id": "SOLR-5", "why": "search is being rebuilt", "until": str(today + timedelta(days=1))},
                {"id": "PID-1", "why": "was to be done last month", "until": str(today - timedelta(days=1))},
            ],
        },
    )
    answer = rig.check(target=str(target))
    assert answer.code == Exit.FAILS
    assert answer.ids(Outcome.WAIVED) == {"SOLR-5"}
    assert "search is being rebuilt" in answer.messages("SOLR-5")
    assert "PID-1" in answer.ids(Outcome.FAILS)
    assert "its waiver ended on" in answer.messages("PID-1")
    assert answer.ids(Outcome.DUE) == {"FS-8", "REPO-8", "RUBY-5"}
    assert "SOCK-4" in answer.ids(Outcome.ADVICE)


def test_strict_makes_advice_a_failure(lab_in: Callable[[str], Rig]) -> None:
    rig = lab_in("migrated")
    lenient, strict = rig.check("--id", "SOCK-4"), rig.check("--id", "SOCK-4", "--strict")
    assert (lenient.code, lenient.ids(Outcome.ADVICE)) == (Exit.HOLDS, {"SOCK-4"})
    assert (strict.code, strict.ids(Outcome.FAILS)) == (Exit.FAILS, {"SOCK-4"})
