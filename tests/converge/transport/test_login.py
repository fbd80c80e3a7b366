"""Logins that only a person can answer, against a small server in this process."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import paramiko
import pytest
from paramiko.common import AUTH_FAILED, AUTH_PARTIALLY_SUCCESSFUL, AUTH_SUCCESSFUL
from paramiko.server import InteractiveQuery

from converge.transport import SshLink, Unreached, connect
from converge.transport.credentials import Remembered, is_lasting
from converge.transport.login import Login
from hosts.schema import Inventory
from tests.sshd import inventory, keygen


class Server(paramiko.ServerInterface):
    """Accepts the password ``secret`` or the code ``123456`` by the methods that it is told to allow.

    It may want more `after` the password, and may have no patience: then it hangs up on what is wrong. `given` is all that
    was said to it.
    """

    transport: paramiko.Transport

    def __init__(
        self,
        methods: str,
        after_key: str = "",
        password: str = "secret",
        prompt: str = "Code: ",
        *,
        after_password: str = "",
        patient: bool = True,
    ) -> None:
        self.methods, self.after_key, self.password, self.prompt = methods, after_key, password, prompt
        self.after_password, self.patient = after_password, patient
        self.given: list[str] = []

    def get_allowed_auths(self, _username: str) -> str:
        return self.methods

    def check_auth_publickey(self, _username: str, _key: paramiko.PKey) -> int:
        if not self.after_key:
            return AUTH_FAILED
        self.methods = self.after_key
        return AUTH_PARTIALLY_SUCCESSFUL

    def check_auth_password(self, _username: str, password: str) -> int:
        self.given.append(password)
        if password != self.password:
            if not self.patient:
                self.transport.close()
            return AUTH_FAILED
        if self.after_password:
            self.methods = self.after_password
            return AUTH_PARTIALLY_SUCCESSFUL
        return AUTH_SUCCESSFUL

    def check_auth_interactive(self, _username: str, _submethods: str) -> int | InteractiveQuery:
        return InteractiveQuery("", "", (self.prompt, False))

    def check_auth_interactive_response(self, responses: list[str]) -> int:
        self.given += responses
        return AUTH_SUCCESSFUL if responses == ["123456"] else AUTH_FAILED


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    keygen(tmp_path / "host", kind="ecdsa")
    keygen(tmp_path / "client")
    monkeypatch.setattr(Login, "remembered", Remembered())
    return tmp_path


def serve(folder: Path, methods: str, after_key: str = "") -> Inventory:
    return serve_each(folder, Server(methods, after_key))


def serve_each(folder: Path, *servers: Server, port: int = 0) -> Inventory:
    """One connection after the other, each to its own server."""
    listener = socket.create_server(("127.0.0.1", port))
    port = listener.getsockname()[1]

    def run() -> None:
        with listener:
            for server in servers:
                transport = paramiko.Transport(listener.accept()[0])
                transport.add_server_key(paramiko.ECDSAKey.from_private_key_file(str(folder / "host")))
                server.transport = transport
                # With an event it is not waited for: a client that hangs up in the handshake is no failure of this thread.
                transport.start_server(threading.Event(), server)

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


# A second login of the same session


def logins(inv: Inventory, person: Person, times: int = 2) -> list[SshLink]:
    links = [connect(inv, inv.app_host, ask=person) for _ in range(times)]
    for link in links:
        link.close()
    assert not person.answers
    return links


@pytest.mark.parametrize(
    ("methods", "prompt", "answer"),
    [("password", "", "secret"), ("keyboard-interactive", "Password: ", "123456")],
)
def test_a_password_is_asked_for_once(folder: Path, methods: str, prompt: str, answer: str) -> None:
    inv = serve_each(folder, *(Server(methods, prompt=prompt) for _ in range(3)))
    links = logins(inv, person := Person("wrong", answer), 3)
    assert len(person.asked) == 2
    assert [link.asks_again for link in links] == [(), (), ()]


def test_a_password_is_known_when_nobody_is_at_the_terminal_any_more(folder: Path) -> None:
    inv = serve_each(folder, Server("password"), Server("password"))
    logins(inv, Person("secret"), 1)
    link = connect(inv, inv.app_host)
    assert link.login == "password"
    link.close()


def test_a_code_is_asked_for_each_time_and_that_is_known(folder: Path) -> None:
    inv = serve_each(folder, *(Server("keyboard-interactive") for _ in range(2)))
    links = logins(inv, Person("123456", "123456"))
    assert [link.asks_again for link in links] == [("hkn@127.0.0.1: Code: ",)] * 2


def test_a_password_that_is_refused_is_forgotten(folder: Path) -> None:
    servers = [Server("password", password=each) for each in ("secret", "changed", "changed")]
    logins(serve_each(folder, *servers), person := Person("secret", "changed"), 3)
    assert len(person.asked) == 2


def both() -> Server:
    """One that wants a password, and then a code."""
    return Server("password", after_password="keyboard-interactive")


def test_a_host_that_asks_for_a_code_is_not_tried_where_nobody_is_there_to_give_one(folder: Path) -> None:
    """Whoever dials every second to find out what became of a step would have the account locked."""
    inv = serve_each(folder, *(servers := [both(), both(), both()]))
    logins(inv, Person("secret", "123456"), 1)
    for _ in range(2):
        with pytest.raises(Unreached, match="a code is asked for only at a terminal"):
            connect(inv, inv.app_host)
    assert [server.given for server in servers] == [["secret", "123456"], [], []]


def test_a_host_that_begins_to_ask_for_a_code_is_tried_once(folder: Path) -> None:
    inv = serve_each(folder, *(servers := [Server("password"), both(), both(), both()]))
    logins(inv, Person("secret"), 1)
    for _ in range(2):
        with pytest.raises(Unreached, match="no login as hkn"):
            connect(inv, inv.app_host)
    logins(inv, Person("123456"), 1)
    assert [server.given for server in servers] == [["secret"], ["secret", ""], [], ["secret", "123456"]]


def test_a_remembered_password_that_is_refused_is_followed_by_no_empty_ones(folder: Path) -> None:
    servers = [Server("keyboard-interactive", prompt="Password: ") for _ in range(2)]
    inv = serve_each(folder, *servers)
    logins(inv, Person("123456"), 1)
    Login.remembered._answers = dict.fromkeys(Login.remembered._answers, "old")
    with pytest.raises(Unreached, match="no login as hkn"):
        connect(inv, inv.app_host)
    assert servers[1].given == ["old"]


def test_a_password_on_which_the_host_hangs_up_is_forgotten_and_the_host_is_said_to_have_hung_up(folder: Path) -> None:
    servers = [Server("password"), *(Server("password", password="changed", patient=False) for _ in range(2))]
    inv = serve_each(folder, *servers)
    logins(inv, Person("secret"), 1)
    with pytest.raises(Unreached, match="it ended the connection"):
        connect(inv, inv.app_host)
    logins(inv, Person("changed"), 1)
    assert servers[2].given == ["changed"]


@pytest.mark.parametrize("person", [None, Person()])
@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_host_that_hangs_up_between_key_and_login_is_not_reached(
    folder: Path, monkeypatch: pytest.MonkeyPatch, times: int, person: Person | None
) -> None:
    """However often it was asked who it is, as nothing may be asked of a connection that has ended."""
    inv, asked = serve(folder, "publickey"), paramiko.Transport.get_remote_server_key

    def shown(transport: paramiko.Transport) -> paramiko.PKey:
        nonlocal times
        times -= 1
        if times < 0:
            raise paramiko.SSHException("No existing session")
        return asked(transport)

    monkeypatch.setattr(paramiko.Transport, "get_remote_server_key", shown)
    with pytest.raises(Unreached, match="ended the connection" if times < 2 else "no login as hkn"):
        connect(inv, inv.app_host, ask=person)


def test_a_password_is_for_the_machine_that_has_this_key(folder: Path) -> None:
    inv = serve_each(folder, Server("password"))
    logins(inv, Person("secret"), 1)
    port = int((folder / "ssh_config").read_text().partition("Port ")[2].split()[0])
    for old in folder.glob("host*"):
        old.unlink()
    keygen(folder / "host", kind="ecdsa")
    logins(serve_each(folder, Server("password"), port=port), person := Person("secret"), 1)
    assert len(person.asked) == 1


def test_what_is_remembered_is_not_shown(folder: Path) -> None:
    logins(serve_each(folder, Server("password")), Person("secret"), 1)
    known = Login.remembered
    assert "secret" not in f"{known!r} {known}"


@pytest.mark.parametrize(
    ("question", "echo", "lasting"),
    [
        ("Password: ", False, True),
        ("password for hkn:", False, True),
        ("hkn@vampires's password: ", False, True),
        ("Password: ", True, False),
        ("One-time password (OATH) for `hkn': ", False, False),
        ("Verification code: ", False, False),
        ("Passcode or option (1-3): ", False, False),
        ("New password: ", False, False),
    ],
)
def test_which_answers_are_good_twice(question: str, echo: bool, lasting: bool) -> None:
    assert is_lasting(question, echo=echo) == lasting
