"""What was started by hand and serves the site is handed over as a unit is; but no tool starts it again."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converge.acting.executor import host_fence
from converge.steps import ByHand, RemedyContext, Run, Signal, Step
from converge.steps.compile import compile_step
from facts.host import memory
from facts.host.memory import Room
from facts.host.processes import Process
from facts.prelude import prelude
from facts.units import states
from remediate import sockets as mend_sockets
from remediate import units as mend_units
from remediate.cutover import steps as cutover_steps
from remediate.cutover.shell import by_hand
from tests.remediate.cutover.site import NEW, UNDER_LOCK, Site
from tests.remediate.cutover.test_killed import asked
from tests.remediate.test_services import INV, MASTERS, OURS, SOCKETS, steps
from tests.targets import ask, inventory

needs_tools = pytest.mark.skipif(
    not all(shutil.which(name) for name in ("ss", "curl", "flock", "setsid")), reason="needs ss, curl, flock and setsid"
)

Make = Callable[..., "StartedByHand"]


class StartedByHand(Site):
    """The old application was started from a login; no unit knows it."""

    hand: subprocess.Popen[bytes]

    def serve(self, cmdline: str = "unicorn_rails") -> None:
        """Start it, and tell the program of it what the plan saw."""
        env = {**self.env, "NAME": "old"}
        (self.top / "old/run").chmod(0o755)
        words = ["setsid", "env", "--default-signal=INT,QUIT", "/bin/bash", "./run"]
        with (self.top / "app.log").open("ab") as log:
            self.hand = subprocess.Popen(words, cwd=self.top / "old", env=env, stdout=log, stderr=log)
        self.until(lambda: self.ask() == "old")
        pid = int((self.top / "pids/unicorn.pid").read_text())
        assert pid == self.hand.pid
        started = int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19])
        self.words = by_hand([Process(pid, started, 1.0, "", str(self.top / "old"), "", cmdline)])
        self.olds, self.gated = f"process-{pid}", False

    @property
    def lives(self) -> bool:
        return self.hand.poll() is None

    def close(self) -> None:
        super().close()
        if self.lives:
            self.hand.kill()
        self.hand.wait()
        for found in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (found / "cwd").readlink().is_relative_to(self.top):
                    os.kill(int(found.name), signal.SIGKILL)

    def err(self) -> str:
        return (self.top / "N.err").read_text()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[StartedByHand] = []

    def build(way: str, cmdline: str = "unicorn_rails", **settings: float) -> StartedByHand:
        site = StartedByHand(tmp_path, way == "switch", **settings)  # type: ignore[arg-type]  # only numbers are given
        made.append(site)
        site.serve(cmdline)
        return site

    yield build
    for site in made:
        site.close()


def confirm(site: Site, word: str) -> None:
    site.until(lambda: asked(site))
    (site.top / f"1.{word}").write_text(f"{word}\n")


@needs_tools
@pytest.mark.parametrize("way", ["switch", "rename"])
def test_it_serves_until_the_unit_does_and_then_it_ends(make: Make, way: str) -> None:
    site = make(way)
    site.begin(way)
    with site.watched():
        site.until(lambda: asked(site))
        assert site.lives, "it waits to be confirmed"
        confirm(site, "yes")
        assert site.end() == 0, site.log()
    assert site.seen == ["old", "new"]
    assert site.hand.wait(5) is not None
    assert site.led() == [f"process-{site.hand.pid}, release old", f"{NEW}, release new"]
    assert not site.old_name.exists()
    assert (site.top / "pids/unicorn.pid").read_text() == f"{site.main(NEW)}\n"


@needs_tools
@pytest.mark.parametrize("how", ["no", "kill", "broken"])
def test_it_goes_on_serving_where_the_unit_does_not_prove_itself(make: Make, how: str) -> None:
    site = make("rename")
    if how == "broken":
        (site.top / "new/run").write_text("#!/bin/bash\nexit 1\n# unicorn_rails -c ./unicorn.rb\n")
        (site.top / f"units/{NEW}.restarts").write_text("3\n")
    site.begin("rename")
    with site.watched():
        if how == "kill":
            site.until(lambda: asked(site))
            site.signal(signal.SIGKILL)
            site.end()
            assert site.after() == 81, site.log()
        else:
            if how == "no":
                confirm(site, "no")
            assert site.end() == 81, site.log()
    assert set(site.seen) <= {"old", "new"}
    assert (site.ask(), site.lives, site.main(NEW)) == ("old", True, 0), site.log()
    assert (site.top / "pids/unicorn.pid").read_text() == f"{site.hand.pid}\n"
    assert not list((site.top / "run/systemd/user").glob("*/*.conf")), "no gate where there was none"
    assert not {path.name for path in site.sockets.iterdir()} - {"prod.sock", ".attic"}


@needs_tools
def test_one_that_the_plan_did_not_see_is_not_ended(make: Make) -> None:
    site = make("rename", cmdline="unicorn_rails master of somebody else")
    site.begin("rename")
    confirm(site, "yes")
    assert site.end() == 70, site.log()
    assert f"process-{site.hand.pid} could not be stopped" in site.err()
    assert (site.ask(), site.lives) == ("new", True)


@needs_tools
def test_one_that_has_ended_is_not_started_again_and_it_is_said_what_to_type(make: Make) -> None:
    site = make("rename", confirm=20.0)
    site.begin("rename")
    site.until(lambda: asked(site))
    site.hand.kill()
    site.hand.wait()
    site.kill(NEW)
    assert site.end() == 70, site.log()
    assert site.main(NEW) == 0
    typed(site, "has ended; to start it again, type on ")


@needs_tools
@pytest.mark.parametrize("linked", [True, False])
def test_where_it_cannot_stay_beside_it_ends_and_the_unit_starts_in_one_program(make: Make, linked: bool) -> None:
    site = make("switch" if linked else "rename")
    site.begin("start")
    assert site.end() == 0, site.log()
    assert (site.ask(), site.lives) == ("new", False)
    assert site.led() == [f"process-{site.hand.pid}, release old", "nobody", f"{NEW}, release new"]
    assert site.systemctl("show", "rotation.timer", "-p", "ActiveState") == "ActiveState=active"


@needs_tools
def test_a_unit_that_does_not_come_up_in_its_place_is_left_to_the_manager_and_it_is_said_what_to_type(make: Make) -> None:
    site = make("rename")
    (site.top / "new/sick.new").write_text("")
    (site.top / f"units/{NEW}.restarts").write_text("3\n")
    site.begin("start")
    assert site.end() == 70, site.log()
    assert site.main(NEW), "it may be mended where it runs"
    typed(site, "let serve again what did, and type on ")


@needs_tools
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_one_that_is_stopped_or_killed_between_lets_the_unit_start_all_the_same(make: Make, how: signal.Signals) -> None:
    site = make("rename")
    site.env["BOOT"] = "1"
    calls = site.top / "units/calls"
    site.begin("start")
    site.until(lambda: not site.lives)
    site.signal(how)
    site.end()
    assert how is signal.SIGTERM or f"start {NEW}" not in calls.read_text(), "it was too late for this test"
    put_back = site.after()
    site.until(lambda: site.ask() == "new")
    assert f"start {NEW}" in calls.read_text()
    assert put_back == (70 if how is signal.SIGKILL else 0), site.log()
    assert site.phase() == ""
    assert site.systemctl("show", "rotation.timer", "-p", "ActiveState") == "ActiveState=active"


@needs_tools
def test_one_that_is_stopped_before_it_wrote_down_that_it_gave_the_signal_starts_the_unit(make: Make) -> None:
    site = make("rename")
    text = site.program("start").replace("  enter over ||", "  sh -c 'kill -s TERM $PPID'\n  enter over ||")
    assert "$PPID" in text
    (site.top / "1.sh").write_text(text)
    site.go(UNDER_LOCK)
    assert site.end() == 70, site.log()
    assert "it was stopped by a signal; mend that" in site.err()
    site.until(lambda: site.ask() == "new")


@needs_tools
def test_where_the_unit_cannot_be_started_after_what_served_has_ended_it_is_said_what_to_type(make: Make) -> None:
    site = make("rename")
    text = site.program("start").replace('  unit start "$NEW" ||', '  cv_moved "a job is queued" ||')
    assert "a job is queued" in text
    (site.top / "1.sh").write_text(text)
    site.go(UNDER_LOCK)
    assert site.end() == 70, "it is not refused, as what served has ended"
    assert site.err().count("type on ") == 1
    site.until(lambda: site.ask() == "new")


@needs_tools
def test_a_unit_that_is_active_and_does_not_serve_is_restarted_for_one_that_was_killed(make: Make) -> None:
    site = make("rename")
    site.env["BOOT"] = "4"
    site.systemctl("start", NEW)
    site.until(lambda: site.main(NEW) != 0)
    first = site.main(NEW)
    text = site.program("start").replace("within 20 serves_at", "within 1 serves_at")
    (site.top / "1.sh").write_text(text)
    site.hand.kill()
    site.hand.wait()
    (site.top / "run/hkn-migration-R1-1.phase").write_text(f"over active {first}\n")
    assert site.after() == 70, site.log()
    assert site.main(NEW) not in {0, first}
    site.until(lambda: site.ask() == "new")


@needs_tools
def test_one_that_was_killed_before_it_told_what_serves_to_end_leaves_that_alone(make: Make) -> None:
    site = make("rename")
    text = re.sub(r"STOP_TIMEOUT=\d+", "STOP_TIMEOUT=1", site.program("start"))
    (site.top / "1.sh").write_text(text)
    (site.top / "run/hkn-migration-R1-1.phase").write_text("ending active 0\n")
    assert site.after() == 70, site.log()
    assert (site.ask(), site.lives, site.main(NEW)) == ("old", True, 0)
    assert "it was killed\n" in site.err()


@needs_tools
def test_one_that_is_not_as_planned_is_left_and_the_unit_does_not_start(make: Make) -> None:
    site = make("rename", cmdline="unicorn_rails master of somebody else")
    site.begin("start")
    assert site.end() == 75, site.log()
    assert (site.ask(), site.lives, site.main(NEW)) == ("old", True, 0)


def typed(site: StartedByHand, after: str) -> None:
    """What a person is told to type makes the old application serve."""
    line = site.err().partition(after)[2].partition(": ")[2].splitlines()[0]
    assert line.endswith(" 2>&1 &")
    subprocess.run(["/bin/bash", "-c", line], env={**site.env, "NAME": "old"}, check=True)
    site.until(lambda: site.ask() == "old")


RELEASES = f"{INV.stages.root}/prod/releases"
STRAY = replace(MASTERS.all[0], pid=77, cgroup="/user.slice/session-1.scope", cwd=f"{RELEASES}/1")


def beside_its_unit(stray: Process, **app: Any) -> dict[str, Any]:
    """Readings of a host where `stray` serves, and the app's unit is as `app` says."""
    worker = replace(stray, pid=79, cmdline="unicorn_rails worker[0]")
    (listener,) = SOCKETS.listeners
    seen = replace(SOCKETS, listeners=(replace(listener, pids=(77, 79)),), holders={77: stray, 79: worker})
    ours = replace(OURS, app=replace(OURS.app, **{"active": "inactive", "main_pid": 0, **app}))
    return {"our_units": ours, "masters": replace(MASTERS, all=(stray,)), "sockets": seen}


@pytest.mark.parametrize(
    ("remedy", "app", "id"),
    [
        (mend_units.cutover, {}, "UNIT-5/cutover"),
        (mend_units.cutover, {"active": "activating"}, "UNIT-5/cutover"),
        (mend_sockets.single, {"active": "active"}, "SOCK-3/cutover"),
    ],
)
def test_a_master_that_was_started_by_hand_and_serves_is_handed_over_in_one_step(
    remedy: Callable[[RemedyContext], Iterator[Step]], app: dict[str, Any], id: str, tmp_path: Path
) -> None:
    (step,) = steps(remedy, tmp_path, **beside_its_unit(STRAY, **app))
    assert (step.id, step.interrupts, step.confirm) == (id, None, cutover_steps.CONFIRM)
    assert "beside process 77, lead the site over (switch: " in step.sentence
    assert f"process 77 was started by hand in {STRAY.cwd}" in step.sentence
    assert step.when[-1].test == f'[ "$(started 77)" = {STRAY.started} ]'
    assert step.undo == f"{cutover_steps.NOT_AGAIN}: `systemctl --user stop {INV.app.unit}` ends what serves"
    script = compile_step(step, prelude(INV), host_fence(INV, step.host, "run"), "1")
    ends = f"cv_signal 77 QUIT {STRAY.started} '{STRAY.cmdline}' {STRAY.cwd} {STRAY.cgroup} ;;"
    assert ends in script, "and only after it was confirmed"
    assert subprocess.run(["/bin/sh", "-n"], input=script, text=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("app", "space", "why"),
    [
        ({}, Room(200_000, 300_000), "two copies do not fit"),
        ({"active": "active", "main_pid": 77}, Room(2_000_000, 300_000), f"the manager took it for {INV.app.unit}'s own"),
    ],
)
def test_one_that_cannot_stay_beside_ends_in_the_step_that_starts_the_unit_and_the_plan_says_what_that_costs(
    app: dict[str, Any], space: Room, why: str, tmp_path: Path
) -> None:
    (step,) = steps(mend_units.cutover, tmp_path, **beside_its_unit(STRAY, **app), room=space)
    assert (step.id, step.interrupts, step.confirm) == ("UNIT-5/cutover", cutover_steps.brief_cost(INV), None)
    assert why in step.sentence
    cost = cutover_steps.brief_cost(INV)
    assert f"the site does not answer for about {cost:g} s, and nothing is put back" in step.sentence
    assert step.carries_the_site
    assert step.when[-1].test == f'[ "$(started 77)" = {STRAY.started} ]'


@pytest.mark.parametrize("gate", [True, False])
def test_no_gate_is_closed_where_there_was_none(gate: bool, tmp_path: Path) -> None:
    drop_ins = (OURS.drop_in(OURS.app.name, states.GATE),) if gate else ()
    (step,) = steps(mend_units.cutover, tmp_path, **beside_its_unit(STRAY, drop_ins=drop_ins))
    (act,) = step.acts
    assert isinstance(act, Run)
    assert ("\nGATED=yes\n" in act.script) is gate


def test_a_copy_that_was_started_by_hand_counts_when_room_for_two_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "systemctl").write_text("#!/bin/sh\necho MainPID=0\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    nobody = {"unit": "nobody-has-this.service", "legacy_units": ()}
    inv = inventory(stages={"root": str(tmp_path)}, app=nobody)
    release, below = tmp_path / "prod/releases/1", tmp_path / "prod/releases/1/solr"
    below.mkdir(parents=True)
    for folder, counts in ((tmp_path, False), (below, False), (release, True)):
        with subprocess.Popen(["sleep", "60"], cwd=folder) as process:
            try:
                assert (ask(memory.room, inv).used > 0) is counts, folder
            finally:
                process.kill()


def test_one_that_serves_nobody_ends_by_itself(tmp_path: Path) -> None:
    neighbour = replace(STRAY, pid=78, cwd="/home/h/hk/hkn/hkn-dev")
    found = steps(mend_units.cutover, tmp_path, masters=replace(MASTERS, all=(STRAY, neighbour)))
    assert [step.id for step in found] == ["UNIT-5/end-77", "UNIT-5/cutover"]
    assert found[0].acts == (Signal(77, "QUIT", STRAY.started, STRAY.cmdline, STRAY.cwd, STRAY.cgroup),)
    assert found[0].interrupts is None
    assert [step.carries_the_site for step in found] == [False, True], "nothing rests on a stray that has ended"


MANAGED = replace(STRAY, cgroup="/user.slice/user-5000.slice/user@5000.service/app.slice/other.service")
"""Runs the application as well, and another unit of the account starts it."""


def test_what_another_unit_of_the_account_runs_was_not_started_by_hand(tmp_path: Path) -> None:
    assert (MANAGED.service, STRAY.service) == ("other.service", "")
    of_cron = replace(STRAY, cgroup="/system.slice/cron.service")
    assert (of_cron.unit, of_cron.service) == ("cron.service", "")
    found = steps(mend_units.cutover, tmp_path, masters=replace(MASTERS, all=(MANAGED,)))
    assert [step.id for step in found] == ["UNIT-5/cutover"]
    with pytest.raises(ByHand, match=r"process 77 .* of other\.service in .*: no tool may end what it does not know"):
        steps(mend_units.cutover, tmp_path, **beside_its_unit(MANAGED))
    left = replace(MANAGED, cwd=f"{INV.legacy_stages[0]}/releases/1")
    with pytest.raises(ByHand, match=r"process 77 in .* belongs to other\.service: .* stop and disable that unit yourself"):
        steps(mend_units.retire_legacy, tmp_path, masters=replace(MASTERS, all=(left,)))


def test_what_serves_from_a_legacy_tree_is_not_ended_before_the_unit_serves(tmp_path: Path) -> None:
    stray = replace(STRAY, cwd=f"{INV.legacy_stages[0]}/releases/1")

    def ends(**given: Any) -> list[str]:
        return [step.host for step in steps(mend_units.retire_legacy, tmp_path, **given) if step.id == "UNIT-4/end-77"]

    serves = beside_its_unit(stray)
    assert ends(**serves) == ["werewolves"], "there it serves nobody"
    assert ends(**{**serves, "sockets": SOCKETS}) == ["vampires", "werewolves"]
