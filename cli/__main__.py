"""``./hkn``: the one command of the checkout, from its words to its exit code."""

from __future__ import annotations

import sys

import typer

from cli import check, explain, hosts, lab, plan, purge, remediate, reports, rollback, runs, show
from cli.common import example
from cli.ending import ended
from hosts.command_line import NAME, command_line

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Whether the site stands as it should on its hosts, and making it so. TARGET is lab, lab:NAME, production or an "
    "inventory file; each command says more with --help.",
    epilog=example("check"),
)
for module in (check, plan, remediate, runs, show, rollback, purge, explain, lab):
    name = module.__name__.rpartition(".")[2]
    app.command(name, epilog=example(*module.EXAMPLE), **getattr(module, "HOW", {}))(getattr(module, name))
app.add_typer(hosts.app, name="hosts")
app.add_typer(reports.app, name="reports")


def main() -> int:
    """Run the command line; the exit code."""
    return ended(NAME, lambda: app(prog_name=command_line(), standalone_mode=False))


if __name__ == "__main__":
    sys.exit(main())
