"""Readings: what is read from hosts, as data. A reading is a snippet and a pure parser to a typed value.

A reading never changes the host: it writes no file, boots no app, sends no signal. It uses what the oldest host has:
POSIX sh, systemd 215 (``show -p X``, no ``--value``), ``ss`` without ``-H``, no Python; one of the app host alone may also
use curl's ``--unix-socket``. A test holds the words of every script against what those releases know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from hosts.schema import Host, Inventory

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Where = Literal["here", "app", "live", "control"]
"""Which host is asked: the one of the statement's instance, the app host, each live host (the fixture's value is then
a mapping from host name to value), or the control machine (over a local shell)."""

Changes = Literal["any", "control"]
"""Which steps may change what a reading says: those on any machine, or only those on the control machine."""


@dataclass(frozen=True, slots=True)
class Raw:
    """The answer to a reading's script: exit status, output as text (undecodable bytes kept as ``\\xNN``), seconds."""

    rc: int
    out: str
    err: str
    seconds: float = 0.0

    @property
    def lines(self) -> list[str]:
        """Lines of the output that are not empty."""
        return [line for line in self.out.splitlines() if line.strip()]


@dataclass(frozen=True, slots=True)
class Context:
    """What a script and a parser may know: the target's inventory and the host that is asked (None: control)."""

    inv: Inventory
    host: Host | None

    @property
    def at(self) -> str:
        """The host's name, for messages."""
        return self.host.name if self.host else "control"


@dataclass(frozen=True, eq=False)
class Reading(Generic[T]):
    """One question to a host and its pure parser.

    `script` is POSIX sh, run with the prelude's functions (``converge/readings/prelude.sh``) and the variables that the
    target defines; `parse` turns the answer into a value and raises ``Unobservable`` with the reason if it cannot.
    With `local`, the reading is made by Python in the control process instead (`local` raises ``Unobservable``).
    `limit` is in seconds, on the host. `changes` is whose steps void the answer.
    """

    name: str
    on: Where
    script: Callable[[Context], str] | None
    parse: Callable[[Raw, Context], T] | None
    local: Callable[[Context], T] | None = None
    limit: float = 15.0
    doc: str = ""
    changes: Changes = "any"


def reading(
    script: str | Callable[[Context], str], *, on: Where = "app", limit: float = 15.0, changes: Changes = "any"
) -> Callable[[Callable[[Raw, Context], T]], Reading[T]]:
    """Make the decorated pure parser ``(raw, context) -> value`` a reading; a fixture of its name exists in verify/."""
    ask = (lambda _context: script) if isinstance(script, str) else script

    def decorate(parse: Callable[[Raw, Context], T]) -> Reading[T]:
        return Reading(parse.__name__, on, ask, parse, limit=limit, doc=parse.__doc__ or "", changes=changes)

    return decorate


def local_reading(limit: float = 15.0) -> Callable[[Callable[[Context], T]], Reading[T]]:
    """Make the decorated function a reading that the control process makes itself (requests to public URLs)."""

    def decorate(read: Callable[[Context], T]) -> Reading[T]:
        return Reading(read.__name__, "control", None, None, read, limit, read.__doc__ or "")

    return decorate


class Reader(Protocol):
    """What remedies and statements read through: a value no older than the last act, or ``Unobservable``."""

    def __call__(self, what: Reading[T], at: str | None = None) -> T:
        """The value of a reading at a host (None: the app host, or control for a control reading)."""
        ...


def readings_in(module: Any) -> Mapping[str, Reading[Any]]:
    """The readings that a module defines, by name."""
    return {name: value for name, value in vars(module).items() if isinstance(value, Reading)}
