"""Readings as pytest fixtures, so that the names a test asks for are the list of what will be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from converge.checking.session import Session
from converge.pytest_plugin.items import Place, instance_host, place_of, statement_of
from converge.readings import Reading

SESSIONS = pytest.StashKey[Callable[[Place], Session]]()
"""Where pytest's configuration keeps who knows the session of a place's target."""


def session_of(request: pytest.FixtureRequest) -> Session:
    """The session of a statement's target."""
    return request.config.stash[SESSIONS](place_of(request.node))


def fixtures(readings: Mapping[str, Reading[Any]]) -> dict[str, Any]:
    """A fixture for each reading, for a conftest to take into its namespace."""
    return {name: _fixture(name, reading) for name, reading in readings.items()}


def _fixture(name: str, reading: Reading[Any]) -> Callable[..., Any]:
    def value(request: pytest.FixtureRequest) -> Any:
        store, statement = session_of(request).store, statement_of(request.node)
        store.asked_by = statement.id if statement else ""
        return store(reading, instance_host(request.node))

    value.__doc__ = reading.doc
    return pytest.fixture(name=name)(value)
