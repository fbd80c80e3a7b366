"""Hosts as they come: other login shells, profiles that talk, a full /tmp, a read-only home, an sshd that dies."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from converge.errors import HostUnreachable, Unobservable
from converge.journal.lock import Lock, acting, holder
from converge.readings import Context, Raw, Reading, reading
from converge.readings.answers import Store
from converge.transport import connect
from facts.application import READINGS
from facts.prelude import prelude
from tests.reports import swept
from tests.sshd import Sshd, inventory_of, needs_sshd, running

pytestmark = needs_sshd
TOP = Path(__file__).resolve().parents[3]
NOISE = 'echo welcome; printf "no end of line"; echo "stty: not a terminal" >&2; '


def said(name: str, script: str) -> Reading[str]:
    """A reading whose value is what its script says on both streams."""

    def parse(raw: Raw, _c: Context) -> str:
        return f"{raw.out}|{raw.err}"

    parse.__name__ = name
    return reading(script)(parse)


FIRST = said("first", "echo 'a  \"b\" $0!'; echo err >&2")
SECOND = said("second", "echo $((1 + 1))")
LOST = said("lost", "sleep 1; p=$(ps -o ppid= -p $PPID); kill -9 $(ps -o ppid= -p $p); sleep 5; echo late")
AFTER = said("after", "echo after")


@contextmanager
def reading_from(sshd: Sshd, before: str = "") -> Iterator[Store]:
    link = connect(sshd.inv, sshd.host)
    try:
        yield Store(sshd.inv, {sshd.host.name: link}, before)
    finally:
        link.close()


def assert_read(sshd: Sshd) -> None:
    with reading_from(sshd) as store:
        store.prefetch([(FIRST, None), (SECOND, None)])
        assert store(FIRST) == "a  \"b\" $0!\n|err\n"
        assert store(SECOND) == "2\n|"
        assert (store.tally.execs, store.tally.late) == (1, [])


def login_shell(words: str) -> str:
    """What sshd does with an account's login shell, for one that it has not."""
    return f'ForceCommand {words} -c "$SSH_ORIGINAL_COMMAND"'


@pytest.mark.parametrize("shell", ["dash", "bash --posix", "busybox sh", "zsh", "mksh"])
def test_the_login_shell_may_be_another(tmp_path: Path, shell: str) -> None:
    name, _, flags = shell.partition(" ")
    if not (place := shutil.which(name)):
        assert "CI" not in os.environ, f"script/test installs {name}"
        pytest.skip(f"no {name} here: apt-get install {name}")
    with running(tmp_path, login_shell(f"exec {place} {flags}")) as sshd:
        assert_read(sshd)
        link = connect(sshd.inv, sshd.host)
        done = link.exec("head -c 2; exit 3", limit=10, stdin=b"in" * 200_000)
        link.close()
        assert (done.rc, done.out) == (3, b"in")


def test_the_login_shell_may_be_a_wrapper_that_talks(tmp_path: Path) -> None:
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\n{NOISE}\nsh "$@"\nstatus=$?\necho goodbye; echo goodbye >&2\nexit $status\n')
    wrapper.chmod(0o755)
    with running(tmp_path, login_shell(str(wrapper))) as sshd:
        assert_read(sshd)


needs_bashrc = pytest.mark.skipif(
    not pwd.getpwuid(os.geteuid()).pw_shell.endswith("bash"), reason="the login shell reads no .bashrc"
)


@needs_bashrc
def test_a_profile_may_print_on_both_streams(tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text(NOISE + "\n")
    with running(tmp_path) as sshd:
        link = connect(sshd.inv, sshd.host)
        done = link.exec("true", limit=10)
        link.close()
        assert (done.out, done.err) == (b"", b""), "what a profile prints is no answer"
        assert_read(sshd)


@needs_bashrc
def test_a_profile_that_prints_keeps_nobody_from_the_lock(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir()
    (tmp_path / ".bashrc").write_text(f"export XDG_RUNTIME_DIR={runtime}\nprintf hello; head -c 200000 /dev/zero\n")
    with running(tmp_path) as sshd:
        link = connect(sshd.inv, sshd.host)
        lock = Lock(link)
        lock.acquire("ada", "R1")
        held = holder(link)
        assert held
        assert (held.who, acting(link)) == ("ada", "")
        lock.release()
        link.close()


@needs_bashrc
@pytest.mark.parametrize(("profile", "said"), [("exit 0", ""), ("echo no login today >&2; exit 1", "no login today")])
def test_a_profile_that_ends_the_shell_is_told_once(tmp_path: Path, profile: str, said: str) -> None:
    (tmp_path / ".bashrc").write_text(f"{profile}\n")
    with running(tmp_path) as sshd:
        link = connect(sshd.inv, sshd.host)
        with pytest.raises(HostUnreachable, match=f"without running what it was sent.*{said}(.|\n)*start-up files"):
            link.exec("true", limit=10)
        link.close()


def test_an_sshd_that_dies_costs_only_what_was_not_answered(tmp_path: Path) -> None:
    with running(tmp_path) as sshd, reading_from(sshd) as store:
        store.prefetch([(FIRST, None), (SECOND, None), (LOST, None), (AFTER, None)])
        assert store(FIRST) == "a  \"b\" $0!\n|err\n"
        assert store(SECOND) == "2\n|"
        for each in (LOST, AFTER):
            with pytest.raises(Unobservable, match=f"{each.name} could not be read: app: the connection was lost"):
                store(each)


# A file system of the host's own.


def may_mount() -> bool:
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(
    "CI" not in os.environ and not may_mount(), reason="a mount namespace needs root (or CAP_SYS_ADMIN)"
)

OWN_TMP = "mount -t tmpfs -o size=1m none /tmp"
UNUSABLE_TMP = "mount -t tmpfs -o size=64k,noexec none /tmp; cat /dev/zero >/tmp/full 2>/dev/null || :"


def read_only(folder: Path) -> str:
    return f"mount --bind {folder} {folder}; mount -o remount,bind,ro {folder}"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that is not below /tmp."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        yield Path(name)


def complaints(sshd: Sshd) -> dict[str, str]:
    """What every reading of an app host says on its error output, and those that were not answered."""
    asked = [each for each in READINGS.values() if each.on in {"app", "here", "live"} and each.script]
    with reading_from(sshd, prelude(sshd.inv)) as store:
        store.prefetch([(each, None) for each in asked])
        assert len(store.evidence) == len(asked)
        return {e.reading: e.err + e.note for e in store.evidence.values()}


@needs_mounts
def test_a_full_tmp_without_exec_and_a_read_only_home_take_nothing_from_any_reading(folder: Path) -> None:
    with running(folder) as sshd:
        usual = complaints(sshd)
    with running(folder, mounts=f"{UNUSABLE_TMP}\n{read_only(folder)}") as sshd:
        link = connect(sshd.inv, sshd.host)
        for script, word in ((f"echo x >>{folder}/x", b"Read-only"), ("cat /dev/zero >/tmp/x", b"No space")):
            assert word in link.exec(script, limit=10).err
        link.close()
        assert complaints(sshd) == usual
        assert_read(sshd)


def files(top: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of everything below a folder, sshd's own log apart."""
    found = {str(path.relative_to(top)): path.lstat() for path in top.rglob("*") if path.name != "sshd.log"}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in found.items()}


def processes_of(sshd: Sshd) -> set[str]:
    """What runs with the home that this sshd gives, and its sessions."""
    found = set(Path(f"/proc/{sshd.pid}/task/{sshd.pid}/children").read_text().split())
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"HOME={sshd.folder}\0".encode() in entry.read_bytes():
                found.add(entry.parent.name)
        except OSError:
            continue
    return found


@needs_mounts
def test_a_check_leaves_nothing_behind_on_the_host(folder: Path, tmp_path: Path) -> None:
    with running(folder, mounts=OWN_TMP) as sshd:
        target = tmp_path / "target.toml"
        target.write_text(inventory_of(sshd))
        places = (folder, Path(f"/proc/{sshd.pid}/root/tmp"))
        link = connect(sshd.inv, sshd.host)
        assert processes_of(sshd), "a session is seen"
        link.exec("echo x >/tmp/seen", limit=10)
        link.close()
        before = [files(place) for place in places]
        assert before[1].keys() == {"seen"}
        words = [sys.executable, "-m", "pytest", "verify/", "-q", "--target", str(target)]
        with swept(target.stem):
            done = subprocess.run(words, cwd=TOP, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "1 connection, 2 execs" in done.stdout
        assert [files(place) for place in places] == before
        end = time.monotonic() + 10
        while processes_of(sshd) and time.monotonic() < end:
            time.sleep(0.1)
        assert processes_of(sshd) == set()
