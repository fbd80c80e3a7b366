"""The cutover where the web server asks the bound socket itself, as the real one does: taken back by the host when it is
stopped in the middle, done on the second try without losing a page, and what later happens to such a unit."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Thread

import pytest

from bench.cutover import needed
from converge.errors import Exit
from converge.record import Record, StepRecord
from converge.report.summary import led
from lab.connection import SITE
from lab.payload.places import APP_UNIT, LOGROTATE_TIMER, LOGROTATE_UNIT, MIGRATE_UNIT, SOCKETS, USER
from tests.live.rig import Answer, Rig

ASK = f"curl -sk -m 5 -o /dev/null -D - --resolve {SITE}:443:127.0.0.1 https://{SITE}/ | tr -d '\\r'"
"""Prints the headers of the site's answer, asked through the web server as a visitor does."""


@dataclass(frozen=True)
class Story:
    """What was seen: cutovers that were killed and stopped, who served after each, and one that went through."""

    killed: Answer
    served_after_kill: str
    stopped: Answer
    served: str
    timer: str
    done: Answer


def cutover_of(answer: Answer) -> StepRecord:
    """The record of the step."""
    assert answer.record
    return next(step for step in answer.record.steps if step.id == "UNIT-5/cutover")


def led_over_once(record: Record) -> None:
    """The site passed from one unit to the other, as its host noted, when visitors saw the release change."""
    assert record.probe
    (_, was), (seen, now) = record.probe.answered_by
    (_, old), (noted, new) = led(record.steps)
    assert (old, new) == (f"{MIGRATE_UNIT}, release {was}", f"{APP_UNIT}, release {now}")
    assert abs(seen - noted) < 1


def state(rig: Rig, unit: str, name: str = "ActiveState") -> str:
    """A property of a unit."""
    return rig.lab.app.run(f"systemctl --user show {unit} -p {name} | cut -d= -f2-", user=USER).stdout.strip()


def disturb(rig: Rig, deed: str, user: str | None = None) -> Thread:
    """Do something on the app host as soon as the new application answers beside the old one."""

    def wait_and_do() -> None:
        rig.lab.app.wait_until(
            f"curl -s -m 2 -o /dev/null --unix-socket {SOCKETS}/.prod.next http://x/", user=USER, timeout=300
        )
        rig.lab.app.run(deed, user=user)

    thread = Thread(target=wait_and_do, daemon=True)
    thread.start()
    return thread


@pytest.fixture(scope="module")
def story(rig: Rig) -> Story:
    """One host for all the tests below, which go on from each other."""
    rig.enter("migrated-direct")
    thread = disturb(rig, "systemctl --user kill --signal=KILL 'hkn-migration-*.service'", USER)
    killed = rig.remediate("--id", ",".join([*needed("UNIT-5"), "UNIT-5"]))
    thread.join(10)
    served_after_kill = rig.lab.app.run(ASK).stdout.lower()
    thread = disturb(rig, "systemctl --user stop --no-block 'hkn-migration-*.service'", USER)
    stopped = rig.remediate("--id", "UNIT-5")
    thread.join(10)
    served, timer = rig.lab.app.run(ASK).stdout.lower(), state(rig, LOGROTATE_TIMER)
    thread = disturb(rig, "systemctl reload nginx")
    done = rig.remediate("--id", "UNIT-5,SOCK-3,UNIT-3,UNIT-4")
    thread.join(10)
    return Story(killed, served_after_kill, stopped, served, timer, done)


def test_a_cutover_that_somebody_kills_is_put_back_by_the_manager(story: Story) -> None:
    step = cutover_of(story.killed)
    assert step.result == "rolled back"
    assert "killed" in step.reason
    assert story.killed.code == Exit.ROLLED_BACK
    assert "x-hkn-stage: migrate" in story.served_after_kill
    assert [who.partition(",")[0] for _, who in step.led] == [MIGRATE_UNIT] * len(step.led) != []
    assert story.killed.record
    assert story.killed.record.probe
    assert story.killed.record.probe.failed == 0


def test_a_cutover_that_somebody_stops_puts_back_what_served(story: Story) -> None:
    step = cutover_of(story.stopped)
    assert step.result == "rolled back"
    assert "stopped" in step.reason
    assert story.stopped.code == Exit.ROLLED_BACK
    assert "x-hkn-stage: migrate" in story.served
    assert story.timer == "active"
    assert story.stopped.record
    assert story.stopped.record.probe
    assert story.stopped.record.probe.failed == 0


def test_the_next_one_renames_and_loses_nothing_though_the_web_server_is_reloaded(story: Story) -> None:
    assert story.done.code == Exit.HOLDS
    assert "rename: " in cutover_of(story.done).sentence
    assert cutover_of(story.done).confirmed == "confirmed over a new connection"
    assert story.done.record
    probe = story.done.record.probe
    assert probe
    assert (probe.failed, probe.searches_failed, probe.saves_failed) == (0, 0, 0)
    led_over_once(story.done.record)


def serves_again(rig: Rig, deed: str) -> str:
    """Do something, and wait until the site answers again; the unit's main process."""
    rig.lab.app.run(deed, user=USER)
    rig.lab.app.wait_until(f"{ASK} | grep -qi '^x-hkn-stage: prod'", timeout=60)
    return state(rig, APP_UNIT, "MainPID")


@pytest.mark.usefixtures("story")
def test_a_reload_of_the_renamed_master_changes_nothing(rig: Rig) -> None:
    main = state(rig, APP_UNIT, "MainPID")
    for signal in ("HUP", "USR2"):
        rig.lab.app.run(f"kill -{signal} {main}", user=USER)
        time.sleep(3)
        assert "x-hkn-stage: prod" in rig.lab.app.run(ASK).stdout.lower(), signal
    assert state(rig, APP_UNIT, "MainPID") == main


@pytest.mark.usefixtures("story")
def test_a_log_rotation_finds_the_site_answering_again(rig: Rig) -> None:
    before = state(rig, APP_UNIT, "MainPID")
    assert serves_again(rig, f"systemctl --user start {LOGROTATE_UNIT}") != before
    assert state(rig, LOGROTATE_UNIT, "Result") == "success"


@pytest.mark.usefixtures("story")
def test_a_restart_finds_the_site_answering_again(rig: Rig) -> None:
    before = state(rig, APP_UNIT, "MainPID")
    assert serves_again(rig, f"systemctl --user restart {APP_UNIT}") != before


@pytest.mark.usefixtures("story")
def test_a_reboot_finds_the_site_answering_again_by_the_new_unit(rig: Rig) -> None:
    rig.lab.reboot(rig.lab.app.name)
    main = serves_again(rig, "true")
    assert f"/{APP_UNIT}" in rig.lab.app.run(f"cat /proc/{main}/cgroup").stdout
    assert state(rig, MIGRATE_UNIT, "LoadState") == "not-found"
