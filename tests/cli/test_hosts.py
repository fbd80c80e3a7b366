"""``./hkn hosts``: each failure with its one mend; live against a real sshd on loopback."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import hosts
from cli.__main__ import main
from converge.errors import Exit
from converge.transport import Completed
from facts.host.reach import Finding, answers, check_host, judged
from hosts.errors import InventoryError, NoLab
from hosts.loader import load
from hosts.schema import Inventory
from tests.sshd import Sshd, free_port, needs_sshd, running

GOOD = {
    "hostname": "vampires", "user": "hkn", "uid": "5000", "groups": "hkn ocfapphost", "home": "/home/h/hk/hkn",
    "release": "13", "system": "Debian GNU/Linux 13", "systemctl": "systemd 257", "curl": "curl 8", "ss": "ss utility",
    "git": "git 2", "manager": "running", "linger": "yes", "rubies": "3.1.7 3.3.14",
}  # fmt: skip


@pytest.fixture(scope="module")
def inv() -> Inventory:
    return load("lab", offline=True)


def failing(inv: Inventory, **changed: str) -> list[Finding]:
    findings = judged(inv, inv.app_host, GOOD | changed)
    return [f for f in findings if f.mark == "fails"]


def test_a_good_host(inv: Inventory) -> None:
    assert failing(inv) == []


@pytest.mark.parametrize(
    ("key", "value", "what", "mend"),
    [
        ("hostname", "werewolves", "hostname", "Look where"),
        ("user", "root", "user", "connect.user"),
        ("uid", "1000", "uid", "account.uid"),
        ("home", "/root", "home", "account.home"),
        ("release", "12", "release", "probably stale"),
        ("groups", "hkn", "group", "group ocfapphost"),
        ("manager", "Failed to connect to bus: No such file or directory", "user manager", "user@5000.service"),
        ("manager", "offline", "user manager", "user@5000.service"),
        ("linger", "no", "linger", "lingering"),
        ("curl", "", "curl", "install curl"),
        ("rubies", "", "ruby", "Install a Ruby"),
    ],
)
def test_each_failure_has_its_one_mend(inv: Inventory, key: str, value: str, what: str, mend: str) -> None:
    found = failing(inv, **{key: value})
    assert [f.what for f in found] == [what]
    assert mend in found[0].mend


def test_what_is_auto_is_shown_not_judged() -> None:
    production = load("production")
    found = {f.what: f for f in judged(production, production.app_host, GOOD)}
    assert (found["release"].mark, found["release"].seen) == ("note", "13 (Debian GNU/Linux 13)")
    assert found["uid"].mark == "note"
    assert "expected 2.5.1" in found["ruby"].seen


def test_answers() -> None:
    assert answers(Completed(0, b"a=b=c\nnoise\nd=\n\xff=1\n", b"", 0.1)) == {"a": "b=c", "d": "", "�": "1"}


def test_a_silent_host_is_all_failures(inv: Inventory) -> None:
    assert {f.what for f in judged(inv, inv.app_host, {}) if f.mark == "ok"} == set()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running(tmp_path_factory.mktemp("sshd")) as sshd:
        yield sshd


@pytest.fixture
def sshd(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> Sshd:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(hosts, "load", lambda _target: server.inv)
    monkeypatch.setattr(hosts, "terminal", lambda: None)
    server.client()
    server.trust()
    return server


@needs_sshd
def test_a_host_that_is_reached(sshd: Sshd) -> None:
    found = {f.what: f for f in check_host(sshd.inv, sshd.host, None)}
    for stage in ("name", "route", "host key", "login", "hostname"):
        assert found[stage].mark == "ok", found[stage]
    assert "SHA256:" in found["host key"].seen
    assert found["hostname"].seen == socket.gethostname()


@needs_sshd
@pytest.mark.parametrize(
    ("setting", "stage", "passed"),
    [
        ("HostName no-such-host.invalid", "name", []),
        ("Port NONE", "route", ["name"]),
        ("HostKeyAlias stranger", "host key", ["name", "route"]),
        ("User nobody-here", "login", ["name", "route", "host key"]),
    ],
)
def test_where_it_ends(sshd: Sshd, setting: str, stage: str, passed: list[str]) -> None:
    inv = sshd.inv.changed({"connect": sshd.inv.connect.changed({"user": ""})})
    sshd.client(setting.replace("NONE", str(free_port())))
    found = list(check_host(inv, sshd.host, None))
    assert [f.what for f in found if f.mark == "ok"] == passed
    assert [f.what for f in found if f.mark == "fails"] == [stage]
    assert all(f.mend for f in found if f.mark == "fails")


@needs_sshd
def test_the_command_shows_a_table_and_ends_with_the_code(sshd: Sshd) -> None:
    result = CliRunner().invoke(hosts.app, ["check"])
    assert "host key" in result.output
    assert result.exit_code in {Exit.HOLDS, Exit.FAILS}
    sshd.known_hosts.write_text("")
    result = CliRunner().invoke(hosts.app, ["check"])
    assert result.exit_code == Exit.UNREACHABLE
    assert f"ssh-keyscan -t ed25519 -p {sshd.port} 127.0.0.1 >> {sshd.known_hosts}" in result.output


def test_a_target_that_is_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["hkn", "hosts", "check", "prodution"])
    assert main() == Exit.USAGE
    assert "did you mean production?" in capsys.readouterr().err


def test_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hosts import loader

    for name in ("lab", "production"):
        (tmp_path / "hosts").mkdir(exist_ok=True)
        (tmp_path / "hosts" / f"{name}.toml").write_text((loader.HERE / f"{name}.toml").read_text())
    monkeypatch.setattr(loader, "HERE", tmp_path / "hosts")
    result = CliRunner().invoke(hosts.app, ["list"])
    assert result.exit_code == 0
    assert "not running" in result.output
    assert "legacy, retired" in result.output


def test_what_the_list_prints_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(target: str) -> Inventory:
        raise NoLab(target) if target == "[/x]" else InventoryError(f"{target}: [dim]wrong")

    monkeypatch.setattr(hosts, "targets", lambda: ["[/x]", "q[b]"])
    monkeypatch.setattr(hosts, "load", load)
    result = CliRunner().invoke(hosts.app, ["list"])
    assert result.exit_code == Exit.USAGE
    assert {"[/x]", "q[b]"} <= {line.split()[0] for line in result.output.splitlines() if line}
    assert "q[b]: [dim]wrong" in result.output
