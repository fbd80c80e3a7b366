"""Acts and their guards, run for real in folders."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from converge.errors import NotAllowed, Unobservable
from converge.runs.attic import look
from converge.runs.preflight import TooManyEntries, read_tree, tree_kept
from converge.runs.preflight import Tree as Counted
from converge.shell.library import Rc
from converge.steps import Act, Aside, Condition, Link, Mode, Run, Signal, Step, Supplant, Unit, Write
from converge.steps.describe import described, render
from facts.preflight import room_for_two
from hosts.schema import Inventory
from tests.converge.world import World, build


@pytest.fixture
def world(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> World:
    return build(tmp_path, inventory, monkeypatch)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "300"])
    yield process
    process.kill()
    process.wait()


def start_time(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def tree(top: Path) -> dict[str, str]:
    """Every path below with its kind and content."""
    found = {}
    for path in sorted(top.rglob("*")):
        if path.is_symlink():
            found[str(path)] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(path)] = f"{path.stat().st_mode:o} {path.read_text()}"
        else:
            found[str(path)] = "folder"
    return found


def test_write_puts_a_new_file_and_undo_takes_it_away(world: World) -> None:
    file = world.root / "a" / "b.conf"
    done = world.act(Write(str(file), "it's $HOME\n", 0o640))
    assert done.rc == 0, done.err
    assert file.read_text() == "it's $HOME\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in file.parent.iterdir()] == ["b.conf"]
    assert done.undo().rc == 0
    assert not file.exists()


def test_write_keeps_the_old_file_and_undo_brings_it_back(world: World) -> None:
    file = world.root / "b.conf"
    file.write_text("old\n")
    file.chmod(0o600)
    before = tree(world.root)
    done = world.act(Write(str(file), "new\n"))
    assert file.read_text() == "new\n"
    assert done.undo().rc == 0
    assert tree(world.root) == before
    assert done.undo().rc == 0, "a second undo finds nothing to do"


def test_undo_refuses_what_somebody_changed_since(world: World) -> None:
    file = world.root / "b.conf"
    file.write_text("old\n")
    done = world.act(Write(str(file), "new\n"))
    file.write_text("a hand's\n")
    undone = done.undo()
    assert undone.rc == Rc.MOVED
    assert "changed since" in undone.err
    assert file.read_text() == "a hand's\n"


def test_undo_of_a_step_that_never_ran_changes_nothing(world: World) -> None:
    file = world.root / "b.conf"
    file.write_text("old\n")
    done = world.act(Write(str(file), "new\n"), when=(Condition("never", "false"),))
    assert done.rc == Rc.MOVED
    assert "never" in done.err
    assert done.undo().rc == 0
    assert file.read_text() == "old\n"


def test_link_is_replaced_by_rename_and_put_back(world: World) -> None:
    path = world.root / "current"
    path.symlink_to("releases/1")
    done = world.act(Link(str(path), "releases/2"))
    assert str(path.readlink()) == "releases/2"
    assert done.undo().rc == 0
    assert str(path.readlink()) == "releases/1"


def test_link_never_replaces_a_folder(world: World) -> None:
    (world.root / "shared").mkdir()
    done = world.act(Link(str(world.root / "shared"), "elsewhere"))
    assert done.rc == Rc.REFUSED
    assert (world.root / "shared").is_dir()


@pytest.fixture
def shared(world: World) -> Path:
    """A folder with something precious in it."""
    folder = world.root / "shared of one"
    folder.mkdir()
    (folder / "file").write_text("precious")
    return folder


MV = """#!/bin/sh
echo "$*" >>"$HOME/moves"
[ "$(wc -l <"$HOME/moves")" != {nth} ] || {{ {deed}; }}
exec /bin/mv "$@"
"""
"""A mv that does something else before its nth call."""


def before_move(world: World, nth: int, deed: str) -> None:
    (world.top / "bin/mv").write_text(MV.format(nth=nth, deed=deed))
    (world.top / "bin/mv").chmod(0o755)


def test_folder_gives_way_to_a_link_that_was_made_before_and_comes_back(world: World, shared: Path) -> None:
    before = tree(world.root)
    before_move(world, 0, ":")
    done = world.act(Supplant(str(shared), "/the/other one"))
    assert done.rc == 0, done.err
    assert str(shared.readlink()) == "/the/other one"
    assert [p.read_text() for p in Path(world.inv.attic).rglob("kept/file")] == ["precious"]
    assert len((world.home / "moves").read_text().splitlines()) == 2, "two renames, and nothing else beside or between"
    assert done.undo().rc == 0
    assert tree(world.root) == before
    assert done.undo().rc == 0, "a second undo finds nothing to do"
    assert world.act(Supplant(f"{shared}/file", "x")).rc == Rc.REFUSED, "a file is no folder"


@pytest.mark.parametrize("signal", ["TERM", "INT", "HUP"])
def test_signal_does_not_come_between_the_folder_and_its_link(world: World, shared: Path, signal: str) -> None:
    before_move(world, 2, f"kill -s {signal} $PPID; kill -s {signal} $$")
    world.act(Supplant(str(shared), "/other"))
    assert str(shared.readlink()) == "/other"


def test_folder_comes_back_where_its_link_cannot_come(world: World, shared: Path) -> None:
    before = tree(world.root)
    before_move(world, 2, "echo 'no space left' >&2; exit 1")
    done = world.act(Supplant(str(shared), "/other"))
    assert done.rc == Rc.FAILED
    assert tree(world.root) == before
    assert done.undo().rc == 0
    assert tree(world.root) == before


@pytest.mark.parametrize("nth", [1, 2])
def test_folder_that_was_going_when_its_step_was_killed_is_brought_back_by_the_undo(
    world: World, shared: Path, nth: int
) -> None:
    before = tree(world.root)
    # The shell that swaps, the act's above it, and the step's above that.
    shells = "a=$PPID; b=$(cut -d' ' -f4 /proc/$a/stat); c=$(cut -d' ' -f4 /proc/$b/stat)"
    before_move(world, nth, f"{shells}; kill -s KILL $c $b $a; exit 1")
    done = world.act(Supplant(str(shared), "/other"))
    assert done.rc != 0
    assert (tree(world.root) == before) is (nth == 1)
    (world.top / "bin/mv").unlink()
    assert done.undo().rc == 0
    assert tree(world.root) == before


def test_folder_does_not_come_back_over_what_somebody_put_there(world: World, shared: Path) -> None:
    done = world.act(Supplant(str(shared), "/other"))
    shared.unlink()
    shared.mkdir()
    undone = done.undo()
    assert undone.rc == Rc.MOVED
    assert "taken by something newer: the old one stays in" in undone.err


def test_aside_keeps_everything_and_goes_back_if_its_place_is_free(world: World) -> None:
    old = world.root / "old"
    old.mkdir()
    (old / "file").write_text("precious")
    before = tree(world.root)
    done = world.act(Aside(str(old)))
    assert done.rc == 0, done.err
    assert not old.exists()
    assert [p.read_text() for p in Path(world.inv.attic).rglob("file")] == ["precious"]
    assert done.undo().rc == 0
    assert tree(world.root) == before


def test_aside_undo_leaves_a_taken_place(world: World) -> None:
    old = world.root / "old"
    old.write_text("1")
    done = world.act(Aside(str(old)))
    old.write_text("2")
    undone = done.undo()
    assert undone.rc == Rc.MOVED
    assert old.read_text() == "2"


def test_aside_on_another_file_system_stays_on_it(world: World, tmp_path: Path) -> None:
    shm = Path("/dev/shm") / tmp_path.name
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("one file system only")
    shm.mkdir()
    try:
        (shm / "dead.sock").write_text("x")
        done = world.act(Aside(str(shm / "dead.sock")), fence=world.fence(roots=(str(shm),)))
        assert done.rc == 0, done.err
        assert [p.name for p in shm.iterdir()] == [".attic"]
        assert done.undo().rc == 0
        assert (shm / "dead.sock").read_text() == "x"
    finally:
        subprocess.run(["rm", "-r", str(shm)], check=True)


def test_mode_is_changed_and_put_back(world: World) -> None:
    file = world.root / "secret"
    file.write_text("")
    file.chmod(0o644)
    done = world.act(Mode(str(file), 0o600))
    assert file.stat().st_mode & 0o777 == 0o600
    assert done.undo().rc == 0
    assert file.stat().st_mode & 0o777 == 0o644


def test_enable_and_disable_are_undone_to_what_was_seen(world: World) -> None:
    done = world.act(Unit("enable", "app.service"))
    assert world.unit("app.service", "enabled") == "enabled"
    done.undo()
    assert world.unit("app.service", "enabled") == "disabled"
    assert world.act(Unit("enable", "app.service")).rc == 0
    again = world.act(Unit("enable", "app.service"))
    again.undo()
    assert world.unit("app.service", "enabled") == "enabled", "it was enabled before"


def test_start_that_systemctl_calls_a_success_is_looked_at(world: World) -> None:
    (world.home / "units-state" / "app.service.gated").touch()
    done = world.act(Unit("start", "app.service"))
    assert done.rc == Rc.FAILED
    assert "returned 0, but it is inactive" in done.err


def test_queued_job_of_somebody_else_is_respected(world: World) -> None:
    (world.home / "units-state" / "jobs").write_text("12 app.service restart waiting\n")
    done = world.act(Unit("stop", "app.service"))
    assert done.rc == Rc.MOVED
    assert world.unit("app.service", "active") == ""


def test_undo_of_a_unit_file_reloads_before_it_starts(world: World) -> None:
    state = world.home / "units-state"
    (state / "app-old.service.active").write_text("active\n")
    unit = Path(world.inv.units_dir) / "app-old.service"
    unit.write_text("[Service]\n")
    done = world.act(Unit("stop", "app-old.service"), Aside(str(unit)), Unit("daemon-reload"))
    assert done.rc == 0, done.err
    (state / "calls").write_text("")
    assert done.undo().rc == 0
    calls = [c for c in (state / "calls").read_text().splitlines() if c.split()[0] in {"start", "daemon-reload"}]
    assert calls[:2] == ["daemon-reload", "start app-old.service"]
    assert unit.exists()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/etc/passwd.new", "outside the roots"),
        ("{root}/../../outside", "outside the roots"),
        ("{root}", "outside the roots"),
        ("{root}/escape/file", "outside the roots"),
        ("{root}/prod/shared", "protected"),
        ("{root}/prod", "protected"),
        ("{sockets}/dev.sock", "protected"),
        ("relative", "not an absolute path"),
        ("{root}/sub/", "does not name one thing"),
    ],
)
@pytest.mark.parametrize("kind", [Write, Link, Supplant, Aside, Mode])
def test_no_act_leaves_its_fence(world: World, kind: type, path: str, why: str) -> None:
    (world.root / "escape").symlink_to("/etc")
    (world.sockets / "dev.sock").write_text("")
    place = path.format(root=world.root, sockets=world.sockets)
    acts: list[Act] = [Write(place, ""), Link(place, "x"), Supplant(place, "x"), Aside(place), Mode(place, 0o600)]
    act = next(a for a in acts if isinstance(a, kind))
    before = tree(world.root) | tree(world.sockets)
    done = world.act(act)
    assert done.rc == Rc.REFUSED, done.err
    assert why in done.err
    assert tree(world.root) | tree(world.sockets) == before


def test_socket_of_which_nothing_is_known_is_not_moved(world: World) -> None:
    path = world.sockets / "app.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        (world.top / "bin" / "ss").write_text("#!/bin/sh\nexit 1\n")
        (world.top / "bin" / "ss").chmod(0o755)
        done = world.act(Aside(str(path)))
    assert done.rc == Rc.REFUSED, done.err
    assert "whether somebody listens" in done.err
    assert path.exists()


def test_socket_of_which_ss_does_not_tell_who_listens_is_not_moved(world: World) -> None:
    path = world.sockets / "app.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        (world.top / "bin" / "ss").write_text(f"#!/bin/sh\necho 'u_str LISTEN 0 9 {path} 5 * 0'\necho ' <->'\n")
        (world.top / "bin" / "ss").chmod(0o755)
        done = world.act(Aside(str(path)))
    assert done.rc == Rc.REFUSED, done.err
    assert "no ino:" in done.err
    assert path.exists()


def test_undo_stops_nothing_if_what_served_before_cannot_come_back(world: World) -> None:
    state = world.home / "units-state"
    (state / "app-old.service.active").write_text("active\n")
    done = world.act(Unit("stop", "app-old.service"), Unit("start", "app.service"))
    assert done.rc == 0, done.err
    (state / "app-old.service.load").write_text("not-found\n")
    undone = done.undo()
    assert undone.rc == Rc.MOVED
    assert "no unit file" in undone.err
    assert world.unit("app.service", "active") == "active"


def test_signal_reaches_the_expected_process_only(world: World, sleeper: subprocess.Popen[bytes]) -> None:
    good = Signal(sleeper.pid, "TERM", start_time(sleeper.pid), "sleep 300")
    wrong = [
        Signal(sleeper.pid, "TERM", good.started + 1, "sleep 300"),
        Signal(sleeper.pid, "TERM", good.started, "unicorn"),
        Signal(sleeper.pid, "TERM", good.started, "sleep 300", cwd="/nowhere"),
        Signal(sleeper.pid, "TERM", good.started, "sleep 300", cgroup="nobody.service"),
    ]
    for act in wrong:
        assert world.act(act).rc == Rc.MOVED
    assert sleeper.poll() is None
    assert world.act(good).rc == 0
    assert sleeper.wait(10) == -15


@pytest.mark.parametrize("unnamed", [{"hostname": ""}, {"account": ""}])
def test_a_host_without_a_name_is_no_host_to_act_on(world: World, unnamed: dict[str, str]) -> None:
    with pytest.raises(NotAllowed, match="correct the inventory"):
        world.act(Write(str(world.root / "x"), ""), fence=world.fence(**unnamed))


def test_program_may_use_the_guarded_functions_and_is_undone_as_far(world: World) -> None:
    (world.root / "stale").write_text("1")
    before = tree(world.root)
    script = f'aside {world.root}/stale && echo hello | put {world.root}/fresh 600 && relink {world.root}/l "a b"'
    done = world.act(Run(script))
    assert done.rc == 0, done.err
    assert (world.root / "fresh").read_text() == "hello\n"
    assert str((world.root / "l").readlink()) == "a b"
    assert done.undo().rc == 0
    assert tree(world.root) == before


GIVEN_BACK = "what it had written, moved or linked before was put back"


@pytest.mark.parametrize(
    ("last", "code"), [("exit 3", Rc.FAILED), ("aside /etc/passwd", Rc.REFUSED), ("cv_moved gone", Rc.MOVED)]
)
def test_step_that_fails_half_way_puts_back_what_it_did(world: World, last: str, code: int) -> None:
    stale, link, fresh = world.root / "stale", world.root / "l", world.root / "fresh"
    stale.write_text("1")
    link.symlink_to("a")
    before = tree(world.root)
    half = Run(f"aside {stale} && printf 2 | put {fresh} 600 && {last}")
    done = world.act(Link(str(link), "b"), Mode(str(stale), 0o600), half, Write(str(world.root / "after"), ""))
    assert done.rc == code
    assert GIVEN_BACK in done.err
    assert tree(world.root) == before
    assert done.undo().rc == 0, "nothing of it is left to be taken back"
    assert tree(world.root) == before


def test_step_that_did_nothing_before_it_failed_speaks_of_nothing_that_was_put_back(world: World) -> None:
    done = world.act(Run("exit 3"))
    assert "put back" not in done.err


def test_step_that_fails_leaves_what_somebody_changed_meanwhile(world: World) -> None:
    file = world.root / "a"
    (world.home / "units-state/app.service.breaks").write_text(f"printf theirs >{file}")
    done = world.act(Write(str(file), "a\n"), Unit("restart", "app.service"))
    assert done.rc == Rc.FAILED
    assert "could not all be put back" in done.err
    assert "changed since" in done.err
    assert file.read_text() == "theirs"


def test_unit_that_a_failing_step_stopped_stays_down_until_the_step_is_taken_back(world: World) -> None:
    world.act(Unit("start", "app-old.service"))
    file = world.root / "a"
    done = world.act(Write(str(file), "x"), Unit("stop", "app-old.service"), Run("exit 3"))
    assert (done.rc, file.exists()) == (Rc.FAILED, False)
    assert world.unit("app-old.service", "active") == "inactive"


def test_second_signal_does_not_end_what_puts_back(world: World) -> None:
    file, other = world.root / "a", world.root / "b"
    file.write_text("old")
    other.write_text("old")
    before_move(world, 3, "kill -s TERM 0")
    done = world.act(Write(str(file), "new"), Write(str(other), "new"), Run("exit 3"), own_group=True)
    assert GIVEN_BACK in done.err
    assert (file.read_text(), other.read_text()) == ("old", "old")


def test_unit_whose_restart_fails_is_started_again_with_the_files_of_before(world: World) -> None:
    file = world.root / "app.conf"
    file.write_text("good\n")
    world.act(Unit("start", "app.service"))
    (world.home / "units-state/app.service.breaks").write_text(f"grep -q bad {file}")
    done = world.act(Write(str(file), "bad\n"), Unit("restart", "app.service"))
    assert done.rc == Rc.FAILED
    assert file.read_text() == "good\n"
    assert world.unit("app.service", "active") == "active"


def test_program_that_fails_stops_the_step(world: World) -> None:
    done = world.act(Run("exit 75"), Write(str(world.root / "after"), ""))
    assert done.rc == Rc.FAILED, "a program's own status is not taken for ours"
    assert "act 1 ended with status 75" in done.err
    assert not (world.root / "after").exists()


def test_refusal_inside_a_program_stops_the_step(world: World) -> None:
    done = world.act(Run("aside /etc/passwd; true"), Write(str(world.root / "after"), ""))
    assert done.rc == Rc.REFUSED
    assert not (world.root / "after").exists()


def test_condition_that_does_more_than_look_is_not_compiled(world: World) -> None:
    with pytest.raises(NotAllowed, match=r"program of S/1, which finds out whether nobody listens, has `rm x`: nothing is"):
        world.act(when=(Condition("nobody listens", "! rm x"),))


def test_foreign_units_and_vague_signals_are_not_compiled(world: World) -> None:
    for act in (Unit("stop", "hkn-dev.service"), Unit("restart"), Signal(1, "TERM", 5, "x"), Signal(99, "TERM", 0, "x")):
        with pytest.raises(NotAllowed):
            world.act(act)
    with pytest.raises(NotAllowed, match="whole file system"):
        world.act(Aside("/x"), fence=world.fence(roots=("/",)))


def test_record_says_what_a_person_would_type() -> None:
    step = Step("A/1", "new", "write it", (Write("/a/b c", "x"), Unit("daemon-reload"), Run("  echo hi\n")), interrupts=2)
    record = render(step, "a.b", ["A"])
    assert "cat >'/a/b c' <<'END'\nx\nEND" in record.commands
    assert "systemctl --user daemon-reload" in record.commands
    assert record.commands.endswith("echo hi")
    assert "put back" in record.undo
    assert described(Link("/p", "/t")) == "ln -s /t /p.new && mv -T /p.new /p"
    assert described(Supplant("/a/p", "/t")) == 'ln -s /t /a/p.new && mv -nT /a/p "$ATTIC"/p && mv -nT /a/p.new /a/p'
    assert render(Step("A/1", "new", "s", (), undo="it is data"), "a", []).undo == "none: it is data"


def test_data_that_cannot_be_counted_is_not_counted_as_nothing(world: World) -> None:
    (Path(world.inv.shared) / "private" / "file").write_text("12345")
    assert read_tree(world.link, world.inv) == Counted(1, 5)
    (world.top / "bin" / "find").write_text("#!/bin/sh\necho 5\nexit 1\n")
    (world.top / "bin" / "find").chmod(0o755)
    with pytest.raises(Unobservable):
        read_tree(world.link, world.inv)
    (Path(world.inv.shared) / "private").rename(world.top / "gone")
    assert read_tree(world.link, world.inv) == Counted(0, 0)


def test_shared_data_of_more_entries_than_are_allowed_is_not_counted_to_its_end(world: World) -> None:
    for number in range(20):
        (Path(world.inv.shared) / "private" / f"file {number}").write_text("12")
    exact = world.inv.changed({"limits": world.inv.limits.changed({"entries": 21})})
    assert read_tree(world.link, exact) == Counted(20, 40)
    less = world.inv.changed({"limits": world.inv.limits.changed({"entries": 20})})
    with pytest.raises(TooManyEntries, match=r"has more than 20 entries \(limits.entries of demo.toml\)"):
        read_tree(world.link, less)
    (world.top / "bin" / "find").write_text("#!/bin/sh\nexec timeout 20 yes 5\n")
    (world.top / "bin" / "find").chmod(0o755)
    began = time.monotonic()
    with pytest.raises(TooManyEntries):
        read_tree(world.link, less)
    assert time.monotonic() - began < 10, "it was not walked to its end"


def test_walks_through_the_shared_data_and_the_attic_give_way_to_others(world: World) -> None:
    for name in ("find", "du"):
        program = f'ps -o ni= -p $$ >>{world.top}/niceness\nexec /usr/bin/{name} "$@"\n'
        (world.top / "bin" / name).write_text(f"#!/bin/sh\n{program}")
        (world.top / "bin" / name).chmod(0o755)
    (Path(world.inv.attic) / "R1/001-A").mkdir(parents=True)
    read_tree(world.link, world.inv)
    look(world.link, world.inv)
    seen = {int(text) for text in (world.top / "niceness").read_text().split()}
    assert seen == {max(10, os.nice(0))}


def test_guards_of_a_run_say_what_they_saw() -> None:
    assert tree_kept(Counted(2, 10), Counted(3, 12)).holds
    lost = tree_kept(Counted(2, 10), Counted(1, 12))
    assert not lost.holds
    assert "LOST" in lost.text
    assert not tree_kept(None, Counted(1, 1)).holds


def test_room_for_two_leaves_others_what_the_inventory_keeps_for_them(world: World) -> None:
    modest = world.inv.changed({"limits": world.inv.limits.changed({"spare_mib": 0})})
    assert room_for_two(world.link, modest).holds
    greedy = world.inv.changed({"limits": world.inv.limits.changed({"spare_mib": 1 << 30})})
    seen = room_for_two(world.link, greedy)
    assert not seen.holds
    assert f"{1 << 30} MiB must stay free for others" in seen.text
    (world.top / "bin" / "awk").write_text("#!/bin/sh\nexit 1\n")
    (world.top / "bin" / "awk").chmod(0o755)
    assert "not known" in room_for_two(world.link, modest).text
