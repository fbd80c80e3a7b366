"""What a collected test is to the engine: the statement that it states, and the place that its instance is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from converge.checking.statement import Statement


@dataclass(frozen=True)
class Place:
    """Where an instance is: a target (empty for the only one), and a host (None: the target as a whole)."""

    target: str
    host: str | None

    def __str__(self) -> str:
        return "-".join(part for part in (self.target, self.host) if part)


def place_of(item: Any) -> Place:
    """The place of a test's instance."""
    callspec = getattr(item, "callspec", None)
    place = callspec.params.get("instance") if callspec else None
    return place if isinstance(place, Place) else Place("", None)


def instance_host(item: Any) -> str | None:
    """The host of a test's instance, None for one about the whole target."""
    return place_of(item).host


def statement_of(item: pytest.Item) -> Statement | None:
    """The statement that a test states."""
    found: Statement | None = getattr(getattr(item, "function", None), "__statement__", None)
    return found
