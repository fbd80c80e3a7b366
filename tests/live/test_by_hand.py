"""A migration in which nothing is allowed to the tool: a script types what it prints, as a person would beside it.

The person also deploys before it is time, and closes the terminal in the middle.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from converge.errors import Exit
from converge.statements import Outcome
from lab.payload import capistrano
from lab.payload.control import ControlCommandFailed
from lab.payload.places import APP_UNIT, MIGRATE_UNIT
from tests.live.rig import TOP, Answer, Rig, environment, report_of, write_target
from tests.live.snapshots import Snapshot, changes, kept_data, neighbours
from tests.live.test_cutover import state

ASKED = re.compile(r"this step is a person's: .* Type (?:on this machine|on \S+ as \S+ \((?P<login>.*)\)):$")
STEP = re.compile(r"^(\S+/\S+) at \S+: ")


@dataclass
class Terminal:
    """The run in one terminal, and a person in another who types what it asks for."""

    rig: Rig
    target: Path
    said: list[str] = field(default_factory=list)
    typed: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    def begin(self) -> None:
        """Start a run that waits."""
        words = ["--target", str(self.target), "--remediate", "--yes", "--wait", "5m"]
        self.said = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "verify/", *words], cwd=TOP, env=environment(os.environ.items()),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True,
        )  # fmt: skip

    def asked(self) -> tuple[str, str]:
        """The step that it waits for next, and the command that a person types, login included; empty at its end."""
        assert self.process
        assert self.process.stdout
        step = ""
        for text in self.process.stdout:
            print(text, end="")
            self.said.append(text.rstrip())
            step = found[1] if (found := STEP.match(text)) else step
            if asked := ASKED.search(text.rstrip()):
                line = self.process.stdout.readline().strip()
                return step, f"{asked['login']} {shlex.quote(line)}" if asked["login"] else line
        return "", ""

    def type(self, step: str, command: str) -> None:
        """What a person does who trusts it."""
        self.typed.append(step)
        done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=300, check=False)
        print(f"$ {command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    def finish(self) -> Answer:
        """Type everything that is still asked for."""
        began = time.monotonic()
        while (asked := self.asked())[0]:
            self.type(*asked)
        assert self.process
        code, out = self.process.wait(60), "\n".join(self.said)
        folder, record = report_of(out)
        return Answer(("by hand",), code, out, time.monotonic() - began, folder, record)

    def close(self) -> None:
        """Close the terminal."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGHUP)
        self.process.wait(30)


@dataclass(frozen=True)
class Story:
    """Everything that was seen on the way."""

    early: str
    units: tuple[str, str, str]
    held: Answer
    runs: str
    done: Answer
    typed: tuple[str, ...]
    again: Answer
    neighbours: tuple[Snapshot, Snapshot]
    data: tuple[Snapshot, Snapshot]


def deploy_too_early(rig: Rig) -> str:
    """``cap production deploy`` by somebody who asks nobody; how it ended."""
    try:
        with capistrano.checkout(rig.lab) as folder:
            capistrano.deploy(rig.lab, folder, "production")
    except ControlCommandFailed as problem:
        return str(problem)
    return ""


@pytest.fixture(scope="module")
def story(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """One migration for all the tests below."""
    rig.enter("migrated")
    rig.spoil()
    target = write_target(rig, tmp_path_factory.mktemp("by-hand"), {"may": []})
    before, data = neighbours(rig.lab), kept_data(rig.lab)
    terminal = Terminal(rig, target)
    terminal.begin()
    first = terminal.asked()
    main = state(rig, MIGRATE_UNIT, "MainPID")
    early = deploy_too_early(rig)
    units = (state(rig, APP_UNIT), main, state(rig, MIGRATE_UNIT, "MainPID"))
    terminal.type(*first)
    while (asked := terminal.asked())[0] != "DEP-1/deploy":
        assert asked[0]
        terminal.type(*asked)
    terminal.close()
    held = rig.check("--id", "UNIT-5", target=str(target))
    words = [sys.executable, "-m", "converge", "runs", "--target", str(target)]
    runs = subprocess.run(words, cwd=TOP, capture_output=True, text=True, timeout=60, check=True).stdout
    terminal.type(*asked)
    terminal.begin()
    done = terminal.finish()
    again = rig.check("--remediate", "--yes", target=str(target))
    last = (neighbours(rig.lab), kept_data(rig.lab))
    return Story(
        early, units, held, runs, done, tuple(terminal.typed), again, (before, last[0]), (data, last[1])
    )


def test_a_deploy_before_its_time_starts_no_second_copy(story: Story) -> None:
    app, before, after = story.units
    assert app == "inactive"
    assert before == after != "0"


def test_a_run_that_died_leaves_its_gate_closed_and_the_check_says_how_it_is_opened(story: Story) -> None:
    assert story.held.failing == {"UNIT-5"}
    assert "held back by" in story.held.messages("UNIT-5")
    assert "systemctl --user daemon-reload" in story.held.messages("UNIT-5")


def test_who_looks_from_elsewhere_sees_what_it_waited_for(story: Story) -> None:
    assert "waits for a person to do DEP-1/deploy, on this machine: sh " in " ".join(story.runs.split())


def test_the_next_run_finds_out_what_was_done_meanwhile_and_ends_green(story: Story) -> None:
    assert story.done.code == Exit.HOLDS, story.done
    assert story.done.failing == set()
    assert story.done.ids(Outcome.UNOBSERVABLE) == set()
    assert story.done.record
    assert any("it waited for a person to do DEP-1/deploy" in note for note in story.done.record.notes)
    assert story.done.record.situation == "migrated, now finished"


def test_each_step_of_a_persons_was_asked_for_once(story: Story) -> None:
    assert len(set(story.typed)) == len(story.typed)
    assert story.typed[0] == "REPO-6/push"
    assert {"DEP-1/deploy", "UNIT-5/cutover", "FS-8/retire-migrate"} <= set(story.typed)
    assert story.done.record
    mine = [s for s in story.done.record.steps if "by hand" in s.reason]
    assert {s.result for s in mine} == {"done"}
    assert [s.id for s in story.done.record.steps if s.result == "manual"] == []


def test_the_cutover_by_hand_lost_no_page(story: Story) -> None:
    assert story.done.record
    (step,) = [s for s in story.done.record.steps if s.id == "UNIT-5/cutover"]
    assert step.confirmed == "confirmed over a new connection"
    probe = story.done.record.probe
    assert probe
    assert probe.failed == 0
    assert len(probe.answered_by) == 2


def test_nothing_is_left_to_do(story: Story) -> None:
    assert story.again.code == Exit.HOLDS
    assert "nothing to do" in story.again.out


def test_neighbours_and_data_are_as_before(story: Story) -> None:
    assert changes(*story.neighbours) == []
    before, after = story.data
    assert changes(before, {name: after.get(name, "is gone") for name in before}) == []
