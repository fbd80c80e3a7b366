"""Which machine this is, and whose folders: what a run's steps on the control machine left can be looked at nowhere else."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import socket
from pathlib import Path

from converge.journal.history import Story

MACHINE_ID = Path("/etc/machine-id")
APPLICATION = "hkn-migration, control machine of a run"
"""What our name for a machine is made with: machine-id(5) asks that its own be told to nobody."""


def this_machine() -> str:
    """A name for this machine and the home in which steps leave what became of them, that no other has; empty if unknown.

    Host names will not do: two laptops may both be called `debian`.
    """
    try:
        id = MACHINE_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
    if not re.fullmatch("[0-9a-f]{32}", id):
        return ""
    place = f"{APPLICATION}\0{os.environ.get('HOME', '')}"
    return hmac.new(bytes.fromhex(id), os.fsencode(place), hashlib.sha256).hexdigest()[:32]


def was_here(story: Story) -> bool:
    """Whether a run's control machine is this one. Where its journal or this machine has no name, the host's name tells."""
    theirs, mine = str(story.plan.get("machine", "")), this_machine()
    if theirs and mine:
        return theirs == mine
    return str(story.plan.get("who", "")).partition("@")[2] == socket.gethostname()
