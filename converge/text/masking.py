"""Masking: what looks like a secret never reaches a record, a report or a terminal."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar, cast

MASK = "[masked]"
SHORT = 400
"""Texts of fewer characters are masked once and remembered: names and sentences come again with every target."""

T = TypeVar("T")

_NAME = (
    r"(?:pass(?:word|wd|phrase)|mysql_pwd|pgpassword|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|encryption[_-]?key|credentials?|salt)"
)

# A value ends where its quote does; an unquoted one at the next blank or separator. Nothing here nests a repetition, so that
# the time stays proportional to the text however hostile it is.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"-----BEGIN ([A-Z ]{0,30}PRIVATE KEY)-----(?:(?!-----BEGIN ).)*?(?:-----END \1-----|(?=-----BEGIN )|\Z)",
            re.DOTALL,
        ),
        rf"-----BEGIN \1----- {MASK} -----END \1-----",
    ),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,15}://)[^\s/@:'\"]{0,200}:[^\s/@'\"]{1,200}@"), rf"\1{MASK}@"),
    (re.compile(r"(?im)\b((?:proxy-)?authorization\s{0,5}[:=]\s{0,5})[^\r\n'\"]{1,4000}"), rf"\1{MASK}"),
    (re.compile(r"(?im)\b((?:set-)?cookie:\s{0,5})[^\r\n'\"]{1,8000}"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(bearer\s{1,5})[a-z0-9._~+/=-]{8,4000}"), rf"\1{MASK}"),
    (
        re.compile(
            rf"(?i)((?<![a-z0-9]){_NAME}(?:_?base|_?key|_?id)?(?![a-z])[\w-]{{0,20}}"
            r"(?:\\?[\"'])?\s{0,5}(?:=>|[:=])[ \t]{0,5})"
            rf"(?!{re.escape(MASK)})(\\?\"[^\"\r\n]{{0,2000}}\"|'[^'\r\n]{{0,2000}}'|[^\s,;&\"'<>)\]}}]{{1,2000}})"
        ),
        rf"\1{MASK}",
    ),
    (
        re.compile(
            rf"(?i)(--?{_NAME}(?:[_-][a-z]{{1,10}})?[ \t]{{1,5}})(?!{re.escape(MASK)})"
            r"(\"[^\"\r\n]{1,2000}\"|'[^'\r\n]{1,2000}'|[^\s-][^\s]{0,2000})"
        ),
        rf"\1{MASK}",
    ),
    # Formats that give themselves away: AWS, GitHub, GitLab, Slack, JSON web tokens, and 128 hexadecimal digits.
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), MASK),
    (re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_\w{20,255})"), MASK),
    (re.compile(r"\b(?:glpat-[\w-]{20,255}|xox[abprs]-[\w-]{10,255})"), MASK),
    (re.compile(r"\beyJ[\w-]{8,4000}\.eyJ[\w-]{4,4000}\.[\w-]{0,4000}"), MASK),
    (re.compile(r"(?i)(?<![0-9a-f])[0-9a-f]{128}(?![0-9a-f])"), MASK),
)


def mask(text: str) -> str:
    """`text` with what looks like a secret replaced by ``[masked]``; masking twice changes nothing more."""
    return _mask_short(text) if len(text) < SHORT else _mask(text)


@lru_cache(8192)
def _mask_short(text: str) -> str:
    return _mask(text)


def _mask(text: str) -> str:
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    return text


def masked(value: T) -> T:
    """A copy of plain data (dataclasses, lists, tuples, mappings, strings) with every string in it masked.

    What was one object in several places is one again, and masked once: many statements rest on the same reading.
    """
    return cast(T, _masked(value, {}))


def _masked(value: Any, known: dict[int, Any]) -> Any:
    if isinstance(value, str):
        return value if isinstance(value, Enum) else mask(value)
    if isinstance(value, list):
        return [_masked(item, known) for item in value]
    if isinstance(value, tuple):
        return tuple(_masked(item, known) for item in value)
    if isinstance(value, dict):
        return {key: _masked(item, known) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        if id(value) not in known:
            inside = {part.name: _masked(getattr(value, part.name), known) for part in fields(value) if part.init}
            known[id(value)] = replace(value, **inside)
        return known[id(value)]
    return value
