"""States as cached read-only layers: what a state's build changed on both hosts and in the shared home."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.errors import UnknownName
from lab.images import IMAGES

if TYPE_CHECKING:
    from lab.lab import Lab

HERE = Path(__file__).parent
# Raised when what the platform lays into a host before it boots changes in a way that frozen states would contradict.
LAYOUT = 1


@dataclass(frozen=True)
class State:
    """A named situation of both hosts.

    ``build`` runs once on freshly booted hosts that are in state ``base`` (None: bare images); what it changed is
    frozen after a clean power-off. ``settle`` waits, after each boot into the state, until it is as described.
    """

    name: str
    sentence: str
    base: str | None
    build: Callable[[Lab], None]
    settle: Callable[[Lab], None]


def _nothing(_: Lab) -> None:
    pass


BARE = State("bare", "two fresh hosts with users and sshd, nothing of the application", None, _nothing, _nothing)


def all_states() -> dict[str, State]:
    """Every state by name, `bare` first."""
    # By name, as the states are written in terms of Lab, which is written in terms of this module.
    if importlib.util.find_spec("lab.states") is None:
        return {BARE.name: BARE}
    states: dict[str, State] = importlib.import_module("lab.states").STATES
    return {BARE.name: BARE, **states}


def find(name: str, states: Mapping[str, State]) -> State:
    """The state of that name; UnknownName lists the others."""
    if name not in states:
        raise UnknownName(f"There is no state {name!r}; there are: {', '.join(states)}.")
    return states[name]


def ancestry(state: State, states: Mapping[str, State]) -> list[State]:
    """The states whose layers make up ``state``, topmost (itself) first; `bare` has no layer."""
    line: list[State] = []
    current: State | None = state
    while current is not None and current.name != BARE.name:
        if current in line:
            raise UnknownName(f"The state {current.name!r} is its own base; mend lab/states.py.")
        line.append(current)
        current = find(current.base, states) if current.base else None
    return line


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


def folder_name(line: list[State], hashed: str) -> str:
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
