"""``./hkn check``: whether every statement holds."""

from __future__ import annotations

import typer

from cli.common import PASS_ON, WORDS
from cli.suite import become

EXAMPLE = ("check", "UNIT", "--target", "production")
HOW = {"options_metavar": WORDS, "context_settings": PASS_ON}


def check(ctx: typer.Context) -> None:
    """Look whether the statements hold.

    All of them, or those with these ids: UNIT-3, or UNIT for all of UNIT-*.
    Changes nothing, and leaves a report.

    --target NAME|FILE: the inventory (default: lab); several, or a pattern of files in quotes,
    are checked at once.

    All flags of pytest work too: -x, -m blocker, --collect-only, --junitxml FILE;
    -n 4 for many targets.
    """
    become([], ctx.args)
