"""The timeline of a run as a drawing: lanes, bars and ticks, in the units of the drawing's own view box."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from converge.checking.record import Outage, Probe, Record
from converge.report.summary import done, led
from converge.text.display import clock, duration, one_line

WIDTH = 1000.0
LABELS = 190.0
ROW = 22.0
TOP = 26.0
_LEAST = 2.5  # a tenth of a second in ten minutes is still to be seen
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)


@dataclass(frozen=True)
class Bar:
    """A stretch of time in a lane; `title` is shown when pointed at, `text` in it."""

    x: float
    width: float
    kind: str
    title: str
    text: str = ""


@dataclass(frozen=True)
class Lane:
    """A row of the drawing."""

    y: float
    label: str
    bars: list[Bar]


@dataclass(frozen=True)
class Chart:
    """The whole drawing; `outages` are drawn through all lanes."""

    height: float
    lanes: list[Lane]
    ticks: list[tuple[float, str]]
    outages: list[Bar]
    width: float = WIDTH
    labels: float = LABELS


@dataclass(frozen=True)
class _Scale:
    start: float
    end: float

    def x(self, at: float) -> float:
        within = min(max(at, self.start), self.end) - self.start
        return round(LABELS + (WIDTH - LABELS - 12) * within / (self.end - self.start), 1)

    def bar(self, start: float, end: float, kind: str, title: str, text: str = "") -> Bar:
        x = self.x(start)
        width = round(max(self.x(end) - x, _LEAST), 1)
        # Some 6.5 units a letter: a text that does not fit is left to the title.
        return Bar(x, width, kind, title, text if len(text) * 6.5 + 8 < width else "")

    def ticks(self) -> list[tuple[float, str]]:
        span = self.end - self.start
        step = next((each for each in _STEPS if span / each <= 9), span / 8)
        return [(self.x(self.start + n * step), _offset(n * step)) for n in range(int(span / step) + 1)]


def _offset(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min"


def chart(record: Record) -> Chart | None:
    """The drawing, or None if nothing was done and nobody asked the site."""
    acted = [step for step in record.steps if step.started]
    probe = record.probe if record.probe and record.probe.ended > record.probe.started else None
    starts = [step.started for step in acted] + ([probe.started] if probe else [])
    ends = [step.started + step.seconds for step in acted] + ([probe.ended] if probe else [])
    if not starts:
        return None
    scale = _Scale(min(starts), max([*ends, min(starts) + 0.1]))
    rows = [*_probe_rows(probe, scale), *_led_rows(record, scale), *_step_rows(record, scale)]
    lanes = [Lane(TOP + n * ROW, label, bars) for n, (label, bars) in enumerate(rows)]
    outages = [_outage(scale, each) for each in probe.outages] if probe else []
    return Chart(TOP + len(lanes) * ROW + 6, lanes, scale.ticks(), outages)


def _outage(scale: _Scale, each: Outage) -> Bar:
    length = duration(each.end - each.start)
    title = f"{clock(each.start)}: no good answer for {length}, {each.failed:,} failed: {one_line(each.first_error)}"
    return scale.bar(each.start, each.end, "outage", title, length)


def _probe_rows(probe: Probe | None, scale: _Scale) -> Iterable[tuple[str, list[Bar]]]:
    if probe is None:
        return
    title = f"{probe.url}: {probe.sent:,} requests, {probe.failed:,} failed"
    up = scale.bar(probe.started, probe.ended, "up", title)
    yield "the site answers", [up, *(_outage(scale, each) for each in probe.outages)]
    if probe.answered_by:
        yield "answered by", _one_after_the_other(scale, probe.answered_by, probe.ended)


def _led_rows(record: Record, scale: _Scale) -> Iterable[tuple[str, list[Bar]]]:
    if found := led(record.steps):
        yield "the site leads to", _one_after_the_other(scale, found, scale.end)


def _one_after_the_other(scale: _Scale, found: Sequence[tuple[float, str]], end: float) -> list[Bar]:
    names = list(dict.fromkeys(who for _, who in found))
    until = [at for at, _ in found[1:]] + [end]
    bars = []
    for n, ((at, who), over) in enumerate(zip(found, until, strict=True), 1):
        title = f"{who}, from {clock(at)}" + (f" until {clock(over)}" if n < len(found) else "")
        bars.append(scale.bar(at, over, f"by{names.index(who) % 4}", title, one_line(who, 60)))
    return bars


def _step_rows(record: Record, scale: _Scale) -> Iterable[tuple[str, list[Bar]]]:
    for remedy in done(record):
        bars = [
            scale.bar(
                step.started,
                step.started + step.seconds,
                step.result.replace(" ", "-"),
                f"{clock(step.started)} {step.sentence} ({step.host}): {step.result}, {duration(step.seconds)}",
            )
            for step in remedy.steps
            if step.started
        ]
        if bars:
            yield one_line(remedy.remedy, 28), bars
