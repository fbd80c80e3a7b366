"""Paths as words of a shell."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from converge.errors import NotAllowed

RUNTIME = "$XDG_RUNTIME_DIR"
"""May begin a path: the account's runtime directory on the step's host."""


def quoted_path(path: str) -> str:
    """A path as one shell word; only the runtime directory is expanded."""
    if "\n" in path or "\0" in path:
        raise NotAllowed(f"path {path!r} has a line break in it: not touched")
    if path.startswith(RUNTIME):
        return f'"{RUNTIME}"' + (shlex.quote(path.removeprefix(RUNTIME)) if path != RUNTIME else "")
    return shlex.quote(path)


def quoted_paths(paths: Sequence[str]) -> str:
    return '"\n"'.join(quoted_path(path) for path in paths) or "''"
