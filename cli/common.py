"""What several commands share: the options' words, the output, and the question before an act."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from converge.errors import Declined, UsageError
from hosts.command_line import TOP, command_line

REPORTS = TOP / "reports"
"""Where this machine keeps what it has of checks and runs."""

PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True}
"""For a command that hands its words to another program."""

WORDS = "[ID]... [FLAGS]"
"""What follows a command that is a session on statements."""

Target = Annotated[str, typer.Option("--target", help="lab, lab:NAME, production, or an inventory file")]
RunId = Annotated[str, typer.Argument(metavar="ID", help="a run, as `runs` lists it")]
Yes = Annotated[bool, typer.Option("--yes", help="do not ask")]

WIDTH = None if sys.stdout and sys.stdout.isatty() else 160
"""Of tables: ids and fingerprints are compared by programs, so not folded where nobody looks."""

# What is printed comes from files and hosts: no markup, and no pictures (`lab:door:`).
out = Console(highlight=False, emoji=False, markup=False, soft_wrap=True, width=WIDTH)


def example(*words: str) -> str:
    """The last line of a command's help."""
    return f"Example: {command_line(*words)}"


def say(text: str) -> None:
    """A line as it is."""
    out.print(text)


def confirm(question: str, yes: bool) -> None:
    """Ask, unless `yes`; the default is no.

    Raises:
        UsageError: there is no terminal to ask at.
        Declined: the answer was no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask at: add --yes to do it")
    try:
        agreed = typer.confirm(question, default=False)
    except typer.Abort as end:
        if not isinstance(end.__context__, EOFError):
            raise
        say("")  # the answer has no end of its own line
        agreed = False
    if not agreed:
        raise Declined("declined: nothing was done")
