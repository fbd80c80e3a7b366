"""``./hkn remediate``: bring statements to hold, and prove it."""

from __future__ import annotations

import typer

from cli.common import PASS_ON, WORDS
from cli.suite import become

EXAMPLE = ("remediate", "--target", "production")
HOW = {"options_metavar": WORDS, "context_settings": PASS_ON}


def remediate(ctx: typer.Context) -> None:
    """Mend what fails, and prove it; asks first.

    All that fails, or the statements with these ids. Shows the plan, asks, acts, proves each step.

    --target NAME|FILE: the inventory (default: lab).

    --yes: do not ask.

    --plan-file FILE: carry out this plan of `plan`'s, and nothing else.

    --brief: stop the old application before the new one starts.

    --wait TIME: how long to wait for each step that is a person's: 90s, 30m, 2h
    (default: 12h at a terminal, else 0).

    Other flags are pytest's own.
    """
    become(["--remediate"], ctx.args)
