"""A whole migration while the web server's configuration is rebuilt, and its way back: the site is the migrate deployment's
again, and nobody noticed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from converge.checking.record import Probe
from converge.errors import Exit
from tests.chaos.trial import asked, damage, lost
from tests.live.rig import TOP, Answer, Rig, environment
from tests.live.snapshots import Snapshot, kept_data, neighbours
from tests.live.test_cutover import ASK, cutover_of, disturb, rebuilds, rebuilt


@dataclass(frozen=True)
class Story:
    """A run, its way back as the terminal had it, what visitors saw meanwhile, and a check afterwards."""

    run: Answer
    rebuilt: int
    code: int
    said: str
    probe: Probe
    served: str
    check: Answer
    before: tuple[Snapshot, Snapshot]


@pytest.fixture(scope="module")
def story(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """There and back again, on one host."""
    rig.enter("migrated")
    before = (neighbours(rig.lab), kept_data(rig.lab))
    thread = disturb(rig, rebuilds("prod"))
    run = rig.remediate()
    thread.join(10)
    assert run.folder
    # Whoever takes it back may sit at another machine, which has nothing of the run but what is on the hosts.
    shutil.rmtree(run.folder)
    home = tmp_path_factory.mktemp("home")
    desk = environment(os.environ.items()) | {"HOME": str(home), "XDG_STATE_HOME": f"{home}/.local/state"}
    with asked(rig, tmp_path_factory.mktemp("asked")) as probe:
        done = subprocess.run(
            [sys.executable, "-m", "cli", "rollback", run.folder.name, "--target", rig.target, "--yes"], cwd=TOP,
            env=desk, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=400, check=False,
        )  # fmt: skip
    print(done.stdout)
    served = rig.lab.app.run(ASK).stdout.lower()
    return Story(run, rebuilt(rig), done.returncode, done.stdout, probe[0], served, rig.check(), before)


def test_no_page_was_lost_on_the_way_there_though_the_web_servers_configuration_was_rebuilt(story: Story) -> None:
    assert story.rebuilt == 2
    assert "switch: " in cutover_of(story.run).sentence
    assert story.run.record
    assert story.run.record.probe
    assert story.run.record.probe.failed == 0


def test_the_migrate_deployment_serves_again(story: Story) -> None:
    assert story.run.code == Exit.HOLDS
    # The deploy wrote Solr's PID file anew after a step had: what was changed since stays, and that is said.
    assert story.code == Exit.STATE_MOVED
    assert [line for line in story.said.splitlines() if line.endswith("was changed since: left as it is")]
    assert "x-hkn-stage: migrate" in story.served
    assert story.check.record
    assert story.check.record.situation == "migrated"
    assert "UNIT-5" in story.check.failing


def test_no_page_was_lost_on_the_way_back(story: Story) -> None:
    assert story.probe.sent > story.probe.ended - story.probe.started, "less than a page a second was asked for"
    assert lost(story.probe, []) == []


def test_it_says_beforehand_what_stays(story: Story) -> None:
    first = story.said.partition("\nstep ")[0]
    assert "STAYS: " in first
    assert "Database migrations that it ran are not taken back" in first


def test_neighbours_data_and_journals_are_in_order(rig: Rig, story: Story) -> None:
    assert damage(rig.lab, story.before, renewed=False) == []


def test_the_run_is_told_as_taken_back(rig: Rig, story: Story) -> None:
    assert story.run.folder
    name = Path(story.run.folder).name
    done = subprocess.run(
        [sys.executable, "-m", "cli", "runs", "--target", rig.target], cwd=TOP, env=environment(os.environ.items()),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(name)]
    assert "taken back" in line
    assert "no run is in progress" in done.stdout
