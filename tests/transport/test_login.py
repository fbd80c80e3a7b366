"""Logins that only a person can answer, against a small server in this process."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import paramiko
import pytest
from paramiko.common import AUTH_FAILED, AUTH_PARTIALLY_SUCCESSFUL, AUTH_SUCCESSFUL
from paramiko.server import InteractiveQuery

from converge.transport import Unreached, connect
from hosts.schema import Inventory
from tests.sshd import inventory, keygen


class Server(paramiko.ServerInterface):
    """Accepts the password ``secret`` or the code ``123456`` by the methods that it is told to allow."""

    def __init__(self, methods: str, after_key: str = "") -> None:
        self.methods, self.after_key = methods, after_key

    def get_allowed_auths(self, _username: str) -> str:
        return self.methods

    def check_auth_publickey(self, _username: str, _key: paramiko.PKey) -> int:
        if not self.after_key:
            return AUTH_FAILED
        self.methods = self.after_key
        return AUTH_PARTIALLY_SUCCESSFUL

    def check_auth_password(self, _username: str, password: str) -> int:
        return AUTH_SUCCESSFUL if password == "secret" else AUTH_FAILED

    def check_auth_interactive(self, _username: str, _submethods: str) -> int | InteractiveQuery:
        return InteractiveQuery("", "", ("Code: ", False))

    def check_auth_interactive_response(self, responses: list[str]) -> int:
        return AUTH_SUCCESSFUL if responses == ["123456"] else AUTH_FAILED


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    keygen(tmp_path / "host", kind="ecdsa")
    keygen(tmp_path / "client")
    return tmp_path


def serve(folder: Path, methods: str, after_key: str = "") -> Inventory:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def run() -> None:
        with listener:
            transport = paramiko.Transport(listener.accept()[0])
        transport.add_server_key(paramiko.ECDSAKey.from_private_key_file(str(folder / "host")))
        transport.start_server(server=Server(methods, after_key))

    threading.Thread(target=run, daemon=True).start()
    kind, blob, *_ = (folder / "host.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {blob}\n")
    (folder / "ssh_config").write_text(
        f"Host app\nHostName 127.0.0.1\nPort {port}\nIdentityFile {folder}/client\nUserKnownHostsFile {folder}/known_hosts\n"
    )
    return inventory(folder, "hkn")


class Person:
    """Answers in order, and remembers what was asked."""

    def __init__(self, *answers: str | None) -> None:
        self.answers, self.asked = list(answers), list[str]()

    def __call__(self, prompt: str, *, echo: bool = False) -> str | None:
        self.asked.append(f"{prompt}{echo}")
        return self.answers.pop(0)


@pytest.mark.parametrize(
    ("methods", "after_key", "answers", "by"),
    [
        ("publickey,password", "", ["wrong", "secret"], "password"),
        ("publickey,keyboard-interactive", "", ["1", "123456"], "keyboard-interactive"),
        ("password", "", ["secret"], "password"),
        ("publickey", "keyboard-interactive", ["123456"], "keyboard-interactive"),
    ],
)
def test_what_is_asked_for(folder: Path, methods: str, after_key: str, answers: list[str | None], by: str) -> None:
    inv, person = serve(folder, methods, after_key), Person(*answers)
    link = connect(inv, inv.app_host, ask=person)
    assert link.login == by
    assert not person.answers
    assert "127.0.0.1" in person.asked[0]
    link.close()


@pytest.mark.parametrize("answers", [["a", "b", "c"], [None]])
def test_a_person_who_does_not_know(folder: Path, answers: list[str | None]) -> None:
    inv = serve(folder, "publickey,password")
    with pytest.raises(Unreached, match="no login as hkn") as caught:
        connect(inv, inv.app_host, ask=Person(*answers))
    assert "it accepts" in str(caught.value)


def test_nobody_is_asked_if_nobody_is_there(folder: Path) -> None:
    inv = serve(folder, "publickey,password")
    with pytest.raises(Unreached, match="asked for only at a terminal"):
        connect(inv, inv.app_host)
