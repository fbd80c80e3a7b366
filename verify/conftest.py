"""Every reading is a fixture here; `host` is testinfra's, over our connection."""

from __future__ import annotations

from typing import Any

import pytest

from converge.pytest_plugin.fixtures import fixtures, session_of
from converge.pytest_plugin.items import instance_host
from facts.application import READINGS

globals().update(fixtures(READINGS))


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Any:
    """testinfra's host at the instance's host."""
    session = session_of(request)
    return session.store.testinfra_host(instance_host(request.node) or session.inv.app_host.name)
