"""The commands that are a session of pytest on verify/: started in this process's place, with the words that were typed.

pytest loads this module too (``-p cli.suite``). Only its own parser knows which words are values of flags, so it is there
that the other ones are taken for ids.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import pytest

from hosts.command_line import TOP

CHECKOUT = ("-c", str(TOP / "pytest.ini"), str(TOP / "verify"))
"""What a session is about wherever it is started: named, as pytest looks for it around the words that exist as files."""


def command(verb: Sequence[str], words: Sequence[str]) -> list[str]:
    """The command line of a session: `verb` are the flags that make it a check, a plan or a run."""
    return [sys.executable, "-m", "pytest", "-p", "cli.suite", *CHECKOUT, *verb, *words]


def become(verb: Sequence[str], words: Sequence[str]) -> NoReturn:
    """Let pytest take this process's place: its output, signals and exit code are the session's own."""
    sys.stdout.flush()
    line = command(verb, words)
    os.execv(line[0], line)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Import no conftest of a folder that is called as an id is."""
    del early_config.known_args_namespace.file_or_dir[1:]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Take the words beside the statements' folder for ids."""
    folder, *ids = config.args
    if ids:
        config.args[:] = [folder]
        config.option.id = ",".join([*filter(None, [config.option.id]), *ids])
