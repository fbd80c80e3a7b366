"""``./hkn check``: whether every statement holds."""

from __future__ import annotations

import typer

from cli.common import PASS_ON, WORDS, example
from cli.suite import become

SHORT = "Look whether the statements hold."
HELP = """Look whether the statements hold, all or those with these ids (UNIT-3, or UNIT for all of UNIT-*).
Changes nothing, and leaves a report.

--target NAME|FILE: the inventory (default: lab); several, or a pattern of files in quotes, are checked at once.

All flags of pytest work too: -x, -m blocker, -n 4 for many targets, --collect-only, --junitxml FILE.
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    words = example("check", "UNIT", "--target", "production")
    app.command(context_settings=PASS_ON, help=HELP, short_help=SHORT, options_metavar=WORDS, epilog=words)(check)


def check(ctx: typer.Context) -> None:
    """Start the session."""
    become([], ctx.args)
