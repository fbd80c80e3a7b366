"""The folders of reports on this machine: which there are, and which may go."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ID = re.compile(r"\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{4}")
"""How a session names its folder."""

AT_WORK = 3600.0
"""Seconds since the last change in a folder before which a session may still write to it."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A session's folder. Without a record, `kind` and `target` are empty and `exit_code` is None."""

    path: Path
    kind: str
    target: str
    exit_code: int | None
    size: int
    changed: float
    journal: Literal["none", "open", "ended"] = "none"
    """Of a run: whether the copy of its journal has an end. The folder has its way back on this machine."""

    @property
    def id(self) -> str:
        """The session's id."""
        return self.path.name


def folders(reports: Path) -> list[Folder]:
    """The folders of sessions in `reports`, oldest first; what else lies there is not ours."""
    found = [
        each
        for each in reports.glob("*")
        if ID.fullmatch(each.name) and each.is_dir() and not each.is_symlink()
    ]
    return [_folder(each) for each in sorted(found)]


def surplus(
    known: Sequence[Folder], keep: int | None, days: float | None, now: float
) -> list[Folder]:
    """Those neither among the newest `keep` nor younger than `days`.

    None to which a session may still write, and no run that has not ended: its scripts wait there.
    """
    spared = set(known[-keep:] if keep else ())
    over = [each for each in known if each.journal != "open" and now - each.changed > AT_WORK]
    old = [each for each in over if each not in spared]
    return [each for each in old if days is None or now - each.changed > days * 86400]


def remove(surplus: Iterable[Folder]) -> None:
    """Delete them.

    Raises:
        OSError: one could not be deleted.
    """
    for each in surplus:
        shutil.rmtree(each.path)


def _folder(path: Path) -> Folder:
    files = [each.lstat() for each in path.rglob("*")]
    changed = max([path.stat().st_mtime, *(each.st_mtime for each in files)])
    record = _record(path / "run.json")
    targets = [each.get("target", "") for each in record.get("targets", [])] or [
        record.get("target", "")
    ]
    size = sum(each.st_size for each in files)
    return Folder(
        path,
        record.get("kind", ""),
        ", ".join(targets),
        record.get("exit_code"),
        size,
        changed,
        _journal(path / "journal.jsonl"),
    )


def _journal(file: Path) -> Literal["none", "open", "ended"]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "none"
    return "ended" if '"kind": "end"' in text else "open"


def _record(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
