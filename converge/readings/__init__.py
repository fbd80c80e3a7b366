"""Readings: what is read from hosts. What the author of a reading needs stands here; how hosts are asked does not."""

from __future__ import annotations

from converge.readings.evidence import Asked, Evidence, Tally
from converge.readings.reading import Changes, Context, Raw, Reader, Reading, Where, local_reading, reading, readings_in

__all__ = [
    "Asked",
    "Changes",
    "Context",
    "Evidence",
    "Raw",
    "Reader",
    "Reading",
    "Tally",
    "Where",
    "local_reading",
    "reading",
    "readings_in",
]
