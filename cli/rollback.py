"""``./hkn rollback``: a run taken back."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.common import REPORTS, RunId, Target, Yes, confirm, say
from cli.reach import reached
from converge.acting.confirmation import second_logins
from converge.checking.session import new_id, person
from converge.journal.ownership import refuse_other
from converge.runs.rollback import find_story, leave_what_stands, roll_back
from converge.runs.undo_plan import ways_back
from facts.application import application
from hosts.command_line import command_line

ByHand = Annotated[list[int] | None, typer.Option("--by-hand", metavar="N", help="you took step N back")]


EXAMPLE = ("rollback", "ID", "--target", "production")


def rollback(id: RunId, target: Target = "lab", yes: Yes = False, by_hand: ByHand = None) -> None:
    """Take a run back: its steps, the last one first.

    Shows them, asks, and proves each.
    """
    mended = tuple(by_hand or ())
    with reached(target, everything=True) as (inv, links):
        app_host = links[inv.app_host.name]
        story = refuse_other(find_story(app_host, id), inv)
        backs = ways_back(links, app_host.name, story, mended)
        if not backs and not mended:
            say(f"run {id}: nothing to take back")
            return
        for back in backs:
            way = f"STAYS: {back.stays}" if back.stays and not back.needless else back.stays or back.way
            say(f"{back.n:3} {back.step} at {back.host}: {back.sentence}\n      {way}")
        leave_what_stands(inv, links, story, backs, mended)
        for text in second_logins(links, (back.host for back in backs if back.confirm and not back.stays)):
            say(text)
        confirm("Take this back?", yes)
        mine, asked = new_id(), application().preflight
        code, _ = roll_back(inv, links, id, mine, person(), say, REPORTS, by_hand=mended, asked=asked)
        say(f"run {mine}: ended with {int(code)}; now look: {command_line('check', target=target)}")
    raise typer.Exit(int(code))
