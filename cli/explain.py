"""``./hkn explain``: what statements mean."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Column, Table

from cli.common import out, say
from converge.checking.selection import selected
from converge.checking.statement import REGISTRY, described, import_statements

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="such as UNIT-3, or UNIT; none: all, as a table")]
AsJson = Annotated[bool, typer.Option("--json", help="for programs")]

EXAMPLE = ("explain", "UNIT-3")


def explain(ids: Ids = None, as_json: AsJson = False) -> None:
    """Say what statements mean, and how they are mended.

    What they need, and what needs them. Connects to nothing.
    """
    import_statements("verify")
    chosen = [described(REGISTRY[id]) for id in selected(ids or list(REGISTRY), REGISTRY)]
    for data in chosen:
        data["remedy"] = data["remedy"] and f"remediate/{data['remedy'].replace('.', '.py: ')}"
    if as_json:
        print(json.dumps(chosen[0] if ids and len(chosen) == 1 else chosen, indent=2))
    elif not ids:
        out.print(table(), soft_wrap=False)
    else:
        for n, data in enumerate(chosen):
            say("\n" * bool(n) + "\n".join(f"{key + ':':12}{_words(value)}" for key, value in data.items() if value))


def table() -> Table:
    """Every statement with its remedy, or who mends it instead."""
    rows = Table(Column("statement", no_wrap=True), "it states", "remedy", box=None)
    for statement in REGISTRY.values():
        rows.add_row(statement.id, statement.sentence, statement.remedy or "manual")
    return rows


def _words(value: str | list[str]) -> str:
    return ", ".join(value) if isinstance(value, list) else value
