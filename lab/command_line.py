"""The lines that messages of the lab tell a person to type."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

COMMAND = os.environ.get("LAB_COMMAND") or shlex.quote(
    str(Path(__file__).resolve().parents[1] / "hkn")
)
"""The checkout's command, as whoever started this one types it; else by its whole path."""


def typed(words: str, name: str = "lab") -> str:
    """A command of the lab of that name, in backquotes."""
    return f"`{COMMAND} lab {words}{'' if name == 'lab' else f' --name {name}'}`"
