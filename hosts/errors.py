"""What can be wrong with an inventory, in the words of its author."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

WORDS = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "date": "a date, as 2019-04-23 without quotes",
}
"""The library's names of types, in the words of a TOML file's author."""

NATIVE = (date,)
"""What TOML has of its own: a date is never read from a string."""

Place = tuple[str | int, ...]


class InventoryError(Exception):
    """An inventory that cannot be used: file, key, what was read, what is allowed."""


class NoLab(InventoryError):
    """The target is a lab that does not run."""


@dataclass(frozen=True)
class Layer:
    """One file's data. Later layers win."""

    file: Path
    data: Mapping[str, Any]

    def has(self, location: Iterable[str | int]) -> bool:
        """Whether the file itself has this key."""
        here: Any = self.data
        for key in location:
            try:
                here = here[key]
            except (KeyError, IndexError, TypeError):
                return False
        return True


def explain(data: Any, model: type[msgspec.Struct], layers: list[Layer]) -> str:
    """One line for each thing that is wrong with data that the library refused."""
    lines = []
    for place, what in _wrong(model, data, ()):
        file = next((layer.file for layer in reversed(layers) if layer.has(place)), layers[0].file)
        lines.append(f"{file}: {dotted(place) or '(whole file)'}: {what}")
    return "\n".join(lines)


def dotted(location: Iterable[str | int]) -> str:
    """A place in a file as people write it: ``hosts.vampires.role``, ``waivers[0].id``."""
    text = ""
    for key in location:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question, if one of the known words is close."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _wrong(hint: Any, data: Any, place: Place) -> Iterator[tuple[Place, str]]:
    """Every mistake below a place: the library itself ends at the first, and does not name a mapping's key."""
    bare, inner = _bare(hint), get_args(_bare(hint))
    if _is_table(bare) and isinstance(data, Mapping):
        yield from _wrong_table(bare, data, place)
    elif get_origin(bare) is dict and isinstance(data, Mapping):
        for key, value in data.items():
            yield from _wrong(inner[1], value, (*place, key))
    elif get_origin(bare) is list and isinstance(data, list):
        for number, value in enumerate(data):
            yield from _wrong(inner[0], value, (*place, number))
    elif problem := _refused(hint, data):
        yield place, f"read {data!r}, allowed: {_allowed(hint, data, problem)}"


def _wrong_table(model: type[msgspec.Struct], data: Mapping[str, Any], place: Place) -> Iterator[tuple[Place, str]]:
    hints = get_type_hints(model, include_extras=True)
    known = sorted(name for name, hint in hints.items() if "filled in by the loader" not in _meaning(hint))
    for key in data.keys() - hints.keys():
        yield (*place, key), f"unknown key{did_you_mean(key, known)} (allowed here: {', '.join(known)})"
    for field in msgspec.structs.fields(model):
        hint, here = hints[field.name], (*place, field.name)
        if field.name in data:
            yield from _wrong(hint, data[field.name], here)
        elif field.required:
            yield here, f"missing ({_meaning(hint) or _contents(hint)})"


def _refused(hint: Any, data: Any) -> str:
    """The library's word on a value; empty if it takes it."""
    try:
        msgspec.convert(data, hint, builtin_types=NATIVE)
    except msgspec.ValidationError as problem:
        return str(problem)
    return ""


def _allowed(hint: Any, data: Any, problem: str) -> str:
    if get_origin(_bare(hint)) is Literal:
        words = get_args(_bare(hint))
        *first, last = [repr(word) for word in words]
        guess = did_you_mean(data, [word for word in words if isinstance(word, str)]) if isinstance(data, str) else ""
        return f"{', '.join(first)} or {last}{guess}" if first else f"{last}{guess}"
    expected = problem.removeprefix("Expected ").split(", got ")[0].split(" - at ")[0]
    return re.sub(r"`([^`]*)`", lambda m: " or ".join(WORDS.get(w, w) for w in m[1].split(" | ") if w != "null"), expected)


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _is_table(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)


def _meaning(hint: Any) -> str:
    extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((extra.description for extra in extras if isinstance(extra, msgspec.Meta) and extra.description), "")


def _contents(hint: Any) -> str:
    tables = [part for part in (_bare(hint), *get_args(_bare(hint))) if _is_table(part)]
    return f"a table with {', '.join(tables[0].__struct_fields__)}" if tables else "it must be given"
