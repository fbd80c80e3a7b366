"""``./hkn purge``: the end of what runs moved aside."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from cli.common import REPORTS, Target, Yes, confirm, say
from cli.reach import reached
from converge.checking.session import new_id, person
from converge.errors import Unobservable, UsageError
from converge.readings.answers import Store
from converge.runs.attic import Kept, size
from converge.runs.purge import kept, lines, refuse_soaking
from converge.runs.purge import purge as purge_now
from facts.application import application

EXAMPLE = ("purge", "--target", "production")


def purge(target: Target = "lab", yes: Yes = False) -> None:
    """Delete what runs moved aside, after the soak.

    Lists it with sizes, and asks.
    """
    known = application()
    with reached(target, everything=True) as (inv, links):

        def listed() -> tuple[list[Kept], list[str]]:
            today = datetime.now(UTC).date()
            found = kept(inv, links[inv.app_host.name], today)
            try:
                refuse_soaking(inv, known.cut_over_on(Store(inv, links, known.prelude(inv))), today)
            except Unobservable as problem:
                raise UsageError(f"when the soak began could not be read: {problem}: nothing was done") from None
            return found

        kept_of, notes = listed()
        for text in [*lines(kept_of), *notes]:
            say(text)
        ready = [each for each in kept_of if not each.stays]
        if not ready:
            say("nothing to purge")
            return
        confirm(f"Delete {size(sum(each.kib for each in ready))} for good, and the way back with it?", yes)
        mine = new_id()
        code = purge_now(inv, links, ready, mine, person(), say, REPORTS, lambda: listed()[0])
        say(f"run {mine}: ended with {int(code)}")
    raise typer.Exit(int(code))
