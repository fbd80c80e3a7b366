"""The page's lines, and the statements that prove each of them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from converge.checking.record import Line
from converge.checking.statement import Statement
from converge.errors import UsageError


def parse_checklist(text: str, where: str) -> list[Line]:
    """Lines of the page in their order, without statements; `where` is named in errors.

    Raises:
        UsageError: not TOML, a key that is unknown or missing, or a reference that occurs twice.
    """
    try:
        sections = tomllib.loads(text).get("section", [])
    except tomllib.TOMLDecodeError as problem:
        raise UsageError(f"{where}: not valid TOML: {problem}") from problem
    found = [_line(entry, section, where) for section in sections for entry in section.get("line", [])]
    refs = [line.ref for line in found]
    if twice := sorted({ref for ref in refs if refs.count(ref) > 1}):
        raise UsageError(f"{where}: more than one line has the reference {', '.join(twice)}: give each line its own")
    return found


def _line(entry: Mapping[str, Any], section: Mapping[str, Any], where: str) -> Line:
    title = section.get("title")
    if not isinstance(title, str) or set(section) - {"title", "line"}:
        raise UsageError(f"{where}: a [[section]] has a title and [[section.line]] entries, not {sorted(section)}")
    if set(entry) != {"ref", "text"} or not all(isinstance(value, str) and value for value in entry.values()):
        raise UsageError(f"{where}: in section {title!r}: a line has ref and text, both not empty, not {dict(entry)}")
    return Line(ref=entry["ref"], text=entry["text"], statements=[], section=title)


def load_checklist(path: Path, statements: Iterable[Statement]) -> list[Line]:
    """The page's lines in a file, each with the statements that prove it.

    Raises:
        UsageError: the file cannot be read, or as ``parse_checklist``.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise UsageError(f"{path}: the checklist cannot be read: {problem.strerror}") from problem
    return lines(parse_checklist(text, str(path)), statements)


def proves(seed: Iterable[str], ref: str) -> bool:
    """Whether a statement with these seed references belongs to the line `ref`; the line OS takes OS1, OS2 ... too."""
    own = re.compile(re.escape(ref) + (r"\d*" if not ref[-1:].isdigit() else ""))
    return any(own.fullmatch(each) for each in seed)


def lines(page: Iterable[Line], statements: Iterable[Statement]) -> list[Line]:
    """The page's lines with the ids of all statements that prove each, in the statements' order."""
    known = list(statements)
    return [replace(line, statements=[s.id for s in known if proves(s.seed, line.ref)]) for line in page]
