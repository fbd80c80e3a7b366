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

# Ids are compared by eye and by programs: not folded, and nothing in them becomes a picture
# (`lab:door:`).
out = Console(highlight=False, emoji=False, soft_wrap=True)


def example(*words: str) -> str:
    """The last line of a command's help."""
    return f"Example: {command_line(*words)}"


def say(text: str) -> None:
    """A line as it is: what comes from a host is never markup."""
    out.print(text, markup=False)


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
    if not typer.confirm(question, default=False):
        raise Declined("declined: nothing was done")
