"""Loads the engine, and tells it which application it looks after."""

from __future__ import annotations

import pytest

from converge.checking.application import Application
from converge.pytest_plugin.early import Start

# Imported when this file has been registered, which is when connecting begins. pytester is for the tests of the engine;
# pytest lets only this file name plugins.
pytest_plugins = [
    "converge.pytest_plugin.plugin",
    "converge.pytest_plugin.early",
    "pytest_metadata.plugin",
    "pytest_html.plugin",
    "pytester",
]


@pytest.hookimpl
def pytest_converge_application() -> Application:
    """hkn-rails."""
    from facts.application import application

    return application()


@pytest.hookimpl
def pytest_converge_start() -> Start:
    """What is needed before the rest is imported."""
    from facts.prelude import prelude
    from facts.repo.git import repository
    from hosts.loader import load

    return Start("verify", load, prelude, lambda: [repository])
