"""Tells the engine which application it looks after."""

from __future__ import annotations

import pytest

import facts.application
from converge.checking.application import Application

# For the tests of the engine; pytest lets only this file name plugins.
pytest_plugins = ["pytester"]


@pytest.hookimpl
def pytest_converge_application() -> Application:
    """hkn-rails."""
    return facts.application.application()
