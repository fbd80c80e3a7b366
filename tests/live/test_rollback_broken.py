"""A rollback when the application that was led over to is broken: what it is there for."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from converge.errors import Exit
from lab.payload.places import APP_UNIT, MIGRATE_UNIT, USER
from tests.live.rig import TOP, Answer, Rig, environment
from tests.live.test_cutover import ASK


@dataclass(frozen=True)
class Story:
    """A run, and its way back as the terminal had it."""

    run: Answer
    code: int
    said: str
    served: str
    units: str


@pytest.fixture(scope="module")
def story(rig: Rig) -> Story:
    """The site is led over, hkn-rails cannot run any more, and an officer takes the run back."""
    rig.enter("migrated")
    run = rig.remediate()
    assert run.folder
    rig.lab.app.run(["systemctl", "--user", "stop", APP_UNIT], user=USER)
    rig.lab.app.wait_until(f"! {ASK} | head -n 1 | grep -q ' 200'")
    done = subprocess.run(
        [sys.executable, "-m", "cli", "rollback", run.folder.name, "--target", rig.target, "--yes"], cwd=TOP,
        env=environment(os.environ.items()), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=400, check=False,
    )  # fmt: skip
    print(done.stdout)
    served = rig.lab.app.run(ASK).stdout.lower()
    units = rig.lab.app.run(["systemctl", "--user", "is-active", APP_UNIT, MIGRATE_UNIT], user=USER, check=False).stdout
    return Story(run, done.returncode, done.stdout, served, units)


def test_the_migrate_deployment_serves_again(story: Story) -> None:
    assert story.run.code == Exit.HOLDS
    assert "x-hkn-stage: migrate" in story.served
    assert story.units.split() == ["inactive", "active"]


def test_it_says_what_stays_and_since_when_the_site_answers(story: Story) -> None:
    # The deploy wrote Solr's PID file anew after a step had: what was changed since stays.
    assert story.code == Exit.STATE_MOVED, story.said
    assert "The site led to nobody until" in story.said
    assert f"to {MIGRATE_UNIT}, release" in story.said
