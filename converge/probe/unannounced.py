"""Pages that were lost while a run acted, though no step of it had announced that: a run that lost some is not well. Pure.

A page is no loss of the run's if it was lost before the first good answer (the site was down before) or before the run's
first step; nor while a step acts that says it interrupts the site; nor while a step starts what nobody served when it began;
nor if no answer came at all while no step of ours acted: that is the network's. All others are. A step that was laid ready
for a person acts from when it was begun; of what a person did in a way of their own that is not known, so that it may have
acted since it was waited for, and what had no answer is the network's. That a step took longer than it had announced is told
and fails nothing: how long an application boots is known no better. What was not asked for (no way to the web server) is not
known, and no loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from converge.checking.record import Outage, Probe, StepRecord
from converge.errors import RANK, Exit
from converge.text.display import clock, count, duration, one_line

ROOM = 5.0
"""Seconds beyond what a step announced that are no failure yet: so long one page may wait (``asking.TIMEOUT``), and none is
asked for meanwhile."""

STATUS = "status "
"""So the error begins of a page that the web server did answer."""

ACTED = {"done", "failed", "refused", "unknown", "rolled back"}
TOLD = 3
"""Stretches that are told one by one."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Pages that were lost from `start` on, for `seconds`. `step` was the last that had begun; `during` if it had not ended.

    `announced` is the seconds without service that it had said of itself, which were not enough; None for none.
    """

    failed: int
    start: float
    seconds: float
    error: str
    step: str
    during: bool
    announced: float | None = None


@dataclass(frozen=True, slots=True)
class _Span:
    """When a step acted, in seconds since the epoch; what a person did in a way of their own, since they were waited for.

    What was laid ready and typed begins some seconds early (``StepRecord.begun``), never late.
    """

    step: StepRecord
    begin: float
    end: float

    @property
    def cost(self) -> float:
        """Seconds without service that it announced."""
        return self.step.interrupts or 0.0

    @property
    def starts(self) -> bool:
        """Whether the site is to be served by what it starts."""
        return self.step.serves or self.cost > 0

    @property
    def asked(self) -> float:
        """Since when it might begin: earlier than it did, if a person was waited for to type it."""
        return self.step.waited or self.begin

    def acts_during(self, outage: Outage) -> bool:
        """Whether it is known to have acted meanwhile: for a person in a way of their own hours may be waited."""
        is_known = self.step.begun > 0 or not self.step.waited
        return is_known and self.begin <= outage.end and outage.start <= self.end

    def touches(self, outage: Outage) -> bool:
        """Whether the first page may have been lost by it; what was told to end may take as long to as it announced."""
        return self.begin <= _noticed(outage) and outage.start <= self.end + self.cost


def losses(probe: Probe | None, steps: Iterable[StepRecord]) -> list[Loss]:
    """What a run lost that its steps had not announced, in order of time; of a rollback's steps the same."""
    spans = _spans(steps)
    if probe is None or probe.first_good is None or not spans:
        return []
    found: list[Loss] = []
    announced: dict[int, list[Outage]] = {}
    for outage in probe.outages:
        if outage.start < probe.first_good or _noticed(outage) < spans[0].begin:
            continue
        causes = [n for n, span in enumerate(spans) if span.cost and span.touches(outage)]
        if causes:
            announced.setdefault(causes[-1], []).append(outage)
            continue
        if not outage.first_error.startswith(STATUS) and not any(span.acts_during(outage) for span in spans):
            continue
        last = [span for span in spans if span.begin <= _noticed(outage)][-1]
        during = outage.start <= last.end
        seconds = max(0.0, outage.end - outage.start)
        found.append(Loss(outage.failed, outage.start, seconds, outage.first_error, last.step.id, during))
    for n, outages in announced.items():
        found += _beyond(spans, n, outages)
    return sorted(found, key=lambda loss: loss.start)


def told(found: Sequence[Loss]) -> str:
    """Those that no step had announced, in one sentence without its full stop; empty for none."""
    found = _unannounced(found)
    if not found:
        return ""
    parts = [_stretch(loss) for loss in found[:TOLD]]
    if len(found) > TOLD:
        parts.append(f"and {count(len(found) - TOLD, 'more time')}")
    return f"{lost_in_all(found)}: {'; '.join(parts)}"


def lost_in_all(found: Sequence[Loss]) -> str:
    """How many pages no step had announced, in a few words; empty for none."""
    number = sum(loss.failed for loss in _unannounced(found))
    return f"{count(number, 'page')} {'was' if number == 1 else 'were'} lost that no step had announced" if number else ""


def overran(found: Sequence[Loss]) -> str:
    """Which steps took longer than they had announced, in one sentence without its full stop; empty for none."""
    return "; ".join(
        f"{loss.step} had announced about {duration(loss.announced)} without service, and took {duration(loss.seconds)}"
        for loss in found
        if loss.announced is not None
    )


def _unannounced(found: Iterable[Loss]) -> list[Loss]:
    return [loss for loss in found if loss.announced is None]


def weighed(ended: tuple[Exit, str] | None, found: Sequence[Loss]) -> tuple[Exit, str] | None:
    """How a run ends that would have ended so and lost these pages: it fails if no step had announced them."""
    text = told(found)
    if not text:
        return ended
    if ended is None or ended[0] is Exit.HOLDS:
        return Exit.FAILS, text
    return min(ended[0], Exit.FAILS, key=RANK.index), "; ".join(part for part in (ended[1], text) if part)


def _spans(steps: Iterable[StepRecord]) -> list[_Span]:
    found = []
    for step in steps:
        if step.started and step.result in ACTED:
            # Of a step without an end nobody knows when it had one.
            end = math.inf if step.result == "unknown" else step.started + step.seconds
            found.append(_Span(step, step.begun or step.waited or step.started, end))
    return sorted(found, key=lambda span: span.begin)


def _noticed(outage: Outage) -> float:
    return max(outage.start, outage.noticed)


def _beyond(spans: Sequence[_Span], n: int, outages: Sequence[Outage]) -> list[Loss]:
    """What was lost by a step that had announced less; nothing if it stayed within."""
    cause = spans[n]
    seconds = sum(_seconds(outage, cause, spans[n + 1 :]) for outage in outages)
    if seconds <= cause.cost + ROOM:
        return []
    failed, first = sum(outage.failed for outage in outages), outages[0]
    return [Loss(failed, first.start, seconds, first.first_error, cause.step.id, True, cause.cost)]


def _seconds(outage: Outage, cause: _Span, later: Iterable[_Span]) -> float:
    """How long the step kept the site from answering, without what later ones took to start what nobody served by then.

    To that belongs the time that a person took to type a start: no step did.
    """
    begin = max(outage.start, cause.begin)
    seconds = outage.end - begin
    for span in later:
        if span.starts and begin < span.begin < outage.end:
            seconds -= min(span.end, outage.end) - max(begin, span.asked)
    return max(0.0, seconds)


def _stretch(loss: Loss) -> str:
    text = f"{loss.failed:,} in {duration(loss.seconds)} from {clock(loss.start)} UTC ({one_line(loss.error, 80)})"
    return text + f", {'during' if loss.during else 'after'} {loss.step}"
