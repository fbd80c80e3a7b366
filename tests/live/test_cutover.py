"""The cutover where the web server asks the bound socket itself, as the real one does: taken back by the host when it is
stopped in the middle, done the brief way when that is asked for, done without losing a page, and what later happens to such
a unit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread

import pytest

from bench.cutover import GO_BACK, needed
from converge.checking.record import Record, StepRecord
from converge.errors import Exit
from converge.report.summary import downtime, led
from lab.connection import SITE
from lab.payload.places import APP_UNIT, LOGROTATE_TIMER, LOGROTATE_UNIT, MIGRATE_UNIT, SOCKETS, USER, VHOSTS
from tests.live.faulting import planned_wrongly
from tests.live.rig import Answer, Rig

ASK = f"curl -sk -m 5 -o /dev/null -D - --resolve {SITE}:443:127.0.0.1 https://{SITE}/ | tr -d '\\r'"
"""Prints the headers of the site's answer, asked through the web server as a visitor does."""

TO_THE_CUTOVER = ("--id", ",".join([*needed("UNIT-5"), "UNIT-5"]))
THE_CUTOVER = ("--id", "UNIT-5,SOCK-3,UNIT-3,UNIT-4")
SLOW_HERE = 10.0
"""So many seconds longer than a plan says a brief cutover may take on a machine that is busy with two hosts."""

VHOST = """
server {
    listen 80;
    server_name "%s";

    location / {
        proxy_pass http://unix:/srv/apps/otherorg/otherorg.sock;
    }
}
"""


def rebuilds(stage: str) -> str:
    """Shell for root that builds the web server's configuration anew and lets it be read, as the hoster's tooling does when
    a group's site comes: at once, and again as soon as that stage serves.
    """
    return f"""
set -e
rebuild() {{
  new=$(mktemp "$(dirname {VHOSTS})/.virtualXXXXXX")
  {{ cat {VHOSTS}; printf '{VHOST}' "$1"; }} >"$new"
  chmod 644 "$new"
  mv -fT "$new" {VHOSTS}
  nginx -t
  systemctl reload nginx
}}
rebuild rebuilt-once.berkeley.edu
until {ASK} | grep -qi '^x-hkn-stage: {stage}'; do sleep 0.1; done
rebuild rebuilt-twice.berkeley.edu
"""


def rebuilt(rig: Rig) -> int:
    """How often it was."""
    return int(rig.lab.app.run(f"grep -c 'rebuilt-' {VHOSTS} || true").stdout)


@dataclass(frozen=True)
class Story:
    """What was seen: cutovers that were killed and stopped, who served after each, a brief one, and one that went through;
    what was planned before the first and the last.
    """

    planned: Answer
    killed: Answer
    served_after_kill: str
    stopped: Answer
    served: str
    timer: str
    brief: Answer
    served_after_brief: str
    units_after_brief: tuple[str, str]
    planned_again: Answer
    done: Answer
    rebuilt: int


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
        rig.lab.app.run(deed, user=user, timeout=200)

    thread = Thread(target=wait_and_do, daemon=True)
    thread.start()
    return thread


@pytest.fixture(scope="module")
def story(rig: Rig) -> Story:
    """One host for all the tests below, which go on from each other."""
    rig.enter("migrated-direct")
    planned = rig.check("--plan", *TO_THE_CUTOVER)
    thread = disturb(rig, "systemctl --user kill --signal=KILL 'hkn-migration-*.service'", USER)
    killed = rig.remediate(*TO_THE_CUTOVER)
    thread.join(10)
    served_after_kill = rig.lab.app.run(ASK).stdout.lower()
    thread = disturb(rig, "systemctl --user stop --no-block 'hkn-migration-*.service'", USER)
    stopped = rig.remediate("--id", "UNIT-5")
    thread.join(10)
    served, timer = rig.lab.app.run(ASK).stdout.lower(), state(rig, LOGROTATE_TIMER)
    brief = rig.remediate("--id", "UNIT-5", "--brief")
    served_after_brief = rig.lab.app.run(ASK).stdout.lower()
    units_after_brief = (state(rig, APP_UNIT), state(rig, MIGRATE_UNIT))
    rig.lab.app.run(GO_BACK, user=USER, timeout=120)
    # The link of the other variant.
    rig.lab.app.run(["rm", f"{SOCKETS}/hkn.sock"], user=USER)
    planned_again = rig.check("--plan", *THE_CUTOVER)
    thread = disturb(rig, rebuilds("prod"))
    done = rig.remediate(*THE_CUTOVER)
    thread.join(10)
    return Story(
        planned, killed, served_after_kill, stopped, served, timer, brief, served_after_brief, units_after_brief,
        planned_again, done, rebuilt(rig),
    )  # fmt: skip


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


def test_the_brief_way_is_taken_when_it_is_asked_for_and_costs_what_the_plan_said(story: Story) -> None:
    assert story.brief.code == Exit.HOLDS
    step = cutover_of(story.brief)
    assert (step.result, step.confirmed) == ("done", "confirmed over a new connection")
    assert "(brief: --brief asks for it)" in step.sentence
    assert step.interrupts
    for words in ("the site does not answer for about {:g} s", "[interrupts service for about {:g} s]"):
        assert words.format(step.interrupts) in story.brief.out.partition("\nUNIT-5/cutover at ")[0]
    assert story.brief.record
    probe = story.brief.record.probe
    assert probe
    assert 0 < probe.longest_gap <= step.interrupts + SLOW_HERE
    assert downtime(probe) in story.brief.out
    end = step.started + step.seconds
    assert probe.outages, "nobody noticed: was it brief at all?"
    assert [o for o in probe.outages if not (step.started <= o.start <= o.end <= end)] == []


def test_after_the_brief_way_the_new_unit_serves_alone(story: Story) -> None:
    assert "x-hkn-stage: prod" in story.served_after_brief
    assert story.units_after_brief == ("active", "inactive")
    assert story.brief.record
    assert story.brief.record.probe
    assert len(story.brief.record.probe.answered_by) == 2


def test_the_next_one_renames_and_loses_nothing_though_the_web_servers_configuration_is_rebuilt(story: Story) -> None:
    assert story.rebuilt == 2
    assert story.done.code == Exit.HOLDS
    assert "rename: " in cutover_of(story.done).sentence
    assert cutover_of(story.done).confirmed == "confirmed over a new connection"
    assert story.done.record
    probe = story.done.record.probe
    assert probe
    assert (probe.failed, probe.searches_failed, probe.saves_failed) == (0, 0, 0)
    led_over_once(story.done.record)


def test_each_run_did_what_the_plan_before_it_said(story: Story) -> None:
    for plan, run in ((story.planned, story.killed), (story.planned_again, story.done)):
        assert plan.record
        assert "UNIT-5/cutover" in {step.id for step in plan.record.steps if step.result == "planned"}
        assert planned_wrongly(plan, run) == []
    assert "DEP-1/deploy" in story.killed.acted
    assert "UNIT-5/cutover" in story.done.acted


@pytest.mark.usefixtures("story")
def test_a_reload_of_the_renamed_master_changes_nothing(rig: Rig) -> None:
    main = state(rig, APP_UNIT, "MainPID")
    for signal in ("HUP", "USR2"):
        rig.lab.app.run(f"kill -{signal} {main}", user=USER)
        time.sleep(3)
        assert "x-hkn-stage: prod" in rig.lab.app.run(ASK).stdout.lower(), signal
    assert state(rig, APP_UNIT, "MainPID") == main


LATER: dict[str, Callable[[Rig], object]] = {
    "log rotation": lambda rig: rig.lab.app.run(f"systemctl --user start {LOGROTATE_UNIT}", user=USER),
    "restart": lambda rig: rig.lab.app.run(f"systemctl --user restart {APP_UNIT}", user=USER),
    "reboot": lambda rig: rig.lab.reboot(rig.lab.app.name),
}
"""What happens to a site in the months after."""


def assert_answers_after(rig: Rig, deed: str) -> None:
    """Do it, and the site answers again through the web server, by the new unit, started anew."""
    before = state(rig, APP_UNIT, "InvocationID")
    LATER[deed](rig)
    rig.lab.app.wait_until(f"{ASK} | grep -qi '^x-hkn-stage: prod'", timeout=60)
    assert state(rig, APP_UNIT, "InvocationID") != before
    main = state(rig, APP_UNIT, "MainPID")
    assert f"/{APP_UNIT}" in rig.lab.app.run(f"cat /proc/{main}/cgroup").stdout
    assert state(rig, LOGROTATE_UNIT, "Result") == "success"
    assert state(rig, MIGRATE_UNIT, "LoadState") == "not-found"


@pytest.mark.usefixtures("story")
@pytest.mark.parametrize("deed", LATER)
def test_what_comes_later_finds_the_site_answering_again(rig: Rig, deed: str) -> None:
    assert_answers_after(rig, deed)
