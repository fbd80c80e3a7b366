"""``./hkn hosts``: targets, looked at before anything is checked on them."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from cli.common import WIDTH, example
from converge.errors import Exit
from converge.transport import terminal
from facts.host.reach import Checked, Mark, check_host
from hosts.command_line import command_line
from hosts.errors import InventoryError, NoLab
from hosts.loader import load, targets

app = typer.Typer(
    help="The hosts of a target: which there are, and whether they can be reached.",
    short_help="List the targets; try to reach their hosts.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=example("hosts", "list"),
)
out = Console(highlight=False, emoji=False, markup=False, width=WIDTH)
err = Console(stderr=True, highlight=False, emoji=False, markup=False)

STYLES: dict[Mark, str] = {"ok": "green", "fails": "bold red", "note": "", "not reached": "dim"}

Target = Annotated[str, typer.Argument(help="lab, lab:NAME, production, or a path to an inventory file")]


@app.command(epilog=example("hosts", "check", "production"))
def check(target: Target = "lab") -> None:
    """Reach every host of a target.

    Name, route, host key, login, and what it is. Changes nothing.
    """
    inv, ask = load(target), terminal()
    checked = Checked()
    for host in inv.hosts.values():
        if host.retired:
            out.print(f"{host.name}: retired, not asked")
            continue
        # One host after the other: two of them may each have a question for the person.
        with err.status(f"asking {host.name} ..."):
            checked.findings += list(check_host(inv, host, ask))
    _show(checked)
    if checked.unreachable:
        raise typer.Exit(Exit.UNREACHABLE)
    raise typer.Exit(Exit.HOLDS if checked.well else Exit.FAILS)


@app.command("list", epilog=example("hosts", "list"))
def list_() -> None:
    """The targets that there are, with their hosts."""
    table = Table("target", "host", "role", "address", box=None)
    problems: list[InventoryError] = []
    for target in targets():
        try:
            inv = load(target)
        except NoLab:
            table.add_row(target, "not running", "", f"`{command_line('lab', 'up')}` starts it (as root)")
            continue
        except InventoryError as problem:
            problems.append(problem)
            table.add_row(target, Text("has mistakes, see below", "red"))
            continue
        for number, host in enumerate(inv.hosts.values()):
            role = f"{host.role}, retired" if host.retired else host.role
            table.add_row("" if number else target, host.name, role, host.address)
    out.print(table)
    for mistakes in problems:
        err.print(f"\n{mistakes}", soft_wrap=True)
    raise typer.Exit(Exit.USAGE if problems else Exit.HOLDS)


def _show(checked: Checked) -> None:
    table = Table("host", "what", "", Column("seen", overflow="fold"), box=None)
    for number, finding in enumerate(checked.findings):
        again = number and checked.findings[number - 1].host == finding.host
        # What failed is said below, where its commands can be copied whole.
        seen = "see below" if finding.mark == "fails" else finding.seen
        mark = Text("" if finding.mark == "note" else finding.mark, STYLES[finding.mark])
        table.add_row("" if again else finding.host, finding.what, mark, seen)
    out.print(table)
    for finding in checked.findings:
        if finding.mark == "fails":
            text = f"\n{finding.host}, {finding.what}: {finding.seen}\n  {finding.mend}"
            out.print(text, soft_wrap=True)
