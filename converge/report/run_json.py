"""The record as JSON, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from converge.checking.record import SCHEMA, Record, Survey
from converge.checking.statement import Outcome
from converge.errors import UsageError

T = TypeVar("T")


def json_text(record: Record) -> str:
    """The whole record, ASCII only, so that whatever bytes a host sent survive any editor and mail program.

    A line for each entry: fit to be compared by lines, and ten times as fast to make as with everything indented.
    """
    return _entries(vars(record))


def survey_texts(survey: Survey) -> Iterator[str]:
    """The whole survey as JSON, piece by piece, each target's record under ``targets`` as ``json_text`` has it."""
    head = {name: value for name, value in vars(survey).items() if name != "targets"}
    yield _entries(head).removesuffix("\n}\n") + ',\n"targets": [\n'
    for n, record in enumerate(survey.targets):
        yield (",\n" if n else "") + json_text(record).rstrip()
    yield "\n]\n}\n"


def _entries(values: Mapping[str, Any]) -> str:
    lines = [f'"{name}": {_listed(value) if isinstance(value, list) else _dumped(value)}' for name, value in values.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _listed(values: Sequence[Any]) -> str:
    return "[" + "".join(f"{',' if n else ''}\n {_dumped(value)}" for n, value in enumerate(values)) + "]"


def _dumped(value: Any) -> str:
    return json.dumps(value, default=vars)


def records_of(text: str, where: str) -> list[Record]:
    """The records of all targets in a ``run.json``; raises as ``record_of``."""
    try:
        data = json.loads(text)
        texts = [json.dumps(each) for each in data.get("targets") or [data]]
    except (ValueError, TypeError, AttributeError, RecursionError) as problem:
        raise UsageError(f"{where}: not a record of a check or a run: {problem}") from problem
    return [record_of(each, where) for each in texts]


def record_of(text: str, where: str) -> Record:
    """The record that ``json_text`` wrote; `where` is named in errors.

    Raises:
        UsageError: not such JSON, or written by another version of this program with another schema.
    """
    try:
        data = json.loads(text)
        schema = data["schema"]
        if schema != SCHEMA:
            raise UsageError(f"{where}: has schema {schema}, but {SCHEMA} is read here: use the version that wrote it")
        return made(Record, data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise UsageError(f"{where}: not a record of a check or a run: {problem}") from problem


def made(kind: type[T], data: Any) -> T:
    """A dataclass from plain data; keys that it does not have are ignored."""
    hints = get_type_hints(kind)
    known = {part.name for part in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: _value(hints[name], value) for name, value in data.items() if name in known})


def _value(hint: Any, value: Any) -> Any:
    if isinstance(hint, UnionType):
        kinds = [each for each in get_args(hint) if each is not type(None)]
        return None if value is None else _value(kinds[0], value)
    if get_origin(hint) is list:
        (inner,) = get_args(hint)
        return [_value(inner, item) for item in value]
    if get_origin(hint) is tuple:
        return tuple(_value(inner, item) for inner, item in zip(get_args(hint), value, strict=True))
    if is_dataclass(hint) and isinstance(hint, type):
        return made(hint, value)
    return Outcome(value) if hint is Outcome else value
