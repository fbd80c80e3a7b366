"""A plugin for pytest in sessions of ``./hkn``: words beside the statements' folder are ids.

Only pytest's own parser knows which of the words that were typed are values of flags.
"""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Import no conftest of a folder that is called as an id is."""
    del early_config.known_args_namespace.file_or_dir[1:]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Select by these ids."""
    folder, *ids = config.args
    if ids:
        config.args[:] = [folder]
        config.option.id = ",".join([*filter(None, [config.option.id]), *ids])
