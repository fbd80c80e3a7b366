"""What the engine is told about the application that it looks after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

from converge.checking.record import Line
from converge.readings import Reader, Reading
from converge.transport import Link
from hosts.schema import Inventory


class Loader(Protocol):
    """Loads a target's inventory; with `offline` nothing that only a running lab knows is asked for."""

    def __call__(self, target: str, *, offline: bool = False) -> Inventory: ...


class Expander(Protocol):
    """Names the targets that are meant by what was typed, each once, and those that were named again."""

    def __call__(self, wanted: Sequence[str]) -> tuple[list[str], list[str]]: ...


def as_typed(wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """The expander of an application whose targets' names are the only ones that they have."""
    return list(dict.fromkeys(wanted)), [each for n, each in enumerate(wanted) if each in wanted[:n]]


@dataclass(frozen=True)
class Situation:
    """Where in its life the deployment stands; `refuse` when it fits no known picture, with what does not fit."""

    name: str
    detail: tuple[str, ...] = ()
    refuse: bool = False


@dataclass(frozen=True, slots=True)
class Guard:
    """What a guard of a run saw; where it does not hold, the run must not go on, unless it is `advice`."""

    name: str
    holds: bool
    text: str
    advice: bool = False


Preflight = Callable[[Link, Inventory], Sequence[Guard]]
"""Asks the app host, over its link, for what must be so before anything acts there."""


def nothing_asked(_link: Link, _inv: Inventory) -> Sequence[Guard]:
    """The preflight of an application that asks for nothing."""
    return ()


@dataclass(frozen=True)
class Application:
    """The parts that are particular to one application.

    `readings` are all readings by fixture name; `situation` and `cut_over_on` (the day of the cutover, None if it has not
    been) read through the reader; `remedies` is the package in which ``module.function`` of a statement is found;
    `standing` names the readings that these two make: every whole reading of a target has them, a proof only if it must.
    """

    name: str
    version: str
    statements: str
    remedies: str
    load: Loader
    prelude: Callable[[Inventory], str]
    readings: Mapping[str, Reading[Any]]
    situation: Callable[[Reader], Situation]
    cut_over_on: Callable[[Reader], date | None]
    checklist: Callable[[], list[Line]]
    standing: tuple[Reading[Any], ...] = field(default_factory=tuple)
    expand: Expander = as_typed
    preflight: Preflight = nothing_asked
