"""The results as a picture: bars of the median wall time, with the range of the rounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from bench.measure import Result
from bench.sections import Table

COLOURS = {"ours": "#1b6ca8", "floor": "#9aa5ad"}
PEER = "#d9a441"
NAMES, BARS, ROW, HEAD = 250, 520, 18, 30
"""Widths of the names and of the longest bar, heights of a row and of a table's head, in pixels."""


def svg(tables: Sequence[Table]) -> str:
    """All tables below each other."""
    height, parts = 0, list[str]()
    for table in tables:
        parts += [f'<g transform="translate(0 {height})">', *_bars(table), "</g>"]
        height += HEAD + ROW * (len(table.results) + 1)
    size = f'width="{NAMES + BARS + 80}" height="{height}"'
    style = "<style>text{font:11px sans-serif}.title{font-weight:bold}</style>"
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', style, *parts, "</svg>\n"])


def _bars(table: Table) -> Iterator[str]:
    yield f'<text class="title" x="4" y="18">{escape(table.title)}: seconds, median and range</text>'
    longest = max(sample.wall for result in table.results for sample in result.samples) or 1.0
    for place, result in enumerate(table.results):
        yield from _bar(result, HEAD + ROW * place, BARS / longest)


def _bar(result: Result, top: int, scale: float) -> Iterator[str]:
    walls = [sample.wall for sample in result.samples]
    middle, least, most = (NAMES + scale * wall for wall in (result.median("wall"), min(walls), max(walls)))
    colour = COLOURS.get(result.name.partition(":")[0].partition(",")[0], PEER)
    yield f'<text x="{NAMES - 6}" y="{top + 12}" text-anchor="end">{escape(result.name)}</text>'
    yield f'<rect x="{NAMES}" y="{top + 2}" width="{middle - NAMES:.1f}" height="{ROW - 6}" fill="{colour}"/>'
    yield f'<path d="M{least:.1f} {top + ROW / 2 - 1}H{most:.1f}" stroke="#444" stroke-width="2"/>'
    yield f'<text x="{most + 6:.1f}" y="{top + 12}">{result.median("wall"):.2f} s</text>'
