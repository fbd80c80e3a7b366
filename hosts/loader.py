"""From a target's name to its inventory."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from hosts.command_line import command_line
from hosts.errors import NATIVE, InventoryError, Layer, NoLab, did_you_mean, explain
from hosts.rules import broken
from hosts.schema import Inventory

HERE = Path(__file__).parent
LAB = "lab"
LAB_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


def load(target: str, *, offline: bool = False) -> Inventory:
    """The inventory of ``lab``, ``lab:NAME``, a file in hosts/ by its name, or a path to a file.

    A lab's addresses and keys come from the files that it writes when it starts; with `offline` they are not asked for.

    Raises:
        NoLab: the lab does not run.
        InventoryError: no such target, or the file is wrong, with every mistake in it.
    """
    lab, _, name = target.partition(":")
    if lab == LAB:
        name = name or LAB
        if not LAB_NAME.fullmatch(name):
            raise InventoryError(f"target {target}: a lab's name has small letters, digits and hyphens only; read {name!r}")
        layers = [read_layer(HERE / "lab.toml")]
        if not offline:
            layers.append(_generated(name))
        return build(layers, _lab(name))
    file = _file(target)
    return build([read_layer(file)], file.stem)


def expand(wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """The targets that are meant, each once and in the order in which they were named, and those that were named again.

    A pattern of files (``fleet/*.toml``) stands for the files that it matches, sorted.

    Raises:
        InventoryError: a pattern that matches nothing, or a target that there is not.
    """
    found: dict[str, str] = {}
    again: list[str] = []
    for target in (each for one in wanted for each in _matching(one)):
        identity = _identity(target)
        if identity in found:
            again.append(target)
        else:
            found[identity] = target
    return list(found.values()), again


def targets() -> list[str]:
    """Names of the inventories in hosts/, and of further labs that run."""
    names = sorted(file.stem for file in HERE.glob("*.toml"))
    others = sorted(file.parent.name for file in (HERE.parent / ".lab").glob("*/target.toml"))
    return names + [f"{LAB}:{name}" for name in others if name != LAB]


def generated(name: str = LAB) -> Path:
    """Where a running lab says how it is reached."""
    return HERE.parent / ".lab" / name / "target.toml"


def read_layer(file: Path) -> Layer:
    """A TOML file's data. Raises ``InventoryError`` if it cannot be read."""
    try:
        return Layer(file, tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as problem:
        raise InventoryError(f"{file}: cannot be read: {problem.strerror}. Look at its permissions.") from None
    except UnicodeDecodeError as problem:
        raise InventoryError(f"{file}: is not UTF-8 text (byte {problem.start}). Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as problem:
        raise InventoryError(f"{file}: is not TOML: {problem}. Correct that place.") from None


def build(layers: list[Layer], name: str) -> Inventory:
    """One inventory of several files' data, later ones winning key by key.

    Raises:
        InventoryError: with one line for each mistake.
    """
    data: dict[str, Any] = {}
    for layer in layers:
        data = merged(data, layer.data)
    data |= {"name": name, "file": str(layers[0].file)}
    if isinstance(data.get("hosts"), dict):
        data["hosts"] = {k: {**h, "name": k} if isinstance(h, dict) else h for k, h in data["hosts"].items()}
    try:
        inv = msgspec.convert(data, Inventory, builtin_types=NATIVE)
    except msgspec.ValidationError:
        raise InventoryError(explain(data, Inventory, layers)) from None
    if mistakes := list(broken(inv)):
        raise InventoryError("\n".join(f"{_source(layers, key)}: {key}: {what}" for key, what in mistakes))
    return inv


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `over` has; tables are merged, everything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def _lab(name: str) -> str:
    """A lab's target, however it was typed."""
    return LAB if name == LAB else f"{LAB}:{name}"


@contextmanager
def _typed(target: str) -> Iterator[None]:
    """While a path that somebody typed is looked at: what the system, or the library, says of it becomes our error."""
    try:
        yield
    except OSError as problem:
        seen = f"{problem.filename or 'it'} cannot be looked at: {problem.strerror or problem}"
        raise InventoryError(f"target {target}: {seen}. Look at its spelling and at its permissions.") from None
    except (RuntimeError, ValueError) as problem:  # an account that is not known, a pattern that cannot be
        raise InventoryError(f"target {target}: cannot be used: {str(problem).rstrip('.')}. Correct it.") from None


def _generated(name: str) -> Layer:
    file, target = generated(name), _lab(name)
    with _typed(target):
        running = file.is_file()
    if not running:
        up = command_line("lab", "up", *(() if name == LAB else ("--name", name)))
        raise NoLab(
            f"no lab is running for the target {target}: `{up}` starts one (as root), and `--target production` speaks "
            "to the real host"
        )
    return read_layer(file)


def _file(target: str) -> Path:
    with _typed(target):
        path = Path(target).expanduser()
        is_path = "/" in target or target.endswith(".toml")
        file = path if is_path else HERE / f"{target}.toml"
        if file.is_file():
            return file.resolve() if is_path else file
        if is_path and file.is_dir():
            inside = f"{target.rstrip('/')}/*.toml"
            raise InventoryError(f"target {target}: is a folder. Name a file in it, or '{inside}' for all of them.")
    if is_path:
        raise InventoryError(f"target {target}: there is no such file. Give a path to an inventory, or one of: {_known()}")
    guess = did_you_mean(target, targets())
    raise InventoryError(f"target {target}: not known{guess} (known: {_known()}; or a path to an inventory file)")


def _matching(target: str) -> list[str]:
    with _typed(target):
        path = Path(target).expanduser()
        is_pattern = set("*?[") & set(target) and ("/" in target or target.endswith(".toml"))
        if not is_pattern or path.is_file():
            return [target]
        top = Path(path.anchor or ".")
        files = sorted(str(each) for each in top.glob(str(path.relative_to(top))) if each.is_file())
    if not files:
        raise InventoryError(f"target {target}: no file matches. Look from {Path.cwd()}, or name the inventories.")
    return files


def _identity(target: str) -> str:
    lab, _, name = target.partition(":")
    return f"{LAB}:{name or LAB}" if lab == LAB else str(_file(target).resolve())


def _known() -> str:
    return ", ".join(targets())


def _source(layers: list[Layer], key: str) -> Path:
    location = [int(p) if p.isdigit() else p for p in re.split(r"[.\[\]]+", key) if p]
    return next((layer.file for layer in reversed(layers) if layer.has(location)), layers[0].file)
