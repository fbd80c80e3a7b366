"""The results as a table on the terminal, as Markdown, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bench.sections import Aim, Table

HEAD = ("", "wall s", "min", "max", "client CPU s", "host CPU s", "memory MiB")


def lines(table: Table) -> list[tuple[str, ...]]:
    """The cells of a table: medians, and the range of the wall time."""
    found = []
    for result in table.results:
        walls = [sample.wall for sample in result.samples]
        cells = [result.median("wall"), min(walls), max(walls), result.median("client"), result.median("host")]
        found.append((result.name, *(f"{cell:.3f}" for cell in cells), f"{result.median('memory'):.0f}"))
    return found


def verdict(aim: Aim) -> str:
    """A figure in words."""
    said = f"{aim.text}: {aim.value:.2f} {aim.unit}"
    if aim.limit is None:
        return said
    wanted = f"{'at least' if aim.least else 'at most'} {aim.limit:g}"
    return f"{said} ({'met' if aim.met else 'MISSED'}: {wanted} was wanted)"


def terminal(table: Table) -> str:
    """Plain text in columns."""
    cells = [HEAD, *lines(table)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEAD))]
    rows = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells]
    tail = [*(f"  {verdict(aim)}" for aim in table.aims), *(f"  {note}" for note in table.notes)]
    return "\n".join(["", table.title, *rows, *tail])


def markdown(tables: Sequence[Table], about: dict[str, Any]) -> str:
    """The section of the documentation that holds the last figures."""
    parts = [f"{about['when']}, {about['machine']}; {about['rounds']} rounds.", ""]
    for table in tables:
        parts += [f"### {table.title[0].upper()}{table.title[1:]}", "", f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
        parts += [f"| {' | '.join(row)} |" for row in lines(table)]
        parts += ["", *(f"- {verdict(aim)}" for aim in table.aims), *(f"- {note}" for note in table.notes), ""]
    return "\n".join(parts)


def data(tables: Sequence[Table], about: dict[str, Any]) -> str:
    """JSON."""
    return json.dumps({"about": about, "tables": [table.as_dict() for table in tables]}, indent=1) + "\n"
