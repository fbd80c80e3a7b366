"""A plugin for pytest in sessions of ``./hkn``: words beside the statements' folder are ids.

Only pytest's own parser knows which of the words that were typed are values of flags.
"""

from __future__ import annotations

import pytest

from cli.suite import VERIFY
from hosts.command_line import command_line


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Import no conftest of a folder that is called as an id is."""
    early_config.known_args_namespace.file_or_dir[:] = [VERIFY]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Select by these ids."""
    if VERIFY not in config.args:
        return  # at -h, pytest reads no further
    at = config.args.index(VERIFY)
    added, ids = config.args[:at], config.args[at + 1 :]
    config.args[:] = [VERIFY]
    if added:
        raise pytest.UsageError(f"PYTEST_ADDOPTS names {added[0]}: only flags may stand there")
    for word in ids:
        if "/" in word or "::" in word or word == "verify":
            known = f"such as UNIT-3, or UNIT: `{command_line('explain')}` lists them"
            raise pytest.UsageError(f"{word} is a path: statements are named by ids here, {known}")
    if ids:
        config.option.id = ",".join([*filter(None, [config.option.id]), *ids])
