"""Remedies of what the site answers."""

from __future__ import annotations

from collections.abc import Iterator

from converge.steps import NothingToDo, RemedyContext, Step
from facts.units import states
from facts.web import serving
from remediate.cutover.steps import restart_step
from remediate.sockets import leave_to_link


def serve_current(ctx: RemedyContext) -> Iterator[Step]:
    """Restart the app's unit, if it is the one that answers, so that its processes work in the current release."""
    app = ctx.read(states.our_units).app
    if not app.runs:
        raise NothingToDo(f"{app.name} does not run: starting it is UNIT-5's remedy")
    seen = ctx.read(serving)
    leave_to_link(ctx)
    if seen.owners and app.name not in {owner.unit for owner in seen.owners}:
        others = ", ".join(sorted({owner.unit or owner.cgroup for owner in seen.owners}))
        raise NothingToDo(f"{seen.path} leads to {others}: that it leads to {app.name} is what SOCK-3 and SOCK-5 are for")
    yield restart_step(ctx, "WEB-2/restart", "so that the current release answers")
