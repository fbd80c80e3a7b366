"""What can be wrong with an inventory, in the words of its author."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from converge.errors import ConvergeError
from hosts.model import Mistake, Mistakes, Model, Place, model_at, models_in, types_of


class InventoryError(ConvergeError):
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


def explain(problem: Mistakes, model: type[Model], layers: list[Layer]) -> str:
    """One line for each thing that is wrong."""
    return "\n".join(_line(mistake, model, layers) for mistake in problem.found)


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


def _line(mistake: Mistake, model: type[Model], layers: list[Layer]) -> str:
    location = mistake.place
    file = next((layer.file for layer in reversed(layers) if layer.has(location)), layers[0].file)
    place = dotted(location)
    if mistake.kind == "unknown":
        known = sorted(_keys(model, location[:-1]))
        guess = did_you_mean(str(location[-1]), known)
        return f"{file}: {place}: unknown key{guess} (allowed here: {', '.join(known)})"
    if mistake.kind == "missing":
        return f"{file}: {place}: missing ({_meaning(model, location)})"
    guess = did_you_mean(mistake.read, mistake.words) if isinstance(mistake.read, str) else ""
    return f"{file}: {place}: read {mistake.read!r}, allowed: {mistake.allowed}{guess}"


def _keys(model: type[Model], location: Place) -> Iterable[str]:
    owner = model_at(model, location)
    fields = owner.model_fields.items() if owner else []
    return [key for key, field in fields if "filled in by the loader" not in field.description]


def _meaning(model: type[Model], location: Place) -> str:
    owner = model_at(model, location[:-1])
    name = str(location[-1])
    if owner is None or name not in owner.model_fields:
        return "it must be given"
    inner = next(models_in(types_of(owner)[name]), None)
    of = f"a table with {', '.join(inner.model_fields)}" if inner else "it must be given"
    return owner.model_fields[name].description or of
