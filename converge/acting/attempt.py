"""One dispatch of one step: what is sent, and what the journal says of it before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from converge.checking.record import StepRecord
from converge.readings.answers import CONTROL

PUT_BACK = 180.0
"""Seconds that a step has after its limit to put back what it interrupted, before it is killed."""
GRACE = PUT_BACK + 30.0
"""Seconds beyond a step's own limit before the exec that started it gives up hearing of it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One script, on its way to a host: number in the run, host, script, the way back, seconds it may take.

    One that `puts_back` runs in a unit of its own, and is run again for that if it is killed; so does one with `confirm`,
    which is taken back unless it is confirmed. `who` is whose run it is.
    `carries` says that the site rests on it, `needless` that it need not be taken back. `laid` is when it was laid ready
    for a person, who may begin it at any time since; None if it was not.
    """

    n: int
    host: str
    script: str
    undo: str | None
    limit: float
    label: str
    confirm: bool = False
    who: str = "unknown"
    carries: bool = False
    needless: bool = False
    laid: float | None = None
    puts_back: bool = False

    @property
    def in_unit(self) -> bool:
        """Whether it runs in a transient unit of its own."""
        return self.confirm or self.puts_back

    @property
    def is_on_a_host(self) -> bool:
        """Whether others work where it acts."""
        return self.host != CONTROL


def facts_of(attempt: Attempt, record: StepRecord) -> dict[str, Any]:
    """What the journal says of a step before it is begun, or of one that is laid ready for a person."""
    return {
        "n": attempt.n,
        "step": record.id,
        "host": attempt.host,
        "remedy": record.remedy,
        "statements": record.statements,
        "sentence": record.sentence,
        "undo": record.undo,
        "undoable": attempt.undo is not None,
        "needless": attempt.needless,
        "carries": attempt.carries,
        "limit": attempt.limit,
        "confirm": attempt.confirm,
        "puts_back": attempt.puts_back,
        "interrupts": record.interrupts,
    }
