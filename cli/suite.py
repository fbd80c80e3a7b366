"""How a command is a session of pytest on verify/."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import typer

from converge.errors import UsageError
from hosts.command_line import TOP, command_line

VERIFY = str(TOP / "verify")

CHECKOUT = ("-c", str(TOP / "pytest.ini"), VERIFY)
"""Named, as pytest would look for its settings around words that exist as files."""


def become(verb: Sequence[str], words: Sequence[str]) -> NoReturn:
    """Let pytest do the rest: output, signals and exit code are the session's own.

    `verb` are the flags that make it a check, a plan or a run.

    Raises:
        UsageError: one of those flags was typed, or the working directory is gone.
    """
    for other in ("plan", "remediate"):
        if f"--{other}" in words:
            raise UsageError(f"--{other} has a command of its own: type `{command_line(other)}`")
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UsageError("the folder that you are in was deleted: go to another one") from None
    import pytest  # here, as no other command needs it

    raise typer.Exit(int(pytest.main(["-p", "cli.ids", *CHECKOUT, *verb, *words])))
