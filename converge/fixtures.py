"""Readings as pytest fixtures, so that the names a test asks for are the list of what will be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from converge.readings import Reading


def fixtures(readings: Mapping[str, Reading[Any]]) -> dict[str, Any]:
    """A fixture for each reading, for a conftest to take into its namespace."""
    return {name: _fixture(name, reading) for name, reading in readings.items()}


def _fixture(name: str, reading: Reading[Any]) -> Callable[..., Any]:
    def value(request: pytest.FixtureRequest) -> Any:
        from converge.plugin import session_of
        from converge.survey import statement_of

        store, statement = session_of(request).store, statement_of(request.node)
        store.asked_by = statement.id if statement else ""
        return store(reading, instance_host(request.node))

    value.__doc__ = reading.doc
    return pytest.fixture(name=name)(value)


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
