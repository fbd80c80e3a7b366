"""``./hkn lab``: the lab's own command line, under this name."""

from __future__ import annotations

import os
import sys

import typer

from cli.common import PASS_ON
from hosts.command_line import command_line

EXAMPLE = ("lab", "--help")
# --help and all else is the lab's to answer.
HOW = {"context_settings": {**PASS_ON, "help_option_names": []}}


def lab(ctx: typer.Context) -> None:
    """Two Debian hosts on this machine, to try all of it on."""
    sys.stdout.flush()
    os.environ["LAB_COMMAND"] = command_line()
    os.execv(sys.executable, [sys.executable, "-m", "lab", *ctx.args])
