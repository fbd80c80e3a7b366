"""What can be wrong with an inventory, in the words of its author."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from converge.errors import ConvergeError

ALLOWED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "date_type": "a date, as 2019-04-23 without quotes",
}


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


def explain(problem: ValidationError, model: type[BaseModel], layers: list[Layer]) -> str:
    """One line for each thing that is wrong."""
    return "\n".join(_line(detail, model, layers) for detail in problem.errors())


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


def _line(detail: ErrorDetails, model: type[BaseModel], layers: list[Layer]) -> str:
    location = tuple(part for part in detail["loc"])
    file = next((layer.file for layer in reversed(layers) if layer.has(location)), layers[0].file)
    place, read, context = dotted(location), detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            known = sorted(_keys(model, location[:-1]))
            guess = did_you_mean(str(location[-1]), known)
            return f"{file}: {place}: unknown key{guess} (allowed here: {', '.join(known)})"
        case "missing":
            return f"{file}: {place}: missing ({_meaning(model, location)})"
        case "literal_error":
            return f"{file}: {place}: read {read!r}, allowed: {context['expected']}{_guess(read, context['expected'])}"
        case "value_error":
            return f"{file}: {place or '(whole file)'}: {context['error']}"
        case kind:
            allowed = ALLOWED.get(kind, detail["msg"].removeprefix("Input should be "))
            return f"{file}: {place}: read {read!r}, allowed: {allowed}"


def _guess(read: object, expected: str) -> str:
    words = [word.strip("' ") for word in expected.replace(" or ", ",").split(",")]
    return did_you_mean(read, words) if isinstance(read, str) else ""


def _keys(model: type[BaseModel], location: tuple[str | int, ...]) -> Iterable[str]:
    owner = _model_at(model, location)
    fields = owner.model_fields.items() if owner else []
    return [key for key, field in fields if "filled in by the loader" not in (field.description or "")]


def _meaning(model: type[BaseModel], location: tuple[str | int, ...]) -> str:
    owner = _model_at(model, location[:-1])
    field = owner.model_fields.get(str(location[-1])) if owner else None
    if field is None:
        return "it must be given"
    inner = _models(field.annotation)
    of = f"a table with {', '.join(inner[0].model_fields)}" if inner else "it must be given"
    return field.description or of


def _model_at(model: type[BaseModel], location: tuple[str | int, ...]) -> type[BaseModel] | None:
    """The model that describes what is at a place, seen through mappings and lists."""
    here: Any = model
    for key in location:
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = here.model_fields.get(str(key))
            here = field.annotation if field else None
        elif get_origin(here) in {dict, list}:
            here = get_args(here)[-1]
        else:
            return None
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in {dict, list, Union, types.UnionType}:
        return [found for part in get_args(annotation) for found in _models(part)]
    return []
