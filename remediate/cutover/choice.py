"""Which way the site can pass from the legacy unit to the app's: chosen from how the web server reaches the application."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from facts.host.memory import Room
from facts.sockets import Sockets

Strategy = Literal["switch", "rename", "brief"]

BRIEF = "brief"
"""Name of the flag by which a person asks for the brief way."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A way, with the reason for it in words."""

    strategy: Strategy
    reason: str

    @property
    def is_seamless(self) -> bool:
        """Whether the old application serves until the new one does."""
        return self.strategy != "brief"


def beside(listen: str, word: str) -> str:
    """The path of a hidden name beside the socket `listen`, for the time of a cutover."""
    folder, _, name = listen.rpartition("/")
    return f"{folder}/.{name.removesuffix('.sock')}.{word}"


def choose(
    public: str, listen: str, seen: Sockets, serving: Collection[str], room: Room | str, *, asked_brief: bool
) -> Choice:
    """The way for a web server that asks the path `public`, of an application that binds the path `listen`.

    `serving` are the units (or control groups of none) in which the old application runs; `room` is a string where it could
    not be read, and says why.
    """
    if asked_brief:
        return Choice("brief", f"--{BRIEF} asks for it")
    if isinstance(room, str):
        return Choice("brief", f"whether two copies fit into memory is not known: {room}")
    if not room.holds_two:
        return Choice("brief", f"two copies do not fit into memory: {room}")
    owners = seen.owners(public)
    if not owners or any((owner.unit or owner.cgroup) not in serving for owner in owners):
        whose = ", ".join(sorted({owner.unit or owner.cgroup for owner in owners})) or "nobody of the account"
        return Choice("brief", f"behind {public} listens {whose}, not {' or '.join(serving)} alone")
    entry = seen.at(public)
    assert entry is not None  # somebody listens behind it
    if entry.kind == "symbolic link" and entry.leads_to in {listen, beside(listen, "old")}:
        return Choice("switch", f"the web server asks {public}, a symlink, and {listen} behind it is switched in one rename")
    if entry.kind == "socket" and public == listen:
        return Choice("rename", f"the web server asks {public}, the bound socket itself, over which another can be renamed")
    return Choice("brief", f"the web server asks {public}, a {entry.kind} that leads to {entry.leads_to}, not to {listen}")
