"""Remedies of what the site answers."""

from __future__ import annotations

from collections.abc import Iterator

from converge.steps import NothingToDo, RemedyContext, Step
from facts import units
from remediate.cutover import restart_step


def serve_current(ctx: RemedyContext) -> Iterator[Step]:
    """Restart the app's unit, so that its processes work in the current release."""
    app = ctx.read(units.our_units).app
    if not app.runs:
        raise NothingToDo(f"{app.name} does not run: starting it is UNIT-5's remedy")
    yield restart_step(ctx, "WEB-2/restart", "so that the current release answers")
