"""What the journal of a run tells of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

Kind = Literal["plan", "intent", "waiting", "result", "proof", "end", "undone", "left", "purged"]
LAID = "undoable"
"""What a line says of a step that a run laid ready, as its intent does; lines of an earlier version do not."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line; `data` is what belongs to its kind, `at` seconds since the epoch."""

    kind: str
    at: float
    data: dict[str, Any]


@dataclass
class Story:
    """What a journal tells of one run."""

    id: str
    entries: list[Entry] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)
    """Numbers of the lines that cannot be read and were once whole."""
    started: frozenset[int] = frozenset()
    """Steps whose script lies beside the journal: each of them was begun, or about to be."""

    @property
    def plan(self) -> dict[str, Any]:
        """Who, since when, which statements and steps."""
        return next((e.data for e in self.entries if e.kind == "plan"), {})

    @property
    def seq(self) -> int:
        """Its number among the runs of its host, given under the lock; 0 in a journal of an earlier version."""
        return int(self.plan.get("seq", 0))

    @property
    def order(self) -> tuple[float, str]:
        """What sorts the runs of a host by when they began; ids alone are by the laptops' clocks, which may differ."""
        return (inf if self.is_of_any_time else self.seq, self.id)

    @property
    def is_of_any_time(self) -> bool:
        """Whether its number is lost: it counts as the newest then, so that none is taken back beneath it."""
        return not self.plan and bool(self.damage)

    @property
    def end(self) -> dict[str, Any] | None:
        """Exit code and reason; None while the run is going on, or if it died."""
        return next((e.data for e in reversed(self.entries) if e.kind == "end"), None)

    @property
    def is_open(self) -> bool:
        """Whether the run has no end."""
        return self.end is None

    def intents(self) -> list[dict[str, Any]]:
        """The steps that were begun, in order, each with its ``n`` and the time ``at`` which.

        What a person typed again, as it could not be kept the first time, wrote its intent each time: the last one counts.
        Of what was typed on another host, and not seen by the run any more, that is the line by which it was waited for.
        """
        told = (e for e in self.entries if e.kind == "intent" or self._was_typed(e))
        return list({int(e.data["n"]): {**e.data, "at": e.at} for e in told}.values())

    def results(self) -> dict[int, dict[str, Any]]:
        """What became of the steps, by number; lines for one step (the host's, then ours) are laid over each other."""
        found: dict[int, dict[str, Any]] = {}
        for entry in self.entries:
            if entry.kind == "result":
                found.setdefault(int(entry.data["n"]), {}).update(entry.data)
        return found

    def undone(self) -> set[int]:
        """Numbers of the steps that were taken back."""
        return self._numbers("undone")

    def left(self) -> set[int]:
        """Numbers of the steps that were to be taken back and stay, as what they did was changed since."""
        return self._numbers("left")

    def untold(self) -> set[int]:
        """Numbers of the steps that were begun, by what is known of them, and of which no line says what they were to do."""
        begun = self._numbers("result", "undone", "left", "purged") | self.started
        return begun - {int(intent["n"]) for intent in self.intents()}

    @property
    def damage(self) -> str:
        """What of the journal is missing that was once written, in words; empty for nothing.

        Each line is written before what it tells of is done: one that a crash cut off tells of nothing, any other may
        tell of anything.
        """
        found = [f"line {n} cannot be read" for n in self.unreadable]
        found += [f"no line says what step {n} was to do, and it was begun" for n in sorted(self.untold())]
        return "; ".join(found)

    def _numbers(self, *kinds: Kind) -> set[int]:
        return {int(e.data["n"]) for e in self.entries if e.kind in kinds}

    def purged(self) -> dict[int, str]:
        """Steps of which what they moved aside was deleted, with the run that did it."""
        return {int(e.data["n"]): str(e.data.get("by", "")) for e in self.entries if e.kind == "purged"}

    @property
    def waiting(self) -> dict[str, Any] | None:
        """The step that a person is to do, for which the run waits, or waited when it died; None for none."""
        last = next((e for e in reversed(self.entries) if e.kind in {"waiting", "intent", "result", "end"}), None)
        return {**last.data, "at": last.at} if last and last.kind == "waiting" and not self._was_typed(last) else None

    def _was_typed(self, entry: Entry) -> bool:
        """Whether it says what a step is to do that was laid ready for a person, and which was begun since."""
        return entry.kind == "waiting" and LAID in entry.data and int(entry.data["n"]) in self.started

    def dangling(self) -> list[dict[str, Any]]:
        """Steps that were begun and of which no result is written."""
        results = self.results()
        return [intent for intent in self.intents() if int(intent["n"]) not in results]
