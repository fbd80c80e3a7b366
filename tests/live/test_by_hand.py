"""A migration in which nothing is allowed to the tool: a script types what it prints, as a person would beside it.

The person also closes the terminal in the middle, opens the gate, and deploys without; and somebody else deploys before
the cutover.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from converge.checking.statement import Outcome
from converge.errors import Exit
from converge.shell.library import Rc
from lab.payload import capistrano
from lab.payload.places import APP_UNIT, MIGRATE_UNIT, USER
from tests.live.rig import TOP, Answer, Rig, environment, report_of, write_target
from tests.live.snapshots import Snapshot, changes, kept_data, neighbours
from tests.live.test_cutover import ASK, led_over_once, state

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
        # Under nohup the tests, and all that they start, ignore that a terminal is closed.
        self.process = subprocess.Popen(
            ["env", "--default-signal=HUP", sys.executable, "-m", "pytest", "verify/", *words],
            cwd=TOP, env=environment(os.environ.items()),
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

    units: tuple[str, str, str]
    visitors: tuple[int, int]
    open_gate: str
    outdated: str
    held: Answer
    runs: str
    done: Answer
    typed: tuple[str, ...]
    again: Answer
    neighbours: tuple[Snapshot, Snapshot]
    data: tuple[Snapshot, Snapshot]


def deploy_of_somebody_else(rig: Rig) -> None:
    """``cap production deploy`` from a clone, by somebody who asks nobody."""
    with capistrano.checkout(rig.lab) as folder:
        capistrano.deploy(rig.lab, folder, "production")


@contextmanager
def visited(rig: Rig) -> Iterator[list[str]]:
    """Asks the site meanwhile; what it answered: its status, and which stage served."""
    answers: list[str] = []
    over = threading.Event()

    def visit() -> None:
        while not over.is_set():
            said = rig.lab.app.run(ASK, check=False).stdout.lower()
            good = said.startswith("http/") and " 200" in said.partition("\n")[0] and "x-hkn-stage: migrate" in said
            answers.append("good" if good else said or "no answer")
            over.wait(0.2)

    visitor = threading.Thread(target=visit)
    visitor.start()
    yield answers
    over.set()
    visitor.join()


@pytest.fixture(scope="module")
def story(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """One migration for all the tests below."""
    rig.enter("migrated")
    rig.spoil()
    target = write_target(rig, tmp_path_factory.mktemp("by-hand"), {"may": []})
    before, data = neighbours(rig.lab), kept_data(rig.lab)
    terminal = Terminal(rig, target)
    terminal.begin()
    while (asked := terminal.asked())[0] != "DEP-1/deploy":
        assert asked[0]
        terminal.type(*asked)
    terminal.close()
    held = rig.check("--id", "UNIT-5", target=str(target))
    words = [sys.executable, "-m", "cli", "runs", "--target", str(target)]
    runs = subprocess.run(words, cwd=TOP, capture_output=True, text=True, timeout=60, check=True).stdout
    found = re.search(r"`(mv \S+90-migration-gate.conf [^`]*)`", held.messages("UNIT-5"))
    assert found, held.messages("UNIT-5")
    open_gate = rig.lab.app.run(found[1], user=USER).stdout or state(rig, APP_UNIT, "DropInPaths")
    with visited(rig) as answers:
        terminal.type(*asked)
        time.sleep(3)
    terminal.begin()
    step, outdated = terminal.asked()
    assert step == "UNIT-5/cutover"
    main = state(rig, MIGRATE_UNIT, "MainPID")
    deploy_of_somebody_else(rig)
    units = (state(rig, APP_UNIT, "MainPID"), main, state(rig, MIGRATE_UNIT, "MainPID"))
    step, anew = terminal.asked()
    assert step == "UNIT-5/cutover"
    refused = subprocess.run(["/bin/sh", "-c", outdated], capture_output=True, text=True, timeout=60, check=False)
    terminal.type(step, anew)
    done = terminal.finish()
    again = rig.check("--remediate", "--yes", target=str(target))
    last = (neighbours(rig.lab), kept_data(rig.lab))
    visitors = (len(answers), answers.count("good"))
    return Story(
        units, visitors, open_gate, f"{refused.returncode}: {refused.stderr}", held, runs, done, tuple(terminal.typed),
        again, (before, last[0]), (data, last[1]),
    )  # fmt: skip


def test_a_deploy_without_the_gate_costs_no_visitor_anything(story: Story) -> None:
    assert "gate" not in story.open_gate
    asked, good = story.visitors
    assert asked == good > 20


def test_a_deploy_while_the_old_unit_serves_starts_no_second_copy(story: Story) -> None:
    app, before, after = story.units
    assert app == "0"
    assert before == after != "0"


def test_what_was_laid_ready_for_another_release_is_withdrawn_and_laid_ready_anew(story: Story) -> None:
    assert story.outdated.startswith(f"{Rc.REPEATED.value}: ")
    assert "is not waited for any more" in story.outdated
    assert story.done.record
    cutovers = [s for s in story.done.record.steps if s.id == "UNIT-5/cutover"]
    assert [step.result for step in cutovers] == ["not needed", "done"]
    assert "not so any more that the current release is " in cutovers[0].reason


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
    assert story.done.record.situation.endswith(", now finished")


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
    _, step = [s for s in story.done.record.steps if s.id == "UNIT-5/cutover"]
    assert step.confirmed == "confirmed over a new connection"
    probe = story.done.record.probe
    assert probe
    assert probe.failed == 0
    led_over_once(story.done.record)


def test_nothing_is_left_to_do(story: Story) -> None:
    assert story.again.code == Exit.HOLDS
    assert "nothing to do" in story.again.out


def test_neighbours_and_data_are_as_before(story: Story) -> None:
    assert changes(*story.neighbours) == []
    before, after = story.data
    assert changes(before, {name: after.get(name, "is gone") for name in before}) == []
