"""A remedy that breaks a guard is refused by the run that it is part of, and nothing has changed: for each guard."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from converge.steps import Act, Aside, Link, Mode, RemedyContext, Run, Signal, Step, Unit, Write
from hosts.schema import Inventory
from tests.converge.stage import Severed, Stage, build_stage, results
from tests.converge.world import build

Rude = Callable[[Stage], Act]


@pytest.fixture
def stage(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """With users' data, a link that leads out, and the living socket of another application."""
    made = build_stage(build(tmp_path, inventory, monkeypatch), Severed(), monkeypatch)
    (made.world.root / "prod/shared/private/resume").write_text("precious")
    (made.world.root / "file").write_text("a")
    (made.world.root / "out").symlink_to(made.world.top / "theirs")
    (made.world.top / "theirs").mkdir()
    (made.world.top / "theirs/file").write_text("theirs")
    (made.world.root / "link").symlink_to(made.world.top / "theirs/file")
    return made


@pytest.fixture
def bystander(stage: Stage) -> Iterator[socket.socket]:
    """Another application's socket, on which it listens."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(stage.world.sockets / "dev.sock"))
        server.listen()
        yield server


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "300"])
    yield process
    process.kill()
    process.wait()


def picture(stage: Stage) -> dict[str, str]:
    """Everything on the host but the journal, the attic's empty folders and the lock."""
    found = {}
    for top in (stage.world.root, stage.world.sockets, stage.world.top / "theirs", Path(stage.world.inv.units_dir)):
        for path in sorted(top.rglob("*")):
            kind = f"-> {path.readlink()}" if path.is_symlink() else path.read_text() if path.is_file() else "other"
            found[str(path)] = f"{path.lstat().st_mode:o} {path.lstat().st_ino} {kind}"
    return found


def refused(stage: Stage, act: Act) -> str:
    """Why the run refused a remedy with this act; what it must not touch is as it was."""

    def rude(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/rude", "new", "be rude", (act,))

    stage.add("A", rude)
    before = picture(stage)
    _, plan, _ = stage.go(f"R{len(stage.said)}")
    assert results(plan) == {"A/rude": "refused"}, plan.steps[0]
    assert picture(stage) == before
    return plan.steps[0].reason


@pytest.mark.parametrize(
    "script", ["rm -rf {root}/prod/shared", "echo x >{root}/file", "sh -c 'rm -rf \"$SHARED\"'", "cp /dev/null {root}/file"]
)
def test_deleting(stage: Stage, script: str) -> None:
    assert "the program of A/rude has `" in refused(stage, Run(script.format(root=stage.world.root)))


def test_signalling_another_process_than_the_expected_one(stage: Stage, stranger: subprocess.Popen[bytes]) -> None:
    pid = stranger.pid
    started = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    assert "start time" in refused(stage, Signal(pid, "TERM", started + 1, "sleep"))
    wrong = {
        "does not run 'unicorn master'": Signal(pid, "TERM", started, "unicorn master"),
        "works in": Signal(pid, "TERM", started, "sleep", cwd="/srv/x"),
        "is not in": Signal(pid, "TERM", started, "sleep", cgroup="app.service"),
    }
    for words, act in wrong.items():
        assert words in refused(stage, act)
    assert "must be known" in refused(stage, Signal(1, "TERM", 1, "init"))
    for script in (f"kill {pid}", "pkill sleep", f"kill -9 {pid}"):
        assert "Signal" in refused(stage, Run(script))
    assert stranger.poll() is None


@pytest.mark.parametrize(
    "path", ["/etc/motd.new", "{top}/theirs/file", "{root}/../../theirs/file", "{home}/.bashrc", "{root}"]
)
@pytest.mark.parametrize("kind", [Write, Link, Aside, Mode])
def test_path_outside_the_allowed_roots(stage: Stage, kind: type, path: str) -> None:
    place = path.format(top=stage.world.top, root=stage.world.root, home=stage.world.home)
    assert "outside the roots" in refused(stage, an_act(kind, place))


@pytest.mark.parametrize("act", [Write("{link}", "ours"), Mode("{link}", 0o777), Run("echo ours | put {link} 644")])
def test_writing_through_a_symlink(stage: Stage, act: Act) -> None:
    link = f"{stage.world.root}/link"
    made = Run(act.script.format(link=link)) if isinstance(act, Run) else an_act(type(act), link)
    assert "is a symlink" in refused(stage, made)


def test_other_host(stage: Stage) -> None:
    hosts = stage.world.inv.hosts
    there = hosts["new"].changed({"hostname": "elsewhere"})
    stage.world.inv = stage.world.inv.changed({"hosts": {**hosts, "new": there}})
    assert f"this host is {os.uname().nodename}, not elsewhere" in refused(stage, Write(f"{stage.world.root}/A", "x"))


def test_other_account(stage: Stage) -> None:
    account = stage.world.inv.account.changed({"user": "otherorg"})
    stage.world.inv = stage.world.inv.changed({"account": account})
    assert "not otherorg" in refused(stage, Write(f"{stage.world.root}/A", "x"))


@pytest.mark.usefixtures("bystander")
@pytest.mark.parametrize("kind", [Write, Link, Aside, Mode])
def test_socket_of_a_bystander(stage: Stage, kind: type) -> None:
    assert "protected" in refused(stage, an_act(kind, f"{stage.world.sockets}/dev.sock"))


@pytest.mark.usefixtures("bystander")
@pytest.mark.parametrize("script", ["mv {dir}/d*.sock /tmp", "mv -nT {dir}/de?.sock {dir}/x", 'mv "$SOCKET_DIR"/* /tmp'])
def test_socket_of_a_bystander_by_a_pattern(stage: Stage, script: str) -> None:
    assert "which files a pattern hits is not known" in refused(stage, Run(script.format(dir=stage.world.sockets)))


@pytest.mark.usefixtures("bystander")
@pytest.mark.parametrize(
    "script", ["mv {dir}/dev.sock /tmp/x", 'cd {dir} && ln -s x y && mv -T y "dev.sock"', "aside {dir}/dev.sock"]
)
def test_socket_of_a_bystander_in_a_program(stage: Stage, script: str) -> None:
    assert "another application's" in refused(stage, Run(script.format(dir=stage.world.sockets)))


def test_socket_on_which_somebody_listens(stage: Stage) -> None:
    path = f"{stage.world.sockets}/unknown.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        assert "a process listens on" in refused(stage, Aside(path))


@pytest.mark.parametrize(
    ("row", "listens"),
    [
        ("{dir}/other.sock 77 * 0 <-> ino:{ino} dev:0/{dev} peers:", True),
        ("/run/other.sock 77 * 0 <-> ino:{ino} dev:0/{dev} peers:", True),
        ("/run/other.sock 77 * 0 <-> ino:{ino} dev:0/1{dev} peers:", False),
        ("{dir}/other.sock 77 * 0 <-> ino:{ino} dev:some/way peers:", True),
        ("/run/other.sock 77 * 0 <-> ino:{ino}", True),
        ("{dir}/other.sock 77 * 0 <-> ino:1{ino} dev:0/{dev} peers:", False),
    ],
)
def test_listener_is_told_from_one_of_the_same_number_elsewhere(stage: Stage, row: str, listens: bool) -> None:
    path = Path(stage.world.sockets) / "unknown.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    seen = path.stat()
    text = row.format(dir=path.parent, ino=seen.st_ino, dev=seen.st_dev)
    fake = stage.world.top / "bin" / "ss"
    fake.write_text(f"#!/bin/sh\necho 'u_str LISTEN 0 128 {text}'\n")
    fake.chmod(0o755)
    if listens:
        assert "a process listens on" in refused(stage, Aside(str(path)))
    else:
        stage.add("A", lambda _: (step for step in [Step("A/aside", "new", "move it", (Aside(str(path)),))]))
        _, plan, _ = stage.go()
        assert [step.result for step in plan.steps] == ["done"]
        assert not path.exists()


@pytest.mark.parametrize("unit", ["nginx.service", "hkn-dev.service", "user@5000.service", ""])
def test_unit_of_somebody_else(stage: Stage, unit: str) -> None:
    assert "not a unit of this target" in refused(stage, Unit("stop", unit))
    assert "without --user" in refused(stage, Run(f"systemctl stop {unit}"))
    for script in (f"systemctl --user stop {unit}", f'for u in {unit}; do (systemctl --user restart "$u"); done'):
        assert "(no unit)" in (why := refused(stage, Run(script))) or "not a unit of this target" in why
    assert "a program may" in refused(stage, Run(f"systemctl --user kill -s KILL {unit}"))


def an_act(kind: type, place: str) -> Act:
    acts: list[Act] = [Write(place, ""), Link(place, "x"), Aside(place), Mode(place, 0o600)]
    return next(act for act in acts if isinstance(act, kind))
