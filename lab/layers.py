"""States as cached read-only layers: what a state's build changed on both hosts and in the shared home."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.images import IMAGES
from lab.state import State

HERE = Path(__file__).parent
# Raised when what the platform lays into a host before it boots changes in a way that frozen states would contradict.
LAYOUT = 1


def sources(folder: Path = HERE) -> list[Path]:
    """The files that decide what a state's build does."""
    payload = [path for path in (folder / "payload").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    states = folder / "states.py"
    return sorted([*payload, *([states] if states.exists() else [])])


def source_hash(folder: Path = HERE) -> str:
    """Hash of the names, modes and contents of ``sources``."""
    digest = hashlib.sha256(str(LAYOUT).encode())
    for image in IMAGES.values():
        digest.update(image.key.encode())
    for path in sources(folder):
        executable = bool(path.stat().st_mode & 0o111)
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"\0{path.relative_to(folder)}\0{executable}\0{content}".encode())
    return digest.hexdigest()


def folder_name(line: list[State[Any]], hashed: str) -> str:
    """The cache folder of the topmost state of ``line``."""
    key = hashlib.sha256("\0".join([hashed, *(state.name for state in line)]).encode()).hexdigest()[:16]
    return f"{line[0].name}-{key}"


@dataclass
class Notes:
    """What is kept with a state beside its files: the inventory's facts, and files of the lab's directory."""

    facts: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, layer: Path) -> Notes:
        """The notes of a frozen layer."""
        return cls(**json.loads((layer / "notes.json").read_text()))

    def copy(self) -> Notes:
        """A copy that can be added to."""
        return Notes(**json.loads(json.dumps(vars(self))))


def freeze(uppers: Mapping[str, Path], notes: Notes, target: Path) -> None:
    """Move unmounted upper layers into ``target`` and write them to disk."""
    for tree, upper in uppers.items():
        upper.rename(target / tree)
    (target / "notes.json").write_text(json.dumps(vars(notes), indent=1))
    os.sync()
