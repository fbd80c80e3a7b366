"""The record of a session: one value, of which every report is a function."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from converge.checking.statement import Outcome
from converge.readings import Asked, Evidence

SCHEMA = 1


@dataclass
class Verdict:
    """One instance of a statement as it was judged last; times are seconds since the epoch.

    `epoch` is how many steps of the run may have come before: no later one can have changed what was read.
    """

    id: str
    host: str
    nodeid: str
    sentence: str
    severity: str
    seed: list[str]
    outcome: Outcome
    message: str
    remedy: str
    needs: list[str]
    likely_cause: str = ""
    at: float = 0.0
    evidence: list[Evidence] = field(default_factory=list)
    epoch: int = 0


@dataclass
class StepRecord:
    """One step as it was planned and what became of it."""

    id: str
    remedy: str
    statements: list[str]
    host: str
    sentence: str
    commands: str
    preconditions: list[str]
    undo: str
    interrupts: float | None
    result: Literal[
        "planned", "done", "failed", "refused", "manual", "blocked", "unknown", "rolled back", "not reached", "not needed"
    ] = "planned"
    reason: str = ""
    rc: int | None = None
    out: str = ""
    err: str = ""
    started: float = 0.0
    seconds: float = 0.0
    proof: str = ""
    confirmed: str = ""
    confirm: float | None = None
    """Seconds within which it must be confirmed over a new connection, if it must."""
    search_gap: float | None = None
    serves: bool = False
    """Whether the site is served by what it starts, if nobody served it before."""
    waited: float = 0.0
    """Since when a person might do it (seconds since the epoch), if one did."""
    begun: float = 0.0
    """When it began, at the earliest, if a person typed what was laid ready for it; 0 for any other step: of what a person
    does in a way of their own only the end is seen. In seconds since the epoch, by this machine's clock: when the last look
    was sent that did not show it yet. So it is never late, and early by no more than a pause between looks (``hands.LATE``)
    and what looking took, longer where looks had no answer. `started` is when the answer came that did show it."""
    led: list[tuple[float, str]] = field(default_factory=list)
    """Whom the site led to, and from when (seconds since the epoch, by this machine's clock), as its program noted it."""


@dataclass
class Outage:
    """A stretch without a good answer, in seconds since the epoch."""

    start: float
    end: float
    failed: int
    first_error: str
    noticed: float = 0.0
    """When the first of them was known to have failed: it was asked for at the start."""


@dataclass
class Probe:
    """What the prober saw while the run acted."""

    url: str
    started: float
    ended: float
    sent: int
    failed: int
    longest_gap: float
    outages: list[Outage] = field(default_factory=list)
    answered_by: list[tuple[float, str]] = field(default_factory=list)
    searches_sent: int = 0
    searches_failed: int = 0
    search_gap: float = 0.0
    """Seconds, at most, between two good answers to searches, which are asked for seldomer than pages."""
    saves_sent: int = 0
    saves_failed: int = 0
    first_good: float | None = None
    """When the first page was asked for that was answered well; None if none was."""


@dataclass
class Line:
    """A line of the page, ticked when all instances of all its statements hold."""

    ref: str
    text: str
    statements: list[str]
    section: str = ""


@dataclass
class Record:
    """A check or a run."""

    id: str
    kind: Literal["check", "plan", "run"]
    target: str
    version: str
    started: float
    schema: int = SCHEMA
    seconds: float = 0.0
    situation: str = ""
    situation_detail: list[str] = field(default_factory=list)
    exit_code: int = 0
    exit_reason: str = ""
    before: list[Verdict] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)
    guards: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    probe: Probe | None = None
    checklist: list[Line] = field(default_factory=list)
    connections: int = 0
    execs: int = 0
    readings: int = 0
    misses: list[str] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    """What the readings cost, the dearest first; empty for a target of which another process of a survey read."""
    waited: float = 0.0
    """Seconds in which nothing was done until young processes were old enough, or until a remedy took effect."""
    commands: dict[str, str] = field(default_factory=dict)
    """What a person types next on this target, by verb (``plan``, ``remediate``, ``show``, ``rollback``)."""
    asking: float = 0.0
    """Seconds in which answers were waited for."""

    def verdict_of(self, nodeid: str) -> Verdict | None:
        """The verdict on one of pytest's items, None if it has not been judged."""
        # From the end: it is nearly always the last one.
        return next((each for each in reversed(self.verdicts) if each.nodeid == nodeid), None)

    def take_verdict(self, verdict: Verdict) -> None:
        """Add a verdict on one of pytest's items, in place of an earlier one on the same."""
        if earlier := self.verdict_of(verdict.nodeid):
            self.verdicts.remove(earlier)
        self.verdicts.append(verdict)


@dataclass
class Survey:
    """Checks of several targets in one session; each target has a record of its own, with its own exit code."""

    id: str
    version: str
    started: float
    targets: list[Record]
    kind: Literal["survey"] = "survey"
    schema: int = SCHEMA
    seconds: float = 0.0
    exit_code: int = 0
    exit_reason: str = ""
    notes: list[str] = field(default_factory=list)
