"""One hop: socket, handshake, host key, login; each way of failing is one message with one mend."""

from __future__ import annotations

import contextlib
import errno
import shlex
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from paramiko import Channel, Transport
from paramiko.ssh_exception import IncompatiblePeer, SSHException

from converge.transport import known_hosts
from converge.transport.link import Ask, Stage, Unreached
from converge.transport.login import Login
from converge.transport.route import Way

SILENCE_MS = 30_000
"""How long the kernel keeps a connection whose data nobody acknowledges; keepalives make sure that there is data."""

NO_ROUTE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL}

EXCHANGES = ("mlkem", "sntrup", "curve25519")
"""How the names of the key exchanges begin that are offered first. One that withstands a quantum computer comes before the
cheapest: what a host answers may be recorded today, and it costs a fifth of a millisecond more. Nothing is left out."""

CIPHERS = ("aes128-gcm", "aes256-gcm")
"""Ciphers that are offered first: they authenticate in the same pass, so that a packet costs one call instead of two, and
what is known of attacks on the order of packets (Terrapin) does not touch them. Nothing is left out."""


@dataclass(frozen=True)
class Hop:
    """An open, logged in connection to one machine on the way."""

    way: Way
    transport: Transport
    fingerprint: str
    login: str
    asks_again: tuple[str, ...]
    finish: Callable[[], None]

    def close(self) -> None:
        """End it, and the ProxyCommand if one carries it."""
        self.transport.close()
        self.finish()


def dial(way: Way, ask: Ask | None, through: Hop | None) -> Hop:
    """Connect and log in, directly or through another hop. Raises ``Unreached``."""
    entries = known_hosts.read(way.known_hosts)
    carrier, finish = _carrier(way, through)
    transport = Transport(carrier)
    try:
        _handshake(way, transport, known_hosts.kinds(entries, _key_name(way)))
        shown = _check_key(way, transport, entries)
        login = Login(transport, way, ask)
        return Hop(way, transport, shown, login.run(), tuple(login.asks_again), finish)
    except BaseException:
        transport.close()
        finish()
        raise


def _key_name(way: Way) -> str:
    return way.key_alias or known_hosts.key_name(way.address, way.port)


def _carrier(way: Way, through: Hop | None) -> tuple[socket.socket | Channel, Callable[[], None]]:
    """What carries the bytes, and what is to be ended with it."""
    if through:
        return _tunnel(way, through), lambda: None
    if way.command:
        return _proxied(way.command)
    return _tcp(way), lambda: None


def _tcp(way: Way) -> socket.socket:
    try:
        sock = socket.create_connection((way.address, way.port), way.timeout)
    except socket.gaierror as problem:
        seen = f"the name {way.address} is not known here ({problem.strerror})"
        raise Unreached(way.name, "name", seen, f"Look at your network's DNS, and at {way.where}.") from None
    except TimeoutError:
        seen = f"no answer from {way.at} within {way.timeout:g} s"
        mend = "Look whether the host is up and whether a firewall is in between; connect.timeout is how long to wait."
        raise Unreached(way.name, "route", seen, mend) from None
    except ConnectionRefusedError:
        seen = f"{way.at} refuses connections: the machine is there, but no sshd listens"
        mend = f"Look at the address and the port ({way.where}), or ask {way.contact} to start sshd."
        raise Unreached(way.name, "route", seen, mend) from None
    except OSError as problem:
        seen = f"{way.at} cannot be reached ({problem.strerror or problem})"
        nearby = problem.errno in NO_ROUTE
        mend = "Look at this machine's network (cable, VPN, route)." if nearby else f"Look at {way.where}."
        raise Unreached(way.name, "route", seen, mend) from None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_MS)
    return sock


def _tunnel(way: Way, through: Hop) -> Channel:
    try:
        target = (way.address, way.port)
        return through.transport.open_channel("direct-tcpip", target, ("127.0.0.1", 0), timeout=way.timeout)
    except (SSHException, EOFError, OSError) as problem:
        seen = f"{way.at} cannot be reached through {through.way.name} ({problem or 'closed'})"
        mend = f"Look whether `ssh {through.way.address} nc -zv {way.address} {way.port}` connects."
        raise Unreached(way.name, "route", seen, mend) from None


def _proxied(command: str) -> tuple[socket.socket, Callable[[], None]]:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"], stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.DEVNULL
        )

    def finish() -> None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)

    return ours, finish


def _handshake(way: Way, transport: Transport, kinds: list[str]) -> None:
    transport.banner_timeout = transport.handshake_timeout = way.timeout
    # A host has keys of several types: ask for one that is known, or a known host looks like a stranger.
    options = transport.get_security_options()
    options.key_types = sorted(options.key_types, key=lambda algorithm: _kind(algorithm) not in kinds)
    options.kex = sorted(options.kex, key=lambda algorithm: _rank(algorithm, EXCHANGES))
    options.ciphers = sorted(options.ciphers, key=lambda algorithm: _rank(algorithm, CIPHERS))
    try:
        transport.start_client(timeout=way.timeout)
    except IncompatiblePeer as problem:
        seen = f"no common cryptography with {way.at}: {problem}"
        mend = "Its sshd is too old or too strict for this client: connect with ProxyCommand and the system's ssh."
        raise Unreached(way.name, "banner", seen, mend) from None
    except (SSHException, EOFError, OSError) as problem:
        raise _no_handshake(way, problem) from None
    if not transport.initial_kex_done:
        raise _no_handshake(way, TimeoutError(f"no key exchange within {way.timeout:g} s"))


def _no_handshake(way: Way, problem: Exception) -> Unreached:
    if any(word in str(problem) for word in ("banner", "protocol version")):
        seen, mend = f"{way.at} does not answer as an sshd does ({problem})", f"Look at the port in {way.where}."
    else:
        seen = f"{way.at} ended the connection before the login ({problem or type(problem).__name__})"
        mend = "Wait a minute and try again (sshd may be busy, or keep this address out for a while)."
    return Unreached(way.name, "banner", seen, mend)


def _rank(algorithm: str, first: Sequence[str]) -> int:
    return next((place for place, start in enumerate(first) if algorithm.startswith(start)), len(first))


def _kind(algorithm: str) -> str:
    """The key type that a signature algorithm uses."""
    return "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm


def _check_key(way: Way, transport: Transport, entries: list[known_hosts.Entry]) -> str:
    """The fingerprint of the host's key, if it is known."""
    try:
        shown = transport.get_remote_server_key()
    except SSHException as problem:  # it has hung up in this moment
        raise _no_handshake(way, problem) from None
    kind, blob = shown.get_name(), shown.asbytes()
    verdict = known_hosts.judge(entries, _key_name(way), kind, blob)
    mark = known_hosts.fingerprint(blob)
    if verdict.standing == "known":
        return f"{kind} {mark}"
    stage: Stage = "host key"
    if verdict.standing == "unknown":
        raise Unreached(way.name, stage, *_unknown(way, kind, mark))
    assert verdict.entry is not None
    if verdict.standing == "revoked":
        seen = f"{way.at} shows a key that is revoked in {verdict.entry.where}: {kind} {mark}"
        raise Unreached(way.name, stage, seen, f"Do not connect; ask {way.contact}.")
    recorded = known_hosts.fingerprint(verdict.entry.key)
    seen = (
        f"THE HOST KEY OF {way.at} HAS CHANGED: it shows {kind} {mark}, but {verdict.entry.where} has {recorded}. "
        "Either the host was set up anew, or someone is in between"
    )
    file = verdict.entry.where.rpartition(" line ")[0]
    forget = f"ssh-keygen -R {shlex.quote(_key_name(way))} -f {shlex.quote(file)}"
    mend = f"Do not log in. Ask {way.contact} whether they changed it to this one; only then `{forget}` and accept it anew."
    raise Unreached(way.name, stage, seen, mend)


def _unknown(way: Way, kind: str, mark: str) -> tuple[str, str]:
    looked = ", ".join(str(f) for f in way.known_hosts)
    seen = f"the host key of {way.at} is not known here: it shows {kind} {mark}; looked for {_key_name(way)} in {looked}"
    scan = f"ssh-keyscan -t {_scan_type(kind)} -p {way.port} {shlex.quote(way.address)}"
    if way.key_alias:
        scan += f" | sed 's/^[^ ]*/{way.key_alias}/'"
    mend = (
        f"Ask {way.contact} for the fingerprint; if it is the one above, accept it with "
        f"`{scan} >> {shlex.quote(str(way.known_hosts[0]))}`."
    )
    return seen, mend


def _scan_type(kind: str) -> str:
    return kind.removeprefix("ssh-").split("-")[0]
