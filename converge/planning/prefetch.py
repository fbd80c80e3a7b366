"""What a remedy will ask, known from when it was last called: one exec for each part of its way instead of one a reading.

A remedy is called to plan, and again to act. After each of its steps every answer is void, so that it must ask anew; but
it asks the same as before at the same part of its way, a part being what lies between two of its steps. A step that is not
needed any more joins two parts: what was asked in the later one is then asked in the earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from converge.readings import Reader, Reading

T = TypeVar("T")
Want = tuple[Reading[Any], str | None]
Prefetch = Callable[[Iterable[Want]], None]


class Foresight:
    """Remembers, for each remedy on each host, what was asked in which part."""

    def __init__(self, read: Reader, prefetch: Prefetch) -> None:
        self._read, self._prefetch = read, prefetch
        self._asked: dict[tuple[str, str], dict[int, dict[Want, None]]] = {}

    def course(self, remedy: str, host: str) -> Course:
        """The reader for one call of a remedy."""
        return Course(self._read, self._prefetch, self._asked.setdefault((remedy, host), {}))

    def first(self, remedy: str, host: str) -> Iterable[Want]:
        """What a remedy asked before its first step when it was last called."""
        return tuple(self._asked.get((remedy, host), {}).get(0, ()))


class Course:
    """A ``Reader`` that asks at once for all that was asked before in the same part."""

    def __init__(self, read: Reader, prefetch: Prefetch, asked: dict[int, dict[Want, None]]) -> None:
        self._read, self._prefetch, self._asked = read, prefetch, asked
        self._part = 0

    def __call__(self, what: Reading[T], at: str | None = None) -> T:
        """See ``Reader``."""
        want, wants = (what, at), self._asked.setdefault(self._part, {})
        if want not in wants:
            wants |= self._joined(want)
        self._prefetch(wants)
        wants[want] = None
        return self._read(what, at)

    def _joined(self, want: Want) -> dict[Want, None]:
        """What was asked in the later parts, up to the first that asked for `want`; nothing if none did."""
        later = sorted(part for part in self._asked if part > self._part)
        last = next((part for part in later if want in self._asked[part]), None)
        return {} if last is None else {each: None for part in later if part <= last for each in self._asked[part]}

    def next(self) -> Iterable[Want]:
        """What was asked in the part that the next turn begins."""
        return tuple(self._asked.get(self._part + 1, ()))

    def turn(self) -> None:
        """A step was taken: the next part begins."""
        self._part += 1
