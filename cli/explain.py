"""``./hkn explain``: what statements mean."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from cli.common import example, out, say
from converge.checking.selection import selected
from converge.checking.statement import REGISTRY, Statement, import_statements

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="such as UNIT-3, or UNIT; none: all, as a table")]
AsJson = Annotated[bool, typer.Option("--json", help="for programs")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(short_help="Say what statements mean.", epilog=example("explain", "UNIT-3"))(explain)


def explain(ids: Ids = None, as_json: AsJson = False) -> None:
    """Say what statements mean, what they need, what needs them, and how they are mended. Connects to nothing."""
    import_statements("verify")
    chosen = [described(REGISTRY[id]) for id in selected(ids or list(REGISTRY), REGISTRY)]
    if as_json:
        print(json.dumps(chosen[0] if ids and len(chosen) == 1 else chosen, indent=2))
    elif not ids:
        out.print(table(), soft_wrap=False)
    else:
        for n, data in enumerate(chosen):
            say("\n" * bool(n) + "\n".join(f"{key + ':':12}{_words(value)}" for key, value in data.items() if value))


def described(statement: Statement) -> dict[str, Any]:
    """What is known of a statement beside how a host stands."""
    return {
        "id": statement.id,
        "sentence": statement.sentence,
        "severity": statement.severity.value,
        "on": statement.on,
        "seed": list(statement.seed),
        "needs": list(statement.needs),
        "needed by": [other.id for other in REGISTRY.values() if statement.id in other.needs],
        "remedy": f"remediate/{statement.remedy.replace('.', '.py: ')}" if statement.remedy else "",
        "manual": statement.manual or "",
        "defined in": statement.function.__module__.replace(".", "/") + ".py" if statement.function else "",
    }


def table() -> Table:
    """Every statement with its remedy, or who mends it instead."""
    rows = Table(Column("statement", no_wrap=True), "it states", "remedy", box=None)
    for statement in REGISTRY.values():
        rows.add_row(statement.id, statement.sentence, statement.remedy or "manual")
    return rows


def _words(value: str | list[str]) -> str:
    return ", ".join(value) if isinstance(value, list) else value
