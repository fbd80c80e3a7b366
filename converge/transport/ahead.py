"""Connections that are begun before anybody asks for them, so that connecting overlaps with starting.

``begin`` starts them in threads; ``connect`` takes what was begun for it, or fails as that failed. Who begins may end
without connecting: ``abandon``.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from converge.transport.link import Ask
from hosts.schema import Host, Inventory

if TYPE_CHECKING:
    from converge.transport.ssh import SshLink

UNUSUAL = re.compile(r"(?im)^\s*(match|proxy\w+|canonical\w+|addressfamily|bindaddress|bindinterface)\b|^\s*hostname\b.*%")
"""What an ssh_config may say that only the ssh library understands: then the address is not guessed."""

Address = tuple[str, int]
Make = Callable[["Begun"], "SshLink"]

_begun: dict[str, Begun] = {}


class Knock:
    """A TCP connection to where a host probably is, opened while the ssh library is still being imported."""

    def __init__(self, address: Address, timeout: float) -> None:
        self.address, self.timeout = address, timeout
        self._socket: socket.socket | None = None
        self._problem: OSError | None = None
        self._thread = threading.Thread(target=self._connect, daemon=True)
        self._thread.start()

    def _connect(self) -> None:
        try:
            self._socket = socket.create_connection(self.address, self.timeout)
        except OSError as problem:
            self._problem = problem

    def answer(self) -> socket.socket:
        """The connection, once; raises what connecting raised."""
        self._thread.join()
        if self._problem:
            raise self._problem
        found, self._socket = self._socket, None
        return found or socket.create_connection(self.address, self.timeout)

    def close(self) -> None:
        """End it, if nobody took it."""
        self._thread.join(self.timeout)
        if self._socket:
            self._socket.close()


class Begun:
    """One connection on its way. `make` makes the link; questions to the person wait until somebody wants it."""

    def __init__(self, inv: Inventory, host: Host, ask: Ask | None, make: Make) -> None:
        self.inv, self.host = inv, host
        self.ask: Ask | None = self._ask_in_time if ask else None
        self.knock: Knock | None = None
        self._person, self._make = ask, make
        self._wanted, self._dropped = threading.Event(), False
        self._link: SshLink | None = None
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._link = self._make(self)
        except BaseException as problem:  # told to who wants the connection, not to this thread
            self._problem = problem
        if self._dropped and self._link:
            self._link.close()

    def _ask_in_time(self, prompt: str, *, echo: bool = False) -> str | None:
        """Ask when the program has come so far that it needs the answer: until then it may still end with another word."""
        self._wanted.wait()
        return self._person(prompt, echo=echo) if self._person and not self._dropped else None

    def take(self) -> SshLink:
        """The link when it stands. Raises what making it raised."""
        self._wanted.set()
        self._thread.join()
        if self._problem:
            raise self._problem
        assert self._link is not None
        return self._link

    def drop(self) -> None:
        """Nobody will want it."""
        self._dropped = True
        self._wanted.set()
        if self._link:
            self._link.close()


def begin(inv: Inventory, ask: Ask | None, make: Make) -> None:
    """Begin to connect to every live host of a target."""
    abandon()
    for host in inv.live:
        _begun[host.name] = Begun(inv, host, ask, make)


def taken(inv: Inventory, host: Host) -> Begun | None:
    """What was begun for a host of this very inventory, for one taker."""
    begun = _begun.get(host.name)
    if begun is None or begun.inv != inv:
        return None
    return _begun.pop(host.name, None)


def abandon() -> None:
    """Give up what nobody took."""
    for name in list(_begun):
        with contextlib.suppress(KeyError):
            _begun.pop(name).drop()


def likely_address(text: str, alias: str, port: int | None) -> Address | None:
    """Where an ssh_config leads for `alias`, if it is so simple that this can be told without the ssh library.

    A wrong guess costs a connection that nobody uses: who dials compares it with the real way.
    """
    if UNUSUAL.search(text):
        return None
    found: dict[str, str] = {}
    applies = True
    for line in text.splitlines():
        key, _, value = line.strip().replace("=", " ", 1).partition(" ")
        key, value = key.lower(), value.strip().strip('"')
        if key == "host":
            applies = any(fnmatchcase(alias, p) for p in value.split() if not p.startswith("!"))
            applies = applies and not any(fnmatchcase(alias, p[1:]) for p in value.split() if p.startswith("!"))
        elif applies and key in {"hostname", "port"}:
            found.setdefault(key, value)
    wanted = str(port or found.get("port", "22"))
    return (found.get("hostname", alias), int(wanted)) if wanted.isdigit() else None
