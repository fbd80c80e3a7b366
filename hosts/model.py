"""Typed tables: values that are made from a file's data, strictly, with every mistake told by its place.

A small thing of our own, because the schema is needed before anything is connected to: a library for it took longer to
import than the connection to stand.
"""

from __future__ import annotations

import copy
import inspect
import json
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, ClassVar, Literal, Self, Union, dataclass_transform, get_args, get_origin, get_type_hints

Place = tuple[str | int, ...]
NOTHING: Any = object()


@dataclass(frozen=True)
class Mistake:
    """What is wrong at one place: an unknown key, a missing one, or a value (`allowed` says what may be there)."""

    kind: Literal["unknown", "missing", "value"]
    place: Place
    read: Any = None
    allowed: str = ""
    words: tuple[str, ...] = ()


class Mistakes(Exception):
    """Everything that is wrong with a file's data."""

    def __init__(self, found: list[Mistake]) -> None:
        super().__init__("; ".join(f"{m.kind} at {m.place}" for m in found))
        self.found = found


@dataclass(frozen=True)
class FieldInfo:
    """What the schema says of a key beside its type."""

    default: Any = NOTHING
    make: Callable[[], Any] | None = None
    description: str = ""
    above: float | None = None
    least: float | None = None
    letters: int = 0

    @property
    def required(self) -> bool:
        """Whether a file must have it."""
        return self.default is NOTHING and self.make is None

    def absent(self) -> Any:
        """The value where a file has none."""
        return self.make() if self.make else copy.copy(self.default)


def Field(
    *,
    default: Any = NOTHING,
    default_factory: Callable[[], Any] | None = None,
    description: str = "",
    gt: float | None = None,
    ge: float | None = None,
    min_length: int = 0,
) -> Any:
    """A key with its meaning, its default, and bounds: greater than `gt`, at least `ge`, not shorter than `min_length`."""
    return FieldInfo(default, default_factory, description, gt, ge, min_length)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
class Model:
    """A table with known keys. Immutable; equal if its values are."""

    model_fields: ClassVar[dict[str, FieldInfo]] = {}

    def __init_subclass__(cls) -> None:
        fields = dict(cls.model_fields)
        for name in inspect.get_annotations(cls):
            said = cls.__dict__.get(name, NOTHING)
            fields[name] = said if isinstance(said, FieldInfo) else FieldInfo(said)
        cls.model_fields = fields

    def __init__(self, **values: Any) -> None:
        for name, field in self.model_fields.items():
            if name not in values and field.required:
                raise TypeError(f"{type(self).__name__}: {name} is missing")
            self.__dict__[name] = values.pop(name) if name in values else field.absent()
        if values:
            raise TypeError(f"{type(self).__name__}: unknown {', '.join(values)}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be changed: use model_copy")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]  # it has lists

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """The same with other values, which are not checked."""
        return type(self)(**{**self.__dict__, **update})

    def model_dump(self) -> dict[str, Any]:
        """Plain data."""
        return {name: _plain(value) for name, value in self.__dict__.items()}

    def model_dump_json(self) -> str:
        """Plain data as JSON; dates are text."""
        return json.dumps(self.model_dump(), default=str)

    @classmethod
    def model_validate(cls, data: Mapping[str, Any], *, strict: bool = True) -> Self:
        """Make one from data; unless `strict`, a date may be text.

        Raises:
            Mistakes: all that is wrong with the data.
        """
        found: list[Mistake] = []
        made = _table(cls, data, (), found, strict)
        if found:
            raise Mistakes(found)
        assert isinstance(made, cls)
        return made

    @classmethod
    def model_validate_json(cls, text: str, *, strict: bool = True) -> Self:
        """Make one from JSON. Raises ``Mistakes``."""
        return cls.model_validate(json.loads(text), strict=strict)


_TYPES: dict[Any, dict[str, Any]] = {}


def types_of(model: type[Model]) -> dict[str, Any]:
    """The types of a table's keys."""
    if model not in _TYPES:
        _TYPES[model] = {name: hint for name, hint in get_type_hints(model).items() if name in model.model_fields}
    return _TYPES[model]


def models_in(hint: Any) -> Iterator[type[Model]]:
    """The tables that a type is about."""
    if isinstance(hint, type) and issubclass(hint, Model):
        yield hint
    elif get_origin(hint) in {dict, list, Union, types.UnionType}:
        for part in get_args(hint):
            yield from models_in(part)


def model_at(model: type[Model], place: Place) -> type[Model] | None:
    """The table that describes what is at a place, seen through mappings and lists."""
    here: Any = model
    for key in place:
        if isinstance(here, type) and issubclass(here, Model):
            here = types_of(here).get(str(key))
        elif get_origin(here) in {dict, list}:
            here = get_args(here)[-1]
        else:
            return None
    return here if isinstance(here, type) and issubclass(here, Model) else None


def _plain(value: Any) -> Any:
    if isinstance(value, Model):
        return value.model_dump()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


SIMPLE: dict[Any, str] = {str: "a string", int: "a whole number", bool: "true or false"}


def _table(model: type[Model], data: Any, place: Place, found: list[Mistake], strict: bool) -> Any:
    if not isinstance(data, Mapping):
        found.append(Mistake("value", place, data, "a table"))
        return None
    hints, values = types_of(model), {}
    for name, field in model.model_fields.items():
        if name in data:
            values[name] = _value(hints[name], data[name], (*place, name), found, strict)
            _bounds(field, values[name], (*place, name), found)
        elif field.required:
            found.append(Mistake("missing", (*place, name)))
    found += [Mistake("unknown", (*place, key)) for key in data if key not in model.model_fields]
    return None if found else model(**values)


def _bounds(field: FieldInfo, value: Any, place: Place, found: list[Mistake]) -> None:
    if isinstance(value, str) and len(value) < field.letters:
        found.append(Mistake("value", place, value, f"at least {field.letters} letters"))
    if not isinstance(value, int | float):
        return
    if field.above is not None and not value > field.above:
        found.append(Mistake("value", place, value, f"greater than {field.above:g}"))
    if field.least is not None and not value >= field.least:
        found.append(Mistake("value", place, value, f"greater than or equal to {field.least:g}"))


def _value(hint: Any, data: Any, place: Place, found: list[Mistake], strict: bool) -> Any:
    """The value if it is of the type; what is wrong is added to `found`."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        if data is None and type(None) in inner:
            return None
        return _value(next(part for part in inner if part is not type(None)), data, place, found, strict)
    if isinstance(hint, type) and issubclass(hint, Model):
        return _table(hint, data, place, found, strict)
    if origin is Literal:
        words = tuple(inner)
        fits, allowed = any(type(data) is type(word) and data == word for word in words), _either(words)
        return data if fits else _wrong(found, Mistake("value", place, data, allowed, tuple(map(str, words))))
    if origin is list:
        if not isinstance(data, list):
            return _wrong(found, Mistake("value", place, data, "a list"))
        return [_value(inner[0], each, (*place, number), found, strict) for number, each in enumerate(data)]
    if origin is dict:
        if not isinstance(data, Mapping):
            return _wrong(found, Mistake("value", place, data, "a table"))
        return {key: _value(inner[1], each, (*place, key), found, strict) for key, each in data.items()}
    return _single(hint, data, place, found, strict)


def _single(hint: Any, data: Any, place: Place, found: list[Mistake], strict: bool) -> Any:
    if hint is float:
        fits, allowed = type(data) in {int, float}, "a number"
        return float(data) if fits else _wrong(found, Mistake("value", place, data, allowed))
    if hint is date:
        if not strict and isinstance(data, str):
            data = date.fromisoformat(data)
        fits, allowed = isinstance(data, date) and not isinstance(data, datetime), "a date, as 2019-04-23 without quotes"
    else:
        fits, allowed = type(data) is hint, SIMPLE[hint]
    return data if fits else _wrong(found, Mistake("value", place, data, allowed))


def _wrong(found: list[Mistake], mistake: Mistake) -> None:
    found.append(mistake)


def _either(words: tuple[Any, ...]) -> str:
    shown = [repr(word) for word in words]
    return " or ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]
