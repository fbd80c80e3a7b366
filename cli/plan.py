"""``./hkn plan``: what remediation would do."""

from __future__ import annotations

import typer

from cli.common import PASS_ON, WORDS
from cli.suite import become

EXAMPLE = ("plan", "UNIT-3", "--target", "production")
HOW = {"options_metavar": WORDS, "context_settings": PASS_ON}


def plan(ctx: typer.Context) -> None:
    """Show what `remediate` would do.

    About all that fails, or about the statements with these ids. Changes nothing.

    --target NAME|FILE: the inventory (default: lab).

    --brief: stop the old application before the new one starts.

    Other flags are pytest's own.
    """
    become(["--plan"], ctx.args)
