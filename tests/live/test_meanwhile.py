"""What others do to a host while a run goes on, and what breaks under it: refused or converged, in words, no page lost.

The tests go on from each other's host, on which the site is not yet led over; each also holds alone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from bench.cutover import GO_BACK, needed
from converge.checking.record import Probe, StepRecord
from converge.errors import Exit
from converge.journal.journal import parse
from lab.errors import LabError
from lab.payload import search
from lab.payload.places import APP_UNIT, ATTIC, HOME, MIGRATE_UNIT, OWNER, PROD, SOCKETS, SOLR, SOLR_PORT, UNITS, USER
from tests.chaos.going import Going, lines_of, runs_of
from tests.chaos.trial import asked, damage, lost
from tests.live.rig import TOP, WRITTEN, Answer, Rig, environment, report_of
from tests.live.snapshots import kept_data, neighbours
from tests.live.test_by_hand import deploy_of_somebody_else
from tests.live.test_cutover import ASK, TO_THE_CUTOVER, state

TO_THE_UNIT = ("--id", ",".join([*needed("UNIT-1"), "UNIT-1"]))


@pytest.fixture(scope="module")
def host(rig: Rig) -> Rig:
    """One host for all, as it stands before the migration."""
    rig.enter("migrated-direct")
    rig.spoil()
    return rig


@contextmanager
def unharmed(rig: Rig, folder: Path, *, pages: bool = True) -> Iterator[list[Probe]]:
    """Asks the site all the while; no page is lost (unless without `pages`), neighbours and data are as before, and no
    journal is left open.
    """
    before = (neighbours(rig.lab), kept_data(rig.lab))
    with asked(rig, folder) as probe:
        yield probe
    assert probe[0].sent > probe[0].ended - probe[0].started
    assert not pages or lost(probe[0], []) == []
    assert damage(rig.lab, before, renewed=False) == []


def answer_of(going: Going) -> Answer:
    """What a run said that went on beside us."""
    code, out = going.wait(), going.said()
    print(out)
    going.rig.folders += [Path(path) for path in WRITTEN.findall(out)]
    folder, record = report_of(out)
    return Answer(going.arguments, code, out, 0.0, folder, record)


def as_soon_as(runs: Sequence[Going], sign: Callable[[dict[str, Any]], object], deed: Callable[[], object]) -> Thread:
    """Do something when the journal of a run has such a line, while one of them goes on."""

    def watch() -> None:
        while any(run.process and run.process.poll() is None for run in runs):
            if any(sign(json.loads(line)) for line in runs[0].lines()):
                deed()
                return
            time.sleep(0.01)

    thread = Thread(target=watch, daemon=True)
    thread.start()
    return thread


def step_of(answer: Answer, id: str) -> StepRecord:
    """The record of a step."""
    assert answer.record, answer
    return next(step for step in answer.record.steps if step.id == id)


def on_the_host(rig: Rig, script: str) -> str:
    """What the account's own hands do on the app host."""
    return rig.lab.app.run(f"set -e\n{script}", user=USER, timeout=120).stdout


def test_of_two_runs_at_once_one_is_told_of_the_other_and_a_hand_edit_is_kept(host: Rig, tmp_path: Path) -> None:
    rivals = [Going(host, tmp_path / f"{name}.log", TO_THE_UNIT) for name in ("one", "other")]
    unit, edit = f"{UNITS}/{APP_UNIT}", "Environment=EDITED=by-hand"
    known = set(runs_of(host.lab).glob("*"))
    with unharmed(host, tmp_path):
        for rival in rivals:
            rival.begin()
        editor = as_soon_as(
            rivals, lambda line: line["kind"] == "intent", lambda: on_the_host(host, f"echo {edit} >>{unit}")
        )
        winner, loser = sorted((answer_of(rival) for rival in rivals), key=lambda answer: answer.code)
        editor.join(10)
    assert (winner.code, loser.code) == (Exit.HOLDS, Exit.LOCK_HELD)
    said = re.search(r"another run is going on: \S+@\S+, run (\S+), since [\d:]+ on [\d-]+, on vampires", loser.out)
    assert said, loser
    assert winner.record
    assert said[1] == winner.record.id
    assert {run.name for run in set(runs_of(host.lab).glob("*")) - known} == {winner.record.id}
    assert [step.result for step in winner.record.steps if step.result not in {"done", "not needed"}] == []
    told = step_of(winner, "UNIT-1/write").reason
    assert told == f"{unit} was edited since the plan was made; what it was then is kept below {ATTIC}/{winner.record.id}"
    assert edit in on_the_host(host, f"grep -rh {edit} {ATTIC}/{winner.record.id}"), "what was edited is kept"
    assert edit not in on_the_host(host, f"cat {unit}")


MUTE = f"""#!/bin/sh
echo $$ >{HOME}/.mute
exec ruby -rsocket -e 'server = TCPServer.new("127.0.0.1", {SOLR_PORT}); calls = []; loop {{ calls << server.accept }}'
"""
"""A Solr that takes every question and answers none."""


def test_a_solr_that_never_answers_is_said_and_the_site_serves_on(host: Rig, tmp_path: Path) -> None:
    search.stop(host.lab, host.lab.app.name)
    on_the_host(host, f"mv {SOLR}/bin/solr {SOLR}/bin/solr.whole")
    host.lab.app.write(f"{SOLR}/bin/solr", MUTE, mode=0o755, owner=OWNER)
    try:
        with unharmed(host, tmp_path):
            run = host.remediate("--id", "SOLR-1")
    finally:
        on_the_host(host, f'kill "$(cat {HOME}/.mute)"; rm {HOME}/.mute; mv {SOLR}/bin/solr.whole {SOLR}/bin/solr')
    step = step_of(run, "SOLR-1/start")
    assert (run.code, step.result) == (Exit.FAILS, "failed")
    assert step.reason.startswith("Solr did not tell of its core production within 60 s")
    assert "somebody else's process" in run.messages("SOLR-1")


CRASH = """
use(Class.new do
  def initialize(app) = @app = app

  def call(env)
    $crash ||= Thread.new { sleep 5; Process.kill(:KILL, Process.ppid) }
    @app.call(env)
  end
end)
"""
"""Ends unicorn's master 5 s after a worker's first answer."""


def test_an_application_that_answers_once_and_crashes_is_taken_back(host: Rig, tmp_path: Path) -> None:
    before = state(host, MIGRATE_UNIT, "MainPID")
    going = Going(host, tmp_path / "crash.log", TO_THE_CUTOVER)
    rackup = f"{PROD}/current/config.ru"
    with unharmed(host, tmp_path):
        going.begin()
        breaker = as_soon_as(
            [going],
            lambda line: line["kind"] == "proof" and "DEP-1" in line["statements"],
            lambda: on_the_host(host, f"cp {rackup} {rackup}.whole; cat >>{rackup} <<'END'\n{CRASH}\nEND"),
        )
        run = answer_of(going)
        breaker.join(10)
    on_the_host(host, f"mv {rackup}.whole {rackup}")
    step = step_of(run, "UNIT-5/cutover")
    assert (run.code, step.result) == (Exit.ROLLED_BACK, "rolled back")
    assert "answered, and its process did not stay for 15 s" in step.reason
    assert state(host, MIGRATE_UNIT, "MainPID") == before != "0"
    assert "x-hkn-stage: migrate" in host.lab.app.run(ASK).stdout.lower()
    assert state(host, APP_UNIT) in {"inactive", "failed"}


@dataclass(frozen=True)
class Deployed:
    """A run in whose cutover somebody else deployed: what it said, what they saw, and the old unit's main process."""

    run: Answer
    theirs: str
    main: tuple[str, str]


@pytest.fixture(scope="module")
def deployed(host: Rig, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """Somebody deploys as soon as the new application answers beside the old one; it is looked at for 15 s then."""
    before, theirs = state(host, MIGRATE_UNIT, "MainPID"), list[str]()

    def deploy() -> None:
        host.lab.app.wait_until(f"curl -s -m 2 -o /dev/null --unix-socket {SOCKETS}/.prod.next http://x/", timeout=200)
        try:
            deploy_of_somebody_else(host)
            theirs.append("it went through")
        except LabError as problem:
            theirs.append(str(problem))

    somebody = Thread(target=deploy, daemon=True)
    with unharmed(host, tmp_path_factory.mktemp("deployed")):
        somebody.start()
        run = host.remediate(*TO_THE_CUTOVER)
        somebody.join(120)
    print(theirs)
    return Deployed(run, theirs[0], (before, state(host, MIGRATE_UNIT, "MainPID")))


def test_a_deploy_by_somebody_else_in_the_middle_of_a_cutover_takes_it_back(host: Rig, deployed: Deployed) -> None:
    step = step_of(deployed.run, "UNIT-5/cutover")
    assert (step.result, deployed.run.code) == ("rolled back", Exit.ROLLED_BACK)
    # One that did not come to its end is a failing statement besides.
    assert deployed.theirs == "it went through" or "was cut off half-way" in deployed.run.messages("DEP-1")
    assert deployed.main[0] == deployed.main[1] != "0"
    assert "x-hkn-stage: migrate" in host.lab.app.run(ASK).stdout.lower()


def test_a_cutover_that_a_deploy_takes_back_says_so(deployed: Deployed) -> None:
    assert "release" in step_of(deployed.run, "UNIT-5/cutover").reason


@contextmanager
def at_a_terminal(*arguments: str) -> Iterator[int]:
    """A run without ``--yes`` at a terminal of its own; what it says and hears goes through the descriptor."""
    ours, theirs = os.openpty()

    words = ["setsid", "--ctty", sys.executable, "-m", "pytest", "verify/", "--remediate", *arguments]
    with subprocess.Popen(
        words, cwd=TOP, env=environment(os.environ.items()), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        try:
            yield ours
        finally:
            process.kill()
            os.close(ours)


def heard(terminal: int, words: str = "") -> str:
    """What is said until those words, or to the end."""
    said = b""
    with suppress(OSError):  # the end of a terminal that nobody has open any more
        while not (words and words.encode() in said):
            if not (piece := os.read(terminal, 4096)):
                break
            said += piece
    text = said.decode(errors="replace").replace("\r\n", "\n")
    print(text)
    return text


def test_a_unit_that_is_stopped_while_the_plan_is_read_makes_another_plan(host: Rig, tmp_path: Path) -> None:
    with (
        unharmed(host, tmp_path, pages=False) as probe,
        at_a_terminal("--target", host.target, *TO_THE_CUTOVER) as terminal,
    ):
        first = heard(terminal, "Do this? [y/N]")
        stopped = time.time()
        on_the_host(host, f"systemctl --user stop {MIGRATE_UNIT}")
        os.write(terminal, b"y\n")
        second = heard(terminal, "Do this? [y/N]")
        os.write(terminal, b"y\n")
        rest = heard(terminal)
    assert f"UNIT-5/cutover at vampires: start {APP_UNIT} beside {MIGRATE_UNIT}" in first
    assert "the hosts changed while you were asked; this is the plan now:" in second
    assert f"start {APP_UNIT}, which does not run" in second
    host.folders += [Path(path) for path in WRITTEN.findall(rest)]
    _, record = report_of(rest)
    assert record
    assert record.exit_code == Exit.HOLDS
    # A slow page lasts 2 s: the stop cuts off those that were being answered.
    assert lost(probe[0], [(stopped - 2.0, record.started + record.seconds)]) == []
    assert "x-hkn-stage: prod" in host.lab.app.run(ASK).stdout.lower()


WRONG_DATE = '#!/bin/sh\nexec /usr/bin/date -d "+1 hour" "$@"\n'
BASHRC = f"{HOME}/.bashrc"


@contextmanager
def clock_ahead(rig: Rig) -> Iterator[None]:
    """For all that logs in as the account it is an hour later: a host of the lab has this machine's own clock."""
    on_the_host(rig, f"mkdir {HOME}/.wrong")
    rig.lab.app.write(f"{HOME}/.wrong/date", WRONG_DATE, mode=0o755, owner=OWNER)
    on_the_host(
        rig,
        f"touch {BASHRC}; cp {BASHRC} {HOME}/.wrong/bashrc; "
        f"(echo 'export PATH={HOME}/.wrong:$PATH'; cat {HOME}/.wrong/bashrc) >{BASHRC}",
    )
    try:
        yield
    finally:
        on_the_host(rig, f"cat {HOME}/.wrong/bashrc >{BASHRC}")


def test_a_host_whose_clock_is_an_hour_ahead_is_led_over_all_the_same(host: Rig, tmp_path: Path) -> None:
    on_the_host(host, GO_BACK)
    with clock_ahead(host), unharmed(host, tmp_path):
        run = host.remediate(*TO_THE_CUTOVER)
        words = [sys.executable, "-m", "cli", "runs", "--target", host.target]
        runs = subprocess.run(words, cwd=TOP, capture_output=True, text=True, timeout=60, check=True).stdout
    assert run.code == Exit.HOLDS
    assert step_of(run, "UNIT-5/cutover").result == "done"
    assert run.record
    story = parse(run.record.id, "\n".join(lines_of(runs_of(host.lab) / run.record.id / "journal.jsonl")))
    ahead = [entry.at - story.entries[0].at for entry in story.entries if "rc" in entry.data and "reason" not in entry.data]
    assert max(ahead) > 3600, "the host's own lines have its time"
    assert "no run is in progress" in runs
