"""testinfra's modules as readings: foreseen they cost nothing of their own, not foreseen they are a miss with a name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from converge.errors import Unobservable
from converge.readings import Context, Raw, reading
from converge.readings.answers import Store
from converge.readings.testinfra import ModuleReading, module
from converge.transport import LocalLink, connect
from tests.sshd import needs_sshd, running
from tests.targets import at_app, inventory

CLASSES = ["uname -s", "cat /etc/os-release", "uname -m"]


@module(lambda file: file.exists, lambda file: file.mode, lambda file: file.content_string)
def table(host: Any, c: Context) -> Any:  # noqa: ARG001
    """The table of users."""
    return host.file("/etc/passwd")


@module(lambda user: user.groups)
def me(host: Any, c: Context) -> Any:  # noqa: ARG001
    """A user."""
    return host.user("root")


@reading("echo plain")
def plain(raw: Raw, c: Context) -> str:  # noqa: ARG001
    """A reading like any other."""
    return raw.out.strip()


@pytest.fixture
def store() -> Store:
    inv = inventory()
    return Store(inv, {inv.app_host.name: LocalLink()}, "")


def foreseen(build: Callable[[Any, Context], Any], *uses: Callable[[Any], Any]) -> list[str]:
    return module(*uses)(build).commands(at_app(inventory()))


@pytest.mark.parametrize(
    ("build", "use", "sent"),
    [
        (lambda h, _c: h.file("/a b"), lambda f: f.mode, ["stat -Lc %a '/a b'"]),
        (lambda h, _c: h.package("git"), lambda p: p.is_installed, ["dpkg-query -f '${Status}' -W git"]),
        (lambda h, _c: h.service("a"), lambda s: s.is_running, ["test -d /run/systemd/system/", "systemctl is-active a"]),
        (lambda h, _c: h.socket("tcp://1"), lambda s: s.is_listening,
         ["command -v command", "command -v ss", "/usr/bin/ss --numeric --listening --tcp"]),
    ],
)  # fmt: skip
def test_what_a_module_sends_to_debian_is_known_beforehand(
    build: Callable[[Any, Context], Any], use: Callable[[Any], Any], sent: list[str]
) -> None:
    assert foreseen(build, use) == CLASSES + sent


def test_a_use_that_stumbles_hides_no_other() -> None:
    sent = foreseen(lambda h, _c: h.file("/x"), lambda f: f.no_such_thing, lambda f: f.size, lambda f: f.user)
    assert sent == [*CLASSES, "stat -Lc %s /x", "stat -Lc %U /x"]


def test_what_was_foreseen_is_asked_once_and_with_all_the_rest(store: Store) -> None:
    store.prefetch([(table, None), (me, None), (plain, None)])
    file = store(table)
    assert file.exists
    assert file.mode == Path("/etc/passwd").stat().st_mode & 0o7777
    assert file.content_string == Path("/etc/passwd").read_text()
    assert "root" in store(me).groups
    assert store(plain) == "plain"
    assert (store.tally.execs, store.tally.readings, store.tally.late) == (1, 8, [])
    assert [e.command for e in store.evidence_of([me], None)] == [*CLASSES, "id -nG root"]


def test_what_nobody_foresaw_goes_out_singly_and_is_named(store: Store) -> None:
    store.prefetch([(table, None)])
    assert store(table).user == "root"
    assert store(table).user == "root"
    assert store.tally.execs == 2
    assert store.tally.late == [f"stat -Lc %U /etc/passwd at {store.inv.app_host.name}"]


def test_after_an_act_no_old_answer_is_given_not_even_by_an_object_from_before(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "a file"
    path.write_bytes(b"caf\xe9 \xc3\xa9")

    @module(lambda file: file.content_string)
    def it(host: Any, c: Context) -> Any:  # noqa: ARG001
        return host.file(str(path))

    store.prefetch([(it, None)])
    before = store(it)
    assert before.content_string == "caf\\xe9 é"
    path.write_text("after")
    store.void()
    assert before.content_string == "after"
    assert store(it).content_string == "after"


def test_what_is_asked_again_is_asked_with_all_commands_and_nothing_else(store: Store, tmp_path: Path) -> None:
    path, times = tmp_path / "file", tmp_path / "times"
    path.write_text("before")

    @module(lambda file: file.content_string)
    def it(host: Any, c: Context) -> Any:  # noqa: ARG001
        return host.file(str(path))

    count = reading(f"echo >>{times}; wc -l <{times}")(lambda raw, _c: int(raw.out))
    store.prefetch([(it, None), (count, None), (plain, None)])
    seen = store.testinfra_host(store.inv.app_host.name).file(str(path))
    assert (seen.content_string, seen.size, store(count)) == ("before", 6, 1)
    path.write_text("after")
    store.ask_again([(plain, None)])
    assert (store(it).content_string, seen.size, store(count), store(plain)) == ("after", 5, 1, "plain")
    assert len(store.tally.late) == 1, "the size, before it was asked again"
    store.ask_again([(count, None)])
    assert (store(count), store.tally.execs) == (2, 4)


def test_a_command_that_does_not_work_is_no_answer(store: Store) -> None:
    host = store.testinfra_host(store.inv.app_host.name)
    assert not host.file("/no/such").exists
    with pytest.raises(Unobservable, match=r"stat -Lc %a /no/such ended with status 1: stat: .*No such file"):
        _ = host.file("/no/such").mode
    assert host.run("echo %s; exit 4", "a'b").stdout == "a'b\n"
    assert host.run("exit 4").rc == 4


@pytest.fixture
def over_ssh(tmp_path: Path) -> Iterator[Store]:
    with running(tmp_path) as sshd:
        link = connect(sshd.inv, sshd.host)
        yield Store(sshd.inv, {sshd.host.name: link}, "")
        link.close()


@needs_sshd
def test_over_a_connection_it_is_one_exec_and_no_miss(over_ssh: Store) -> None:
    wanted: list[ModuleReading[Any]] = [table, me]
    over_ssh.prefetch([(each, None) for each in wanted])
    assert over_ssh(table).exists
    assert over_ssh(table).mode
    assert over_ssh(me).groups
    assert (over_ssh.tally.execs, over_ssh.tally.late) == (1, [])
    assert over_ssh(table).group == "root"
    assert (over_ssh.tally.execs, over_ssh.tally.late) == (2, ["stat -Lc %G /etc/passwd at app"])
