"""Remedies of what the site answers."""

from __future__ import annotations

from collections.abc import Iterator

from converge.steps import RemedyContext, Step
from remediate.handover import restart_step


def serve_current(ctx: RemedyContext) -> Iterator[Step]:
    """Restart the app's unit, so that its processes work in the current release."""
    yield restart_step(ctx, "WEB-2/restart", "so that the current release answers")
