"""The lines that messages tell a person to type: as they run from the folder that he is in."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hosts.schema import Inventory

TOP = Path(__file__).resolve().parents[1]
NAME = "hkn"
DEFAULT = "lab"
"""The target of a command that names none."""


def command_line(*words: str, target: str = DEFAULT) -> str:
    """Our command with these words, quoted for a shell; ``--target`` only where it is needed."""
    named = () if target == DEFAULT else ("--target", target)
    return shlex.join([path_from_here(TOP / NAME), *words, *named])


def target_of(inv: Inventory) -> str:
    """What names an inventory after ``--target``, from here."""
    file = Path(inv.file)
    return (
        inv.name if not inv.file or file.resolve().parent == TOP / "hosts" else path_from_here(file)
    )


def path_from_here(file: Path) -> str:
    """A file's path from the working directory (``./it``, ``../it``), or the absolute one if shorter."""
    try:
        near = os.path.relpath(file)
    except OSError:  # the working directory is gone
        return str(file)
    near = near if near.startswith("../") else f"./{near}"
    return min(near, str(file), key=len)
