"""The checkout's own folder of reports, into which whole sessions write that tests begin there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPORTS = Path(__file__).resolve().parent.parent / "reports"


@contextmanager
def swept(target: str) -> Iterator[None]:
    """Removes what sessions on this target write there meanwhile; what others write stays."""
    known = set(REPORTS.iterdir())
    try:
        yield
    finally:
        for folder in set(REPORTS.iterdir()) - known:
            if _target_of(folder) == target:
                shutil.rmtree(folder)


def _target_of(folder: Path) -> str:
    try:
        return str(json.loads((folder / "run.json").read_text())["target"])
    except (OSError, ValueError, KeyError):
        return ""
