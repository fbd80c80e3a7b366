"""The platform with real hosts: needs root and boots in seconds once the images are cached."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lab import layers, supervisor
from lab.cache import Cache, default_root
from lab.errors import Busy, CommandFailed, NotRunning
from lab.lab import Lab
from lab.state import BARE, State
from lab.states import STATES

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root")

NAME = "test-platform"
CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def lab() -> Iterator[Lab]:
    it = Lab.open(NAME, STATES)
    it.up("bare")
    try:
        yield it
    finally:
        it.down()


def traces(lab: Lab) -> list[str]:
    """Everything on this machine that is named after the lab."""
    unit, name = f"hkl{lab._ident}", f"{NAME}-{lab._ident}"
    found = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if name in line]
    found += [link.name for link in Path("/sys/class/net").iterdir() if lab._ident in link.name]
    found += [str(group) for group in Path("/sys/fs/cgroup").rglob(f"{unit}*")]
    found += [str(file) for file in Path("/run").rglob(f"*{unit}*")]
    found += [str(folder) for folder in lab.cache.path("labs", "").glob(f"{name}*")]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if name in words or unit in words:
            found.append(words)
    return found


SLEEPER = """
import time

from lab.cli import app
from lab.state import BARE, State
from lab.states import STATES


def build(lab):
    lab.app.run("echo x >/etc/marker")
    print("asleep", flush=True)
    SLEEP


STATES["sleeper"] = State("sleeper", "for this test", None, build, BARE.settle)
app(prog_name="python -m lab")
"""
"""The lab's command line with one more state, whose build never ends."""


def command(*words: str, program: Sequence[str] = ("-m", "lab")) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *program, *words, "--name", NAME],
        cwd=CHECKOUT,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_two_releases_share_a_home_and_nothing_else(lab: Lab) -> None:
    lab.app.run("echo shared >note; echo local >/srv/apps/hkn/note", user="hkn")
    assert lab.legacy.run("cat note", user="hkn").stdout == "shared\n"
    assert (lab.home / "h/hk/hkn/note").read_text() == "shared\n"
    assert lab.legacy.run("test -e /srv/apps/hkn/note", check=False).returncode == 1
    releases = {m.role: m.run(". /etc/os-release; echo $VERSION_ID").stdout.strip() for m in lab.machines.values()}
    assert releases == {"legacy": "12", "app": "13"}
    for machine in lab.machines.values():
        assert machine.run("systemctl is-system-running").stdout == "running\n"
        assert machine.run("hostname").stdout == f"{machine.name}\n"


def test_ssh_reaches_every_name_with_strict_host_keys(lab: Lab) -> None:
    expected = {
        "werewolves": "werewolves hkn",
        "vampires": "vampires hkn",
        "apphost": "vampires hkn",
        "forge": "vampires git",
    }
    for name, said in expected.items():
        config = lab.directory / "ssh_config"
        words = ["ssh", "-n", "-F", str(config), "-o", "BatchMode=yes", name, "echo $(hostname) $(id -un)"]
        assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() == said


def test_the_alias_can_point_at_the_old_host(lab: Lab) -> None:
    lab.point_apphost("werewolves")
    config = lab.directory / "ssh_config"
    words = ["ssh", "-n", "-F", str(config), "-o", "BatchMode=yes", "apphost", "hostname"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "werewolves\n"
    assert lab.app.run("getent hosts apphost").stdout.split()[0] == lab.legacy.address


def test_other_users_processes_are_hidden(lab: Lab) -> None:
    seen = lab.app.run("ps -eo user= | sort -u", user="hkn").stdout.split()
    assert seen == ["hkn"]


def test_up_on_a_running_lab_does_nothing(lab: Lab) -> None:
    leader = lab.app.leader()
    assert lab.up("bare") is False
    lab.remember_fault("something")
    assert lab.up() is False
    assert lab.app.leader() == leader


def test_up_takes_a_running_lab_back_to_the_state_that_it_is_told(lab: Lab) -> None:
    address = lab.app.address
    lab.app.run("echo x >/etc/marker")
    lab.remember_fault("something")
    assert lab.up("bare") is True
    assert lab.record
    assert (lab.record.state, lab.record.faults) == ("bare", [])
    assert lab.app.run("test -e /etc/marker", check=False).returncode == 1
    assert lab.app.address == address


def test_a_state_change_drops_what_was_changed(lab: Lab) -> None:
    lab.app.run("echo x >/etc/marker")
    lab.app.run("echo x >marker", user="hkn")
    since = time.monotonic()
    lab.state("bare")
    assert time.monotonic() - since < 10
    assert lab.app.run("ls /etc/marker /home/h/hk/hkn/marker", check=False).returncode == 2


def test_a_reboot_keeps_what_was_changed(lab: Lab) -> None:
    lab.app.run("echo x >/etc/marker")
    leader = lab.app.leader()
    lab.reboot("vampires")
    assert lab.app.leader() not in (None, leader)
    assert lab.app.run("cat /etc/marker").stdout == "x\n"


def test_the_host_is_not_blocked_by_what_it_notifies(lab: Lab) -> None:
    for _ in range(12):
        lab.legacy.run("systemctl daemon-reexec", timeout=10)
    assert lab.legacy.run("systemctl is-system-running", timeout=10).stdout == "running\n"


def test_a_command_in_time_out_leaves_no_process(lab: Lab) -> None:
    with pytest.raises(CommandFailed, match="did not end in time"):
        lab.app.run("sleep 1234", timeout=0.5)
    lab.app.wait_until("! pgrep -x sleep", timeout=5)


def test_a_file_is_written_with_owner_and_mode(lab: Lab) -> None:
    lab.app.write("/srv/apps/hkn/it's here/file", "text", mode=0o600, owner="hkn:ocf")
    shown = lab.app.run(["stat", "-c", "%U:%G %a", "/srv/apps/hkn/it's here/file"]).stdout
    assert shown == "hkn:ocf 600\n"


def test_the_lab_tells_one_thing_at_a_time(lab: Lab) -> None:
    with lab._changing(), pytest.raises(Busy):
        Lab.open(NAME, STATES).down()


def test_a_frozen_state_comes_back_with_its_facts(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(it: Lab) -> None:
        it.app.run("echo frozen >/etc/marker; mv /etc/logrotate.d /etc/moved")
        it.app.run("mkdir app; echo frozen >app/file", user="hkn")
        it.facts["ruby"] = {"version": "9.9"}
        it.publish("ca.pem", "certificate")

    monkeypatch.setitem(STATES, "frozen", State("frozen", "for this test", None, build, BARE.settle))
    monkeypatch.setattr(layers, "source_hash", lambda: f"test-{os.getpid()}")
    lab.state("frozen")
    try:
        since = time.monotonic()
        lab.state("frozen")
        assert time.monotonic() - since < 10
        assert lab.legacy.run("cat app/file", user="hkn").stdout == "frozen\n"
        assert lab.app.run("cat /etc/marker; ls /etc/logrotate.d", check=False).stdout == "frozen\n"
        assert lab.app.run("journalctl --verify", check=False).returncode == 0
        assert 'version = "9.9"' in (lab.directory / "target.toml").read_text()
        assert (lab.directory / "ca.pem").read_text() == "certificate"
    finally:
        lab.down()
        for layer in lab.cache.path("states", "").glob("frozen-*"):
            subprocess.run(["rm", "-rf", layer], check=True)


def test_down_leaves_nothing() -> None:
    lab = Lab.open(NAME, STATES)
    lab.up("bare")
    assert traces(lab)
    lab.down()
    assert traces(lab) == []
    with pytest.raises(NotRunning, match="hkn lab up"):
        lab.app.run("true")


def test_a_killed_nspawn_is_found_and_cleaned(lab: Lab) -> None:
    status = supervisor.read_status(lab._hosts["vampires"].folder)
    assert status
    assert status.nspawn
    leader = lab.app.leader()
    os.kill(status.nspawn, signal.SIGKILL)
    time.sleep(0.3)
    assert Path(f"/proc/{leader}").exists(), "a killed nspawn leaves its host running"
    assert lab.up("bare") is True
    with socket.create_connection((lab.app.address, 22), timeout=5):
        pass


def test_an_interrupted_look_at_the_file_system_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.run

    def interrupted(words: Sequence[str | Path], **how: Any) -> subprocess.CompletedProcess[str]:
        done = real(words, **how)
        if words[0] == "mount":
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(subprocess, "run", interrupted)
    # The cache of the lab lies where overlays can; a folder for temporary files may not.
    folder = default_root() / f".look-{os.getpid()}"
    with pytest.raises(KeyboardInterrupt):
        Cache(folder).check_fit()
    assert list(folder.iterdir()) == []
    folder.rmdir()


@pytest.mark.parametrize("moment", [0.4, 0.7, 1.0, 1.4])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_leaves_nothing(moment: float, number: signal.Signals) -> None:
    process = command("up", "--state", "bare")
    time.sleep(moment)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    lab = Lab.open(NAME, STATES)
    # The signal may come when all is done, and even when Python has let go of its handlers.
    if process.returncode == 0 or "The lab is up" in said:
        lab.down()
    assert process.returncode in (0, 130, -number), said
    assert traces(lab) == []


@pytest.mark.parametrize("sleep", ["time.sleep(600)", 'lab.app.run("sleep 600", timeout=600)'], ids=["here", "host"])
def test_an_interrupted_build_of_a_state_leaves_nothing(sleep: str) -> None:
    process = command("up", "--state", "sleeper", program=("-c", SLEEPER.replace("SLEEP", sleep)))
    lab = Lab.open(NAME, STATES)
    try:
        assert process.stdout
        heard = []
        for line in process.stdout:
            heard.append(line)
            if line == "asleep\n":
                break
        assert traces(lab), heard
        # It says so just before it sleeps.
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 130, [*heard, said]
        assert "nothing of what was begun is left behind" in said
        assert traces(lab) == []
        assert list(lab.cache.path("states", "").glob("*sleeper*")) == []
    finally:
        process.kill()
        process.wait()
        Lab.open(NAME, STATES).down()


def test_what_a_killed_up_leaves_is_cleaned_by_the_next() -> None:
    process = command("up", "--state", "bare")
    time.sleep(1.0)
    process.kill()
    process.communicate()
    lab = Lab.open(NAME, STATES)
    try:
        lab.up("bare")
        assert lab.running()
    finally:
        lab.down()
    assert traces(lab) == []


def test_two_labs_stand_side_by_side(lab: Lab) -> None:
    other = Lab.open(f"{NAME}-2", STATES)
    other.up("bare")
    try:
        assert other.app.address != lab.app.address
        other.app.run("echo x >/etc/marker")
        assert lab.app.run("test -e /etc/marker", check=False).returncode == 1
    finally:
        other.down()
    assert lab.running()
    lab.app.wait_until("systemctl is-active ssh", timeout=5)
