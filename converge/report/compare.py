"""Two reports beside each other: which statements changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from converge.checking.record import Record, Verdict


@dataclass(frozen=True, slots=True)
class Change:
    """A statement on a host of which two reports say different things; None where one lacks it."""

    target: str
    old: Verdict | None
    new: Verdict | None

    @property
    def verdict(self) -> Verdict:
        """The one that there is, the newer one of two."""
        found = self.new or self.old
        assert found
        return found

    @property
    def is_worse(self) -> bool:
        """Whether it was well and is not any more."""
        if self.old is None or self.new is None:
            return False
        return self.old.outcome.is_well and not self.new.outcome.is_well

    def __str__(self) -> str:
        said = self.verdict
        where = f" at {said.host}" if said.host else ""
        before, after = (
            each.outcome.value if each else "not asked" for each in (self.old, self.new)
        )
        return f"{self.target}: {said.id}{where}: {before} -> {after}: {said.sentence}"


def changes(old: Sequence[Record], new: Sequence[Record]) -> list[Change]:
    """What became other than it was, in the order of the newer report."""
    before, after = _verdicts(old), _verdicts(new)
    both = [(key, before.get(key), after.get(key)) for key in dict.fromkeys([*after, *before])]
    return [Change(key[0], a, b) for key, a, b in both if (a and a.outcome) != (b and b.outcome)]


def _verdicts(records: Sequence[Record]) -> dict[tuple[str, str, str], Verdict]:
    return {
        (record.target, each.id, each.host): each for record in records for each in record.verdicts
    }
