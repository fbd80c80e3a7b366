"""Loads the engine, and tells it which application it looks after."""

from __future__ import annotations

import pytest

from converge.application import Application

pytest_plugins = ["converge.plugin"]


@pytest.hookimpl
def pytest_converge_application() -> Application:
    """hkn-rails."""
    from facts.application import application

    return application()
