"""Importing the ssh library, which is most of what a connection costs this machine."""

from __future__ import annotations

import importlib
import re
import sys
import threading
from typing import Any

_GUARD = threading.Lock()
_RUNNER = "invoke"
"""A task runner that the ssh library imports for ``Match exec`` of an ssh_config, and for nothing else."""


def load(config: str) -> None:
    """Import the ssh library as far as an ssh_config's text needs it; at once if it is there already."""
    runs = bool(re.search(r"(?im)^\s*match\b.*\bexec\b", config))
    # Who comes second waits until all of it is there: to go on meanwhile would be to contend for the interpreter.
    with _GUARD:
        if "paramiko" in sys.modules and not runs:
            return
        spared = _RUNNER not in sys.modules and not runs
        if spared:
            sys.modules[_RUNNER] = None  # type: ignore[assignment]  # the import system's way to say: not there
        try:
            parser: Any = importlib.import_module("paramiko.config")
        finally:
            if spared:
                del sys.modules[_RUNNER]
        if runs and parser.invoke is None:
            # Another target's ssh_config did without it.
            parser.invoke = importlib.import_module(_RUNNER)
