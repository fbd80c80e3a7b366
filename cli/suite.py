"""How a command becomes a session of pytest on verify/, in this process's place."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from hosts.command_line import TOP

CHECKOUT = ("-c", str(TOP / "pytest.ini"), str(TOP / "verify"))
"""Named, as pytest would look for its settings around words that exist as files."""


def become(verb: Sequence[str], words: Sequence[str]) -> NoReturn:
    """Let pytest take this process's place: output, signals and exit code are the session's own.

    `verb` are the flags that make it a check, a plan or a run.
    """
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "pytest", "-p", "cli.ids", *CHECKOUT, *verb, *words])
