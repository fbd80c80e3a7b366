"""The lock: one holder, freed by the kernel, told by name."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from converge.errors import ConnectionLost, Exit, LockHeld
from converge.journal import lock as locking
from converge.journal.lock import Lock, LockUnavailable, acting, holder, holding_script, mine_script, parse_holder
from converge.shell.library import Rc
from hosts.schema import Inventory
from tests.converge.world import World, build


@pytest.fixture
def world(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> World:
    return build(tmp_path, inventory, monkeypatch)


def test_second_run_is_told_who_holds_it(world: World) -> None:
    first = Lock(world.link)
    first.acquire("ada@laptop", "R1")
    try:
        first.check()
        seen = holder(world.link)
        assert seen is not None
        assert (seen.who, seen.run) == ("ada@laptop", "R1")
        assert Path(f"/proc/{seen.pid}").exists()
        with pytest.raises(LockHeld, match=f"ada@laptop, run R1, since .*, on {os.uname().nodename}"):
            Lock(world.link).acquire("bob@desk", "R2")
    finally:
        first.release()
    assert holder(world.link) is None
    again = Lock(world.link)
    again.acquire("bob@desk", "R2")
    again.release()


def test_holder_gives_way_to_others(world: World) -> None:
    lock = Lock(world.link)
    lock.acquire("ada", "R1")
    try:
        seen = holder(world.link)
        assert seen is not None
        assert os.getpriority(os.PRIO_PROCESS, seen.pid) == max(10, os.nice(0))
    finally:
        lock.release()


def test_looking_at_the_lock_writes_nothing(world: World) -> None:
    before = list((world.top / "run").iterdir())
    assert holder(world.link) is None
    assert acting(world.link) == ""
    assert list((world.top / "run").iterdir()) == before


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
def test_lock_goes_with_its_holder(world: World, signal: str) -> None:
    lock = Lock(world.link)
    lock.acquire("ada", "R1")
    seen = holder(world.link)
    assert seen is not None
    subprocess.run(["kill", "-s", signal, str(seen.pid)], check=True)
    assert _soon(lambda: holder(world.link) is None)
    lock.release()


def test_lost_lock_is_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "BEAT", 0.05)
    lock = Lock(world.link)
    lock.acquire("ada", "R1")
    seen = holder(world.link)
    assert seen is not None
    subprocess.run(["kill", "-9", str(seen.pid)], check=True)

    def lost() -> bool:
        try:
            lock.check()
        except ConnectionLost:
            return True
        return False

    assert _soon(lost)
    lock.release()


def test_holder_that_hears_nothing_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "SILENCE", 1)
    stream = world.link.talk(holding_script("{}", "R1"))
    assert stream.receive(5) == b"locked\n"
    assert holder(world.link) is not None
    assert stream.receive(5) == b"", "it ended by itself"
    assert holder(world.link) is None
    stream.close()


def test_step_that_outlives_its_run_keeps_the_next_one_out(world: World) -> None:
    act = world.top / "run" / "hkn-migration.act"
    (world.top / "run" / "hkn-migration.act.info").write_text("R1, step 3: deploy\n")
    process = subprocess.Popen(["flock", str(act), "sleep", "60"])
    try:
        assert _soon(act.exists)
        assert _soon(lambda: acting(world.link) == "R1, step 3: deploy")
        assert holder(world.link) is None, "its run is gone"
        with pytest.raises(LockHeld, match="run R1, step 3: deploy"):
            Lock(world.link).acquire("bob", "R2")
    finally:
        subprocess.run(["pkill", "-P", str(process.pid)], check=False)
        process.kill()
        process.wait()
    assert acting(world.link) == "", "what the last one wrote is no sign of one that acts"


def test_no_runtime_directory_is_one_clear_message(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")
    with pytest.raises(LockUnavailable, match="no /nonexistent") as refused:
        Lock(world.link).acquire("ada", "R1")
    assert refused.value.exit_code is Exit.FAILS, "the host was reached"


def test_holder_of_a_damaged_info_file_is_unknown() -> None:
    assert str(parse_holder("{")) == "unknown, run unknown, since unknown"


def _soon(true: object) -> bool:
    assert callable(true)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return False


def test_host_itself_says_whether_a_run_still_holds_it(world: World) -> None:
    lock = Lock(world.link)
    assert world.link.exec(mine_script("R1"), limit=5).rc == Rc.UNLOCKED
    lock.acquire("ada", "R1")
    try:
        assert world.link.exec(mine_script("R1"), limit=5).rc == 0
        assert world.link.exec(mine_script("R2"), limit=5).rc == Rc.UNLOCKED
    finally:
        lock.release()


def hint(world: World, host: str, age: float) -> Path:
    """The hint that a holder on `host` touched so many seconds ago."""
    file = world.home / ".local/state/hkn-migration/holder"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"who": "bob@desk", "run": "R9", "since": 1.0, "pid": 7, "host": host}))
    os.utime(file, (time.time() - age,) * 2)
    return file


def test_holder_leaves_a_hint_in_the_home_and_empties_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "BEAT", 0.1)
    file = hint(world, os.uname().nodename, 5)
    lock = Lock(world.link)
    lock.acquire("ada", "R1")
    seen = parse_holder(file.read_text())
    assert (seen.who, seen.run, seen.host) == ("ada", "R1", os.uname().nodename)
    os.utime(file, (1, 1))
    assert _soon(lambda: file.stat().st_mtime > 1), "touched at every beat"
    lock.release()
    assert _soon(lambda: file.read_text() == "")


def test_run_that_comes_by_the_other_host_is_told_who_holds_it_there(world: World) -> None:
    hint(world, "werewolves", 5)
    with pytest.raises(LockHeld, match=r"bob@desk, run R9, since .*, on werewolves"):
        Lock(world.link).acquire("ada", "R1")
    seen = holder(world.link)
    assert seen is not None
    assert seen.host == "werewolves"


@pytest.mark.parametrize("host", ["werewolves", ""])
def test_hint_of_a_holder_that_is_gone_does_not_count(world: World, host: str) -> None:
    hint(world, host or os.uname().nodename, 500 if host else 5)
    assert holder(world.link) is None
    lock = Lock(world.link)
    lock.acquire("ada", "R1")
    lock.release()


@pytest.mark.parametrize(("age", "wrong", "counts"), [(5, "+1 hour", True), (500, "-1 hour", False)])
def test_hint_is_as_old_as_the_home_says_whatever_the_hosts_clock(
    world: World, monkeypatch: pytest.MonkeyPatch, age: float, wrong: str, counts: bool
) -> None:
    hint(world, "werewolves", age)
    date = world.top / "wrong/date"
    date.parent.mkdir()
    date.write_text(f'#!/bin/sh\nexec /bin/date -d "{wrong}" "$@"\n')
    date.chmod(0o755)
    monkeypatch.setenv("PATH", f"{date.parent}:{os.environ['PATH']}")
    assert (holder(world.link) is not None) == counts


def test_run_that_comes_in_the_same_moment_is_told_of_the_one_before_it_and_of_no_older_one(world: World) -> None:
    lock, info = world.top / "run/hkn-migration.lock", world.top / "run/hkn-migration.lock.info"
    over = subprocess.Popen(["true"])
    over.wait()
    older = {"who": "cy@desk", "run": "R0", "since": 1.0, "pid": over.pid, "host": ""}
    info.write_text(json.dumps(older))
    process = subprocess.Popen(["flock", str(lock), "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    newer = {**older, "who": "ada@laptop", "run": "R1", "pid": process.pid}
    writer = threading.Timer(0.5, lambda: info.write_text(json.dumps(newer)))
    writer.start()
    try:
        with pytest.raises(LockHeld, match=r"ada@laptop, run R1, "):
            Lock(world.link).acquire("bob@desk", "R2")
    finally:
        writer.join()
        subprocess.run(["pkill", "-P", str(process.pid)], check=False)
        process.kill()
        process.wait()
