"""What a fault is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lab.lab import Lab
from lab.payload.places import USER


@dataclass(frozen=True)
class Fault:
    """One thing that can be broken in a lab.

    ``apply`` breaks it, in a lab that is in ``state``; ``statements`` are exactly those that must fail then.
    """

    name: str
    sentence: str
    statements: frozenset[str]
    apply: Callable[[Lab], None]
    state: str = "prod"


def fault(name: str, sentence: str, statements: str, apply: Callable[[Lab], None]) -> Fault:
    """A fault of the state `prod`; ``statements`` are ids with spaces between."""
    return Fault(name, sentence, frozenset(statements.split()), apply)


def as_user(script: str) -> Callable[[Lab], None]:
    """Break by a shell script of hkn on the app host."""
    return lambda lab: _run(lab, script, USER)


def as_root(script: str) -> Callable[[Lab], None]:
    """Break by a shell script of root on the app host."""
    return lambda lab: _run(lab, script, None)


def _run(lab: Lab, script: str, user: str | None) -> None:
    lab.app.run(f"set -e\n{script}", user=user)
