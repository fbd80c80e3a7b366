"""``./hkn lab``: the lab's own command line, under this name."""

from __future__ import annotations

import os
import sys

import typer

from cli.common import PASS_ON
from hosts.command_line import command_line

# --help and all else is the lab's to answer.
ALL = {**PASS_ON, "help_option_names": []}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(context_settings=ALL, help="Two Debian hosts on this machine, to try all of it on.")(lab)


def lab(ctx: typer.Context) -> None:
    """Let the lab take this process's place."""
    sys.stdout.flush()
    os.environ["LAB_COMMAND"] = command_line("lab")
    os.execv(sys.executable, [sys.executable, "-m", "lab", *ctx.args])
