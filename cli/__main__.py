"""``./hkn``: the one command of the checkout, from its words to its exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module

import typer

from cli.common import example
from cli.ending import ended
from hosts.command_line import NAME, command_line

COMMANDS = ("check", "plan", "remediate", "hosts", "runs", "show", "rollback", "purge", "explain", "reports", "lab")
HELP = """Whether the site stands as it should on its hosts, and making it so.

TARGET is lab, lab:NAME, production or an inventory file. Each command says more with --help."""


def made(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The program, with these commands."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help=HELP, epilog=example("check"))
    # With this it has commands also where it is made with one.
    app.callback()(lambda: None)
    for name in names:
        module = import_module(f"cli.{name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            how = getattr(module, "HOW", {})
            app.command(name, epilog=example(*module.EXAMPLE), **how)(getattr(module, name))
    return app


def main() -> int:
    """Run the command line; the exit code."""
    # What the other commands import takes longer than a check's own start.
    named = [word for word in sys.argv[1:2] if word in COMMANDS]
    return ended(NAME, lambda: made(named or COMMANDS)(prog_name=command_line(), standalone_mode=False))


if __name__ == "__main__":
    sys.exit(main())
