"""Which statements are meant by what was typed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable

from converge.errors import UsageError

ID = re.compile(r"[A-Za-z]+-[0-9]+")


def selected(words: Iterable[str], known: Collection[str]) -> list[str]:
    """The ids that are meant, each once: an id in any case, or a group (``UNIT`` for ``UNIT-*``).

    Raises:
        UsageError: a word means none of those that are `known`; names the nearest.
    """
    found: list[str] = []
    for word in words:
        name = word.upper()
        meant = [id for id in known if id == name or id.rpartition("-")[0] == name]
        if not meant:
            raise UsageError(f"no statement has the id {word}{nearest(word, known)}")
        found += meant
    return list(dict.fromkeys(found))


def nearest(word: str, known: Collection[str]) -> str:
    """A question, if ids or groups are close to a word that is neither."""
    groups = dict.fromkeys(id.rpartition("-")[0] for id in known)
    near = difflib.get_close_matches(word.upper(), [*known, *groups], n=3)
    return f": did you mean {', '.join(near)}?" if near else ""


def ids_in(expression: str, known: Collection[str]) -> list[str]:
    """The ids in an expression of pytest's ``-k``, which cannot find them."""
    return [id for word in ID.findall(expression) if (id := word.upper()) in known]
