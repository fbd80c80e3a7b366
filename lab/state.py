"""What a state of a lab is, and which states it stands on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from lab.errors import UnknownName

Place = TypeVar("Place")
"""What a state is built in: the lab, which stands above this module."""


@dataclass(frozen=True)
class State(Generic[Place]):
    """A named situation of both hosts.

    ``build`` runs once on freshly booted hosts that are in state ``base`` (None: bare images); what it changed is
    frozen after a clean power-off. ``settle`` waits, after each boot into the state, until it is as described.
    """

    name: str
    sentence: str
    base: str | None
    build: Callable[[Place], None]
    settle: Callable[[Place], None]


def _nothing(_: object) -> None:
    pass


BARE: State[Any] = State(
    "bare", "two fresh hosts with users and sshd, nothing of the application", None, _nothing, _nothing
)


def find(name: str, states: Mapping[str, State[Place]]) -> State[Place]:
    """The state of that name; UnknownName lists the others."""
    if name not in states:
        raise UnknownName(f"There is no state {name!r}; there are: {', '.join(states)}.")
    return states[name]


def ancestry(state: State[Place], states: Mapping[str, State[Place]]) -> list[State[Place]]:
    """The states whose layers make up ``state``, topmost (itself) first; `bare` has no layer."""
    line: list[State[Place]] = []
    current: State[Place] | None = state
    while current is not None and current.name != BARE.name:
        if current in line:
            raise UnknownName(f"The state {current.name!r} is its own base; mend lab/states.py.")
        line.append(current)
        current = find(current.base, states) if current.base else None
    return line
