"""``python -m remediate``: lists the pairs; with ids it is the same run as ``pytest verify/ --id ... --remediate``."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from cli.ending import ended
from converge.checking.statement import REGISTRY, import_statements
from converge.errors import UsageError

app = typer.Typer(add_completion=False)
out = Console(highlight=False)

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="statements to mend; none: list the pairs")]
Target = Annotated[str, typer.Option("--target", help="lab, lab:NAME, production, or an inventory file")]
PlanOnly = Annotated[bool, typer.Option("--plan", help="show what would be done, and do nothing")]
Yes = Annotated[bool, typer.Option("--yes", help="do not ask")]


@app.command(help=(__doc__ or "").replace("``", "`"))
def remediate(ids: Ids = None, target: Target = "lab", plan: PlanOnly = False, yes: Yes = False) -> None:
    """List the pairs, or mend the statements with the given ids."""
    import_statements("verify")
    if not ids:
        out.print(pairs())
        return
    if unknown := [id for id in ids if id not in REGISTRY]:
        raise UsageError(f"no statement is called {', '.join(unknown)}: python -m remediate lists them")
    command = arguments(ids, target, plan, yes)
    sys.stdout.flush()
    os.execv(command[0], command)


def arguments(ids: list[str], target: str, plan: bool, yes: bool) -> list[str]:
    """The same run as a pytest command."""
    verb = "--plan" if plan else "--remediate"
    command = [sys.executable, "-m", "pytest", "verify/", "--target", target, "--id", ",".join(ids), verb]
    return [*command, "--yes"] if yes and not plan else command


def pairs() -> Table:
    """Every statement with its remedy, or who mends it instead."""
    table = Table(Column("statement", no_wrap=True), "it states", "remedy", box=None)
    for statement in REGISTRY.values():
        table.add_row(statement.id, statement.sentence, statement.remedy or "manual")
    return table


def main() -> int:
    """Run the command line; the exit code."""
    return ended("remediate", lambda: app(prog_name="python -m remediate", standalone_mode=False))
