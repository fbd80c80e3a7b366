"""A person at another terminal, who types what a run asks for."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable

from tests.converge.stage import Stage


def typed(line: str) -> subprocess.CompletedProcess[str]:
    """What a person does: types a line into a shell."""
    return subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=30, check=False)


def line_in(said: list[str]) -> str:
    """The line that was asked for last."""
    asked = [n for n, text in enumerate(said) if text.endswith("):") or text.endswith("on this machine:")]
    return said[asked[-1] + 1].strip() if asked and len(said) > asked[-1] + 1 else ""


def meanwhile(stage: Stage, act: Callable[[str], object]) -> threading.Thread:
    """Does something in another terminal as soon as a line is asked for."""

    def person() -> None:
        end = time.monotonic() + 20
        while not line_in(stage.said) and time.monotonic() < end:
            time.sleep(0.02)
        act(line_in(stage.said))

    thread = threading.Thread(target=person)
    thread.start()
    return thread
