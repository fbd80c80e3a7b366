"""The lock: one holder, freed by the kernel, told by name."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from converge import lock as locking
from converge.errors import ConnectionLost, LockHeld
from converge.lock import Lock, LockUnavailable, holder, holding_script, parse_holder
from hosts.schema import Inventory
from tests.engine.world import World, build


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
        with pytest.raises(LockHeld, match="ada@laptop, run R1, since"):
            Lock(world.link).acquire("bob@desk", "R2")
    finally:
        first.release()
    assert holder(world.link) is None
    again = Lock(world.link)
    again.acquire("bob@desk", "R2")
    again.release()


def test_looking_at_the_lock_writes_nothing(world: World) -> None:
    before = list((world.top / "run").iterdir())
    assert holder(world.link) is None
    assert list((world.top / "run").iterdir()) == before


def test_lock_goes_with_its_holder(world: World) -> None:
    lock = Lock(world.link)
    lock.acquire("ada", "R1")
    seen = holder(world.link)
    assert seen is not None
    subprocess.run(["kill", "-9", str(seen.pid)], check=True)
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
    stream = world.link.talk(holding_script("{}"))
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
        time.sleep(0.1)
        with pytest.raises(LockHeld, match="run R1, step 3: deploy"):
            Lock(world.link).acquire("bob", "R2")
    finally:
        subprocess.run(["pkill", "-P", str(process.pid)], check=False)
        process.kill()
        process.wait()


def test_no_runtime_directory_is_one_clear_message(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")
    with pytest.raises(LockUnavailable, match="no /nonexistent"):
        Lock(world.link).acquire("ada", "R1")


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
    with pytest.raises(ConnectionLost, match="does not hold"):
        lock.prove("R1")
    lock.acquire("ada", "R1")
    try:
        lock.prove("R1")
        with pytest.raises(ConnectionLost, match="does not hold"):
            lock.prove("R2")
    finally:
        lock.release()
