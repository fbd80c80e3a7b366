"""The journal: what is written, what a torn one still tells, and the fate of steps without a result."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from converge.errors import ConnectionLost, Exit, LockHeld
from converge.journal import Journal, JournalError, line, parse, stories
from converge.lock import Lock, mine_script
from converge.recovery import close_open_runs
from converge.transport import LocalLink
from hosts.schema import Inventory
from tests.engine.world import World, build


@pytest.fixture
def world(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> World:
    return build(tmp_path, inventory, monkeypatch)


def folder(world: World, run: str) -> Path:
    return world.home / ".local/state/hkn-migration/runs" / run


def test_lines_reach_the_host_and_the_mirror(world: World) -> None:
    mirror = world.top / "reports" / "R1" / "journal.jsonl"
    journal = Journal("R1", world.link, mirror)
    journal.write("plan", who="it's me", steps=[])
    journal.write("end", exit_code=0, reason="")
    host = folder(world, "R1") / "journal.jsonl"
    assert host.read_text() == mirror.read_text()
    assert folder(world, "R1").stat().st_mode & 0o777 == 0o700
    story = parse("R1", host.read_text())
    assert story.plan["who"] == "it's me"
    assert not story.is_open


def test_line_is_written_only_while_the_lock_is_held(world: World) -> None:
    mirror = world.top / "mirror"
    journal = Journal("R1", world.link, mirror)
    with pytest.raises(ConnectionLost, match="R1 does not hold the lock any more: nothing more is done"):
        journal.write_if(mine_script("R1"), "intent", n=1)
    assert not folder(world, "R1").exists()
    assert not mirror.exists()
    lock = Lock(world.link)
    lock.acquire("ada", "R1")
    try:
        journal.write_if(mine_script("R1"), "intent", n=1)
    finally:
        lock.release()
    assert [e.kind for e in parse("R1", mirror.read_text()).entries] == ["intent"]


def test_line_that_a_crash_cut_off_hurts_nobody(world: World) -> None:
    journal = Journal("R1", world.link)
    journal.write("plan", who="me")
    file = folder(world, "R1") / "journal.jsonl"
    with file.open("a") as out:
        out.write('{"v": 1, "kind": "int')
    assert parse("R1", file.read_text()).is_open
    journal.write("end", exit_code=13, reason="x")
    assert [e.kind for e in parse("R1", file.read_text()).entries] == ["plan", "end"]


def test_later_schema_is_refused() -> None:
    with pytest.raises(JournalError, match="newer version"):
        parse("R1", '{"v": 2, "kind": "plan", "at": 1}\n')


def test_results_of_host_and_control_are_laid_over_each_other() -> None:
    text = "\n".join(
        [
            line("intent", n=1, step="A/1", host="new"),
            line("intent", n=2, step="A/2", host="new"),
            line("result", n=1, rc=0),
            line("result", n=1, rc=0, result="done"),
        ]
    )
    story = parse("R1", text + "\n")
    assert story.results() == {1: {"n": 1, "rc": 0, "result": "done"}}
    assert [i["n"] for i in story.dangling()] == [2]


def test_host_without_journals_has_no_stories(world: World) -> None:
    assert stories(world.link) == []


def test_unwritable_journal_is_said_before_anything_is_done(world: World) -> None:
    (world.home / ".local").write_text("a file in the way")
    with pytest.raises(JournalError, match="nothing is done") as refused:
        Journal("R1", world.link).write("plan")
    assert refused.value.exit_code is Exit.FAILS
    with pytest.raises(JournalError, match="nothing more is done") as refused:
        Journal("R1", world.link, begun=True).write("result")
    assert refused.value.exit_code is Exit.UNKNOWN, "a step was sent, and the journal stays open"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "it never began"),
        ({"1.started": "999999 5"}, "it was cut off while it acted"),
        ({"1.started": "999999 5", "1.rc": "0"}, "it was done"),
        ({"1.started": "999999 5", "1.rc": "70"}, "it ended with status 70"),
    ],
)
def test_next_run_finds_out_what_became_of_a_step(world: World, files: dict[str, str], words: str) -> None:
    old = Journal("R1", world.link)
    old.write("plan", who="an officer")
    old.write("intent", n=1, step="A/1", host="new", sentence="do it")
    for name, text in files.items():
        (folder(world, "R1") / name).write_text(text + "\n")
    links = {"new": LocalLink()}
    notes = close_open_runs(links, links["new"], "R2")
    assert len(notes) == 1
    assert "run R1 of an officer ended without an end" in notes[0]
    assert words in notes[0]
    assert close_open_runs(links, links["new"], "R3") == [], "it is closed now"


def test_next_run_does_not_go_on_beside_a_step_that_still_acts(world: World) -> None:
    old = Journal("R1", world.link)
    old.write("intent", n=1, step="A/1", host="new", sentence="do it")
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    (folder(world, "R1") / "1.started").write_text(f"{os.getpid()} {started}\n")
    with pytest.raises(LockHeld, match="still acts"):
        close_open_runs({"new": world.link}, world.link, "R2")
