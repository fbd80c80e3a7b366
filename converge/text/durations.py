"""Lengths of time, as people type and read them."""

from __future__ import annotations

import re

from converge.errors import UsageError

DURATION = re.compile(r"(\d+(?:\.\d+)?)([smh])")
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def duration(text: str) -> float:
    """Seconds from ``90s``, ``30m`` or ``2h``; ``0`` is none.

    Raises:
        UsageError: it is none of these.
    """
    if text.strip() == "0":
        return 0.0
    found = DURATION.fullmatch(text.strip())
    if not found:
        raise UsageError(f"--wait {text}: a time is a number with s, m or h, as in 90s, 30m or 2h; 0 is not to wait")
    return float(found[1]) * UNITS[found[2]]


def in_words(seconds: float) -> str:
    """A time as a person says it."""
    unit = next((u for u in ("h", "m") if seconds >= UNITS[u]), "s")
    return f"{seconds / UNITS[unit]:.3g} {'min' if unit == 'm' else unit}"
