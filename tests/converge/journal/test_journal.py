"""The journal: what is written, what a torn one still tells, and the fate of steps without a result."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from converge.errors import ConnectionLost, Exit, LockHeld
from converge.journal.history import Story
from converge.journal.journal import Journal, JournalError, line, parse, stories
from converge.journal.lock import Lock, mine_script
from converge.runs.recovery import close_open_runs
from converge.transport import LocalLink
from hosts.schema import Inventory
from tests.converge.world import World, build


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
        journal.write_if(mine_script("R1"), "intent", n=1, step="A/1", host="new")
    assert not folder(world, "R1").exists()
    assert not mirror.exists()
    lock = Lock(world.link)
    lock.acquire("ada", "R1")
    try:
        journal.write_if(mine_script("R1"), "intent", n=1, step="A/1", host="new")
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


WHOLE = [
    '{"at": 1.5, "kind": "plan", "v": 1, "who": "ada@desk"}',
    '{"at": 2.5, "host": "new", "kind": "intent", "limit": 9.0, "n": 1, "step": "A/1", "undoable": true, "v": 1}',
    '{"v": 1, "kind": "result", "at": 3, "n": 1, "rc": 0}',
    '{"at": 4.5, "host": "new", "kind": "intent", "limit": 9.0, "n": 2, "step": "A/2", "undoable": true, "v": 1}',
    '{"v": 1, "kind": "result", "at": 5, "n": 2, "rc": 0}',
    '{"at": 6.5, "exit_code": 0, "kind": "end", "reason": "", "v": 1}',
]


def told(lines: list[str], started: tuple[int, ...] = (1, 2)) -> Story:
    return parse("R1", "".join(f"{text}\n" for text in lines), started)


def test_whole_journal_is_not_damaged() -> None:
    assert told(WHOLE).damage == ""
    assert parse("R1", "\n".join(WHOLE[:3]) + "\n\0\0\0", (1,)).damage == "", "its end was never written"


def test_line_that_was_cut_off_anywhere_is_no_damage_of_a_step_that_never_began() -> None:
    for length in range(len(WHOLE[3])):
        story = told([*WHOLE[:3], WHOLE[3][:length], WHOLE[5]], started=(1,))
        assert (story.damage, len(story.entries)) == ("", 4), WHOLE[3][:length]


def test_line_that_was_cut_off_in_or_behind_an_escape_is_no_damage_either() -> None:
    whole = line("intent", n=2, step="A/2", host="new", sentence="let \u00fc and \U0001f600 serve", undoable=True)
    assert whole.count("\\u") == 3
    for length in range(len(whole)):
        assert told([*WHOLE[:3], whole[:length], WHOLE[5]], started=(1,)).damage == "", whole[:length]


def test_line_that_ends_in_no_escape_is_damage() -> None:
    for strange in ("\\u00zz", "\\u00fc\\u0\0"):
        assert told([*WHOLE[:3], WHOLE[3][:60] + '"' + strange, WHOLE[5]], started=(1,)).damage == "line 4 cannot be read"


@pytest.mark.parametrize(
    "strange",
    [
        "\0" * 40,
        WHOLE[3][:20] + "\0" * 9 + WHOLE[3][29:],
        WHOLE[3][10:],
        "[[" * 5000,
        "7",
        '{"v": 1, "kind": "intent", "at": 1, "n": "two", "step": "A/2", "host": "new"}',
        '{"v": 1, "kind": "intent", "at": 1, "n": 2, "step": "A/2", "host": ["new"]}',
        '{"v": 1, "kind": "intent", "at": 1, "n": 2, "step": "A/2"}',
        '{"v": 1, "kind": "intent", "at": 1, "n": 2, "step": "A/2", "host": "new", "limit": "long"}',
        '{"v": 1, "kind": "intent", "at": 1e300, "n": 2, "step": "A/2", "host": "new"}',
        '{"v": "1", "kind": "end", "at": 1}',
        '{"v": 1, "kind": "end", "at": NaN}',
        '{"v": 1, "kind": [], "at": 1}',
        '{"v": 1, "kind": "result", "at": 1, "n": 2, "rc": {}}',
        '{"v": 1, "kind": "waiting", "at": 1, "n": 2, "step": "A/2", "host": "new"}',
    ],
    ids=lambda text: text.replace("\0", ".")[:60],
)
def test_line_in_the_middle_that_cannot_be_read_is_damage(strange: str) -> None:
    story = told([*WHOLE[:3], strange, *WHOLE[4:]])
    assert story.damage == "line 4 cannot be read; no line says what step 2 was to do, and it was begun"
    assert [intent["n"] for intent in story.intents()] == [1]


@pytest.mark.parametrize(("gone", "started"), [(3, ()), (slice(3, 5), (1, 2))])
def test_step_of_which_something_is_known_and_no_intent_is_damage(gone: int | slice, started: tuple[int, ...]) -> None:
    lines = list(WHOLE)
    del lines[gone]
    assert told(lines, started).damage == "no line says what step 2 was to do, and it was begun"


def test_scripts_beside_a_journal_tell_which_steps_were_begun(world: World) -> None:
    Journal("R1", world.link).write("plan", who="ada")
    for name, text in {"1.sh": ":", "1.undo.sh": ":", "2.sh": "", "3.out": "x", "10.sh": ":", "2.hand": ":"}.items():
        (folder(world, "R1") / name).write_text(text)
    folder(world, "R0").mkdir()
    (found,) = stories(world.link)
    assert found.started == {1, 10}


def test_journal_that_is_gone_or_holds_any_byte_is_a_damaged_one(world: World) -> None:
    for run in ("R1", "R2"):
        Journal(run, world.link).write("plan", who="ada")
        (folder(world, run) / "1.sh").write_text(":")
    (folder(world, "R1") / "journal.jsonl").unlink()
    (folder(world, "R2") / "journal.jsonl").write_bytes(bytes(range(256)) + b"\n")
    gone, strange = stories(world.link)
    assert (gone.id, gone.damage) == ("R1", "no line says what step 1 was to do, and it was begun")
    assert (strange.id, strange.damage.startswith("line 1 cannot be read; ")) == ("R2", True)


def test_next_run_says_that_a_journal_is_damaged_and_what_it_still_knows(world: World) -> None:
    Journal("R1", world.link).write("plan", who="ada")
    (folder(world, "R1") / "1.sh").write_text(":")
    (folder(world, "R1") / "1.started").write_text("999999 5\n")
    (note,) = close_open_runs({"new": world.link}, world.link, "R2").notes
    assert "step 1 (of which nothing else is told): it was cut off while it acted, and may have done a part" in note
    assert "its journal is damaged (no line says what step 1 was to do, and it was begun)" in note
    assert "every step that it began had ended" not in note


def test_next_run_does_not_go_on_beside_a_step_of_which_no_line_tells(world: World) -> None:
    Journal("R1", world.link).write("plan", who="ada")
    (folder(world, "R1") / "1.sh").write_text(":")
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    (folder(world, "R1") / "1.started").write_text(f"{os.getpid()} {started}\n")
    with pytest.raises(LockHeld, match="new: step 1 of run R1 still acts"):
        close_open_runs({"new": world.link}, world.link, "R2")


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


def test_runs_are_told_by_their_numbers_and_those_of_an_earlier_version_before_them(world: World) -> None:
    for run, data in {"R5": {}, "R7": {"seq": 1}, "R4": {}, "R6": {"seq": 2}}.items():
        Journal(run, world.link).write("plan", who="ada", **data)
    assert [story.id for story in stories(world.link)] == ["R4", "R5", "R7", "R6"]
    assert close_open_runs({"new": world.link}, world.link, "R8").seq == 3


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
    notes = close_open_runs(links, links["new"], "R2").notes
    assert len(notes) == 1
    assert "run R1 of an officer ended without an end" in notes[0]
    assert words in notes[0]
    assert close_open_runs(links, links["new"], "R3").notes == (), "it is closed now"


def test_next_run_does_not_go_on_beside_a_step_that_still_acts(world: World) -> None:
    old = Journal("R1", world.link)
    old.write("intent", n=1, step="A/1", host="new", sentence="do it")
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    (folder(world, "R1") / "1.started").write_text(f"{os.getpid()} {started}\n")
    with pytest.raises(LockHeld, match="still acts"):
        close_open_runs({"new": world.link}, world.link, "R2")
