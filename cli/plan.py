"""``./hkn plan``: what remediation would do."""

from __future__ import annotations

import typer

from cli.common import PASS_ON, WORDS, example
from cli.suite import become

SHORT = "Show what remediation would do."
HELP = """Show what `remediate` would do about all that fails, or about the statements with these ids. Changes nothing.

--target NAME|FILE: the inventory (default: lab).

--brief: stop the old application before the new one starts.

Other flags are pytest's own.
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    words = example("plan", "UNIT-3", "--target", "production")
    app.command(context_settings=PASS_ON, help=HELP, short_help=SHORT, options_metavar=WORDS, epilog=words)(plan)


def plan(ctx: typer.Context) -> None:
    """Start the session."""
    become(["--plan"], ctx.args)
