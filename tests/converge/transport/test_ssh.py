"""A real sshd on loopback: what is refused, what is cut off, what is lost."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from paramiko import Message, Transport
from paramiko.common import cMSG_CHANNEL_EOF

from converge.errors import ConnectionLost, Exit
from converge.transport import SshLink, Unreached, connect
from converge.transport.link import Stage
from tests.sshd import Sshd, free_port, keygen, needs_sshd, running

pytestmark = needs_sshd


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("client_locked", "stranger", "impostor"):
        keygen(folder / name, "open sesame" if name == "client_locked" else "")
    keygen(folder / "impostor_rsa", kind="rsa")
    with running(folder) as sshd:
        yield sshd


@pytest.fixture
def sshd(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> Sshd:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    server.client()
    server.trust()
    return server


@pytest.fixture
def link(sshd: Sshd) -> Iterator[SshLink]:
    link = connect(sshd.inv, sshd.host)
    yield link
    link.close()


def refused(sshd: Sshd, stage: Stage) -> str:
    with pytest.raises(Unreached) as caught:
        connect(sshd.inv, sshd.host)
    assert caught.value.stage == stage
    assert caught.value.exit_code == Exit.UNREACHABLE
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


# Cryptography


def test_what_withstands_most_and_costs_least_is_offered_first_and_nothing_is_left_out(link: SshLink) -> None:
    transport = link._transport
    options, stock = transport.get_security_options(), Transport(socket.socketpair()[0])
    assert [name.partition("-")[0] for name in options.kex[:2]] == ["mlkem768x25519", "curve25519"]
    assert list(options.ciphers[:2]) == ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"]
    plain = stock.get_security_options()
    assert (set(options.kex), set(options.ciphers)) == (set(plain.kex), set(plain.ciphers))
    assert vars(transport)["local_cipher"] == vars(transport)["remote_cipher"] == "aes128-gcm@openssh.com"


@pytest.mark.parametrize(
    "settings",
    [("Ciphers aes256-ctr", "KexAlgorithms ecdh-sha2-nistp256"), ("KexAlgorithms diffie-hellman-group14-sha256",)],
)
def test_a_peer_that_has_only_older_ones_is_connected_to(tmp_path: Path, settings: tuple[str, ...]) -> None:
    with running(tmp_path, *settings) as older:
        link = connect(older.inv, older.host)
        assert link.exec("echo it", limit=5).out == b"it\n"
        link.close()


# Host keys


def test_an_unknown_key_is_refused_and_the_message_says_how_to_accept_it(sshd: Sshd) -> None:
    sshd.known_hosts.unlink()
    text = refused(sshd, "host key")
    assert "is not known here" in text
    assert "SHA256:" in text
    assert str(sshd.known_hosts) in text
    assert f"ssh-keyscan -t ed25519 -p {sshd.port} 127.0.0.1 >> {sshd.known_hosts}" in text


def test_the_command_of_the_message_accepts_it(sshd: Sshd) -> None:
    sshd.known_hosts.unlink()
    command = refused(sshd, "host key").split("`")[1]
    assert os.system(f"({command}) 2>/dev/null") == 0
    connect(sshd.inv, sshd.host).close()


def test_a_changed_key_is_refused_loudly(sshd: Sshd) -> None:
    sshd.trust("impostor")
    text = refused(sshd, "host key")
    assert "HAS CHANGED" in text
    assert f"{sshd.known_hosts} line 1" in text


def test_a_revoked_key_is_refused(sshd: Sshd) -> None:
    sshd.known_hosts.write_text(sshd.known_hosts.read_text() + "@revoked " + sshd.known_hosts.read_text())
    assert "revoked" in refused(sshd, "host key")


def test_a_key_of_another_type_is_unknown_not_trusted(sshd: Sshd) -> None:
    sshd.trust("impostor_rsa")
    assert "is not known here" in refused(sshd, "host key")


def test_an_alias_for_the_key_is_honoured(sshd: Sshd) -> None:
    sshd.client("HostKeyAlias vampires")
    assert "looked for vampires" in refused(sshd, "host key")
    sshd.trust(name="vampires")
    connect(sshd.inv, sshd.host).close()


# Ways not to arrive


def test_nobody_listens(sshd: Sshd) -> None:
    sshd.client(f"Port {free_port()}")
    assert "refuses connections" in refused(sshd, "route")


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (errno.EHOSTUNREACH, "Look at this machine's network"),
        (errno.ENETUNREACH, "Look at this machine's network"),
        (errno.EACCES, "Look at hosts.app.address in "),
    ],
)
def test_no_way_there(sshd: Sshd, monkeypatch: pytest.MonkeyPatch, number: int, mend: str) -> None:
    def fail(*_args: object) -> socket.socket:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "create_connection", fail)
    said = refused(sshd, "route")
    assert f"127.0.0.1 port {sshd.port} cannot be reached ({os.strerror(number)})" in said
    assert mend in said


def test_a_name_that_does_not_exist(sshd: Sshd) -> None:
    sshd.client("HostName no-such-host.invalid")
    assert "not known here" in refused(sshd, "name")


def test_something_else_answers(sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(target=_greet, args=(other, b"HTTP/1.1 400 Bad Request\r\n" * 200), daemon=True).start()
        sshd.client(f"Port {other.getsockname()[1]}")
        assert "does not answer as an sshd does" in refused(sshd, "banner")


def test_silence_is_not_waited_for(sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        sshd.client(f"Port {mute.getsockname()[1]}")
        began = time.monotonic()
        refused(sshd, "banner")
        assert time.monotonic() - began < sshd.inv.connect.timeout + 2


def _greet(server: socket.socket, words: bytes) -> None:
    peer, _ = server.accept()
    with peer:
        peer.sendall(words)
        time.sleep(1)


# Logging in


def test_a_key_that_is_not_authorised(sshd: Sshd) -> None:
    sshd.client(key="stranger")
    text = refused(sshd, "login")
    assert "stranger" in text
    assert "ssh-copy-id" in text


def test_no_key_at_all(sshd: Sshd) -> None:
    sshd.client(key="absent")
    assert "no key to offer" in refused(sshd, "login")


def test_a_key_with_a_passphrase_and_nobody_to_ask(sshd: Sshd) -> None:
    sshd.client(key="client_locked")
    assert "ssh-add" in refused(sshd, "login")


def test_a_passphrase_is_asked_for(sshd: Sshd) -> None:
    sshd.client(key="client_locked")
    asked: list[str] = []
    answers = iter(["wrong", "open sesame"])

    def ask(prompt: str, *, echo: bool = False) -> str | None:
        asked.append(prompt)
        return None if echo else next(answers)

    link = connect(sshd.inv, sshd.host, ask=ask)
    assert link.login == f"key file {sshd.folder}/client_locked"
    assert len(asked) == 2
    link.close()
    # A further connection of the same session may have to stand within a minute.
    for who in (ask, None):
        connect(sshd.inv, sshd.host, ask=who).close()
    assert len(asked) == 2
    (sshd.folder / "client_locked").unlink()
    keygen(sshd.folder / "client_locked", "another")
    with (sshd.folder / "authorized").open("a") as keys:
        keys.write((sshd.folder / "client_locked.pub").read_text())
    answers = iter(["another"])
    connect(sshd.inv, sshd.host, ask=ask).close()
    assert len(asked) == 3, "it is another key now"


def test_the_agent_is_asked_first(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("ssh-agent"):
        pytest.skip("no ssh-agent here: apt-get install openssh-client")
    sock = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(sock)], stdout=subprocess.DEVNULL)
    try:
        while not sock.exists():
            time.sleep(0.02)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(sock))
        subprocess.run(["ssh-add", "-q", str(sshd.folder / "client")], check=True, stderr=subprocess.DEVNULL)
        link = connect(sshd.inv, sshd.host)
        assert link.login.startswith("agent key")
        link.close()
    finally:
        agent.terminate()
        agent.wait()


# Other ways


def test_through_a_jump_host(sshd: Sshd) -> None:
    hop = f"Host hop\nHostName 127.0.0.1\nPort {sshd.port}\nIdentityFile {sshd.folder}/client"
    sshd.client("ProxyJump hop")
    sshd.config.write_text(f"{sshd.config.read_text()}{hop}\nUserKnownHostsFile {sshd.known_hosts}\n")
    link = connect(sshd.inv, sshd.host)
    assert link.exec("echo there", limit=5).out == b"there\n"
    link.close()


def test_through_a_command(sshd: Sshd) -> None:
    if not shutil.which("bash"):
        pytest.skip("no bash here")
    forward = f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/{sshd.port}; cat <&3 & cat >&3'"
    sshd.client(f"ProxyCommand {forward}")
    link = connect(sshd.inv, sshd.host)
    assert link.exec("echo there", limit=5).out == b"there\n"
    link.close()


# Execs


def test_status_outputs_and_input(link: SshLink) -> None:
    done = link.exec("cat; printf 'no\\377' >&2; exit 3", limit=10, stdin=b"in\x00\xff")
    assert (done.rc, done.out, done.err) == (3, b"in\x00\xff", b"no\xff")


def test_input_is_closed(link: SshLink) -> None:
    assert link.exec("cat; echo end", limit=10).out == b"end\n"


def test_megabytes_of_both_outputs_do_not_block_each_other(link: SshLink) -> None:
    flood = "head -c 6000000 /dev/zero | tr '\\0' x >&2; head -c 6000000 /dev/zero; head -c 5000000 /dev/zero >&2"
    done = link.exec(flood, limit=60)
    assert (done.rc, len(done.out), len(done.err)) == (0, 6_000_000, 11_000_000)


def test_input_that_is_echoed_while_it_is_sent(link: SshLink) -> None:
    data = os.urandom(4_000_000)
    assert link.exec("cat", limit=60, stdin=data).out == data


def test_input_that_nobody_reads(link: SshLink) -> None:
    assert link.exec("exit 5", limit=20, stdin=b"x" * 8_000_000).rc == 5


def test_a_long_script_goes_over_standard_input(link: SshLink) -> None:
    assert link.exec("# " + "x" * 200_000 + "\necho long; cat", limit=10).out == b"long\n"


def test_quotes_survive(link: SshLink) -> None:
    assert link.exec("""echo 'a"b'\\''c $HOME'""", limit=10).out == b"""a"b'c $HOME\n"""


def test_the_limit_closes_only_its_own_channel(link: SshLink) -> None:
    done = link.exec("echo begun; sleep 20", limit=0.5)
    assert (done.rc, done.out) == (124, b"begun\n")
    assert b"may still be running" in done.err
    assert done.seconds < 5
    assert link.exec("echo still", limit=10).out == b"still\n"


def test_a_background_child_that_holds_the_output(link: SshLink) -> None:
    done = link.exec("echo yes; sleep 3 & exit 6", limit=1)
    assert (done.rc, done.out) == (6, b"yes\n")
    assert b"left behind" in done.err


def test_four_at_the_same_time_and_more_wait(link: SshLink) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: link.exec(f"echo {n}", limit=20).out, range(24)))
    assert answers == [f"{n}\n".encode() for n in range(24)]


@pytest.mark.parametrize("stdin", [b"", b"x" * 300_000], ids=["none", "much"])
def test_an_end_of_input_that_is_sent_late_does_not_meet_a_closed_channel(
    link: SshLink, monkeypatch: pytest.MonkeyPatch, stdin: bytes
) -> None:
    """paramiko may send it when the channel is closed on both sides, for which an sshd ends the connection."""
    send: Callable[[Transport, Message], None] = vars(Transport)["_send_user_message"]

    def late(transport: Transport, message: Message) -> None:
        if message.asbytes()[:1] == cMSG_CHANNEL_EOF:
            time.sleep(0.2)
        send(transport, message)

    monkeypatch.setattr(Transport, "_send_user_message", late)
    for n in range(3):
        assert link.exec(f"echo {n}; exit 5", limit=20, stdin=stdin).out == f"{n}\n".encode()
    assert link.alive


def test_a_short_exec_is_not_slowed_down_by_the_network_stack(link: SshLink) -> None:
    link.exec("true", limit=5)
    assert min(link.exec("true", limit=5).seconds for _ in range(10)) < 0.03


def test_a_connection_that_dies_is_lost_not_failed(link: SshLink, tmp_path: Path) -> None:
    with pytest.raises(ConnectionLost, match="unknown") as caught:
        link.exec(f"echo ran >> {tmp_path}/ran; kill -9 $PPID; sleep 5", limit=20)
    assert caught.value.exit_code == Exit.UNKNOWN
    assert not link.alive
    with pytest.raises(ConnectionLost, match="did not start"):
        link.exec("true", limit=5)
    assert (tmp_path / "ran").read_text() == "ran\n"


def test_a_script_that_a_signal_ends_is_not_a_lost_connection(link: SshLink) -> None:
    done = link.exec("kill -9 $$", limit=10)
    assert done.rc > 128
    assert link.alive
