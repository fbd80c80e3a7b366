"""The folders of reports on this machine: which there are, and which may go."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
    return [it for each in sorted(found) if (it := _folder(each))]


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


def remove(folder: Folder) -> None:
    """Delete it.

    Raises:
        OSError: it could not be deleted.
    """
    shutil.rmtree(folder.path)


def _folder(path: Path) -> Folder | None:
    """What lies there; None if it was deleted meanwhile."""
    files = list(_files(path))
    if not files:
        return None
    return Folder(
        path,
        *_record(path / "run.json"),
        sum(each.st_size for each in files),
        max(each.st_mtime for each in files),
        _journal(path / "journal.jsonl"),
    )


def _files(path: Path) -> Iterator[os.stat_result]:
    """The folder and all in it, but what a session that writes there takes away meanwhile."""
    for top, _, names in os.walk(path):
        for name in (".", *names):
            with contextlib.suppress(OSError):
                yield Path(top, name).lstat()


def _journal(file: Path) -> Literal["none", "open", "ended"]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "none"
    return "ended" if '"kind": "end"' in text else "open"


def _record(file: Path) -> tuple[str, str, int | None]:
    """The kind, the target and the exit code of a record; empty of what is none."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        targets = [each["target"] for each in data.get("targets", [data])]
        kind, target, code = data["kind"], ", ".join(targets), data["exit_code"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "", "", None
    if len(targets) > 1:
        target = f"{len(targets)} targets"
    whole = isinstance(kind, str) and isinstance(code, int | None)
    return (kind, target, code) if whole else ("", "", None)
