"""Questions to the person at the terminal."""

from __future__ import annotations

import getpass
import os
import threading
from pathlib import Path

from converge.transport.link import Ask

TTY = Path("/dev/tty")
ONE_AT_A_TIME = threading.Lock()
"""Hosts are dialled at the same time, but a person is asked one thing after the other."""


def terminal() -> Ask | None:
    """A way to ask the person, or None if nobody is at a terminal in front of this process.

    The controlling terminal is asked itself, not standard input: pytest takes standard input away while it captures.
    """
    try:
        fd = os.open(TTY, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return None
    try:
        in_front = os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return None
    finally:
        os.close(fd)
    return _ask if in_front else None


def _ask(prompt: str, *, echo: bool = False) -> str | None:
    with ONE_AT_A_TIME:
        return _question(prompt) if echo else getpass.getpass(prompt) or None


def _question(prompt: str) -> str | None:
    with TTY.open("r") as keyboard, TTY.open("w") as screen:
        screen.write(prompt)
        screen.flush()
        return keyboard.readline().rstrip("\n") or None
