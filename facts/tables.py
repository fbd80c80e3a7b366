"""Answers in the form of tables: lines of tab-separated fields whose first one says of which kind the line is."""

from __future__ import annotations

from collections.abc import Iterator

from converge.errors import Unobservable
from converge.readings import Raw
from facts.parsing import observed

ABSENT = ("No such file or directory", "Not a directory")


def only_absences(raw: Raw, at: str) -> Raw:
    """`raw`, if all that it complains of are paths that do not exist, which is an answer and not a failure.

    Raises:
        Unobservable: as `observed`, or something was refused or broken (permission, stale file handle, missing tool).
    """
    observed(raw, at)
    for line in raw.err.splitlines():
        if line.strip() and not any(word in line for word in ABSENT):
            raise Unobservable(f"{at}: {line.strip()}")
    return raw


def records(raw: Raw, at: str, **widths: int) -> Iterator[tuple[str, list[str]]]:
    """Kind and fields of each tab-separated line; `widths` names the kinds that may occur and how many fields follow.

    Raises:
        Unobservable: a line is of another kind or width (a file's name may hold a tab or a line's end).
    """
    for line in raw.lines:
        kind, *fields = line.split("\t")
        if widths.get(kind) != len(fields):
            raise Unobservable(f"{at}: a line of the answer cannot be understood: {line[:200]!r}")
        yield kind, fields
