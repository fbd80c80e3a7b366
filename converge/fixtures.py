"""Readings as pytest fixtures, so that the names a test asks for are the list of what will be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from converge.readings import Reading


def fixtures(readings: Mapping[str, Reading[Any]]) -> dict[str, Any]:
    """A fixture for each reading, for a conftest to take into its namespace."""
    return {name: _fixture(name, reading) for name, reading in readings.items()}


def _fixture(name: str, reading: Reading[Any]) -> Callable[..., Any]:
    def value(request: pytest.FixtureRequest) -> Any:
        from converge.plugin import session_of

        return session_of(request.config).store(reading, instance_host(request.node))

    value.__doc__ = reading.doc
    return pytest.fixture(name=name)(value)


def instance_host(item: Any) -> str | None:
    """The host of a test's instance, None for one about the whole target."""
    callspec = getattr(item, "callspec", None)
    place = callspec.params.get("instance") if callspec else None
    return str(place) if place else None
