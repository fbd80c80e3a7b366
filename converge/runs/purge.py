"""The one thing that deletes: what runs moved aside, after the soak, on a person's word, and only what the journal lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

from converge.acting.executor import Executor
from converge.errors import Exit, StateMoved, UsageError
from converge.journal.journal import Journal, append_script, line, stories
from converge.journal.lock import Lock
from converge.journal.ownership import owner
from converge.runs.attic import Kept, Listing, by_run, look, purge_script, size
from converge.runs.recovery import close_open_runs, without_result
from converge.transport import Link
from hosts.schema import Inventory


class SoakGoesOn(UsageError):
    """The way back must stay open: the soak time is not over."""


class ClocksDiffer(UsageError):
    """This machine and the host do not agree which day it is, so that nobody can tell how old anything is."""


class ListMoved(StateMoved):
    """What the attics hold is not any more what was agreed to."""


def refuse_other_day(inv: Inventory, listing: Listing, today: date) -> None:
    """Make sure that the host's clock and this machine's, which says `today`, are at most a day apart.

    Raises:
        ClocksDiffer: they are not.
    """
    if abs(listing.today - today) > timedelta(days=1):
        raise ClocksDiffer(
            f"{inv.app_host.name}: its clock says {listing.today}, and this machine's says {today}: how old things are is "
            "not known, and nothing was done. Correct the clock that is wrong (`date -u` shows each)"
        )


def refuse_soaking(inv: Inventory, cut_over_on: date | None, today: date) -> None:
    """Make sure that the soak time is over.

    Raises:
        SoakGoesOn: it is not, or has not begun.
    """
    if cut_over_on is None:
        raise SoakGoesOn(f"{inv.name}: {inv.app.unit} is not enabled: the cutover has not been, and the way back stays open")
    end = cut_over_on + timedelta(days=inv.soak_days)
    if today < end:
        raise SoakGoesOn(
            f"{inv.name}: cut over on {cut_over_on}; old things are kept for {inv.soak_days} days: purge on {end} or later"
        )


def kept(inv: Inventory, link: Link, today: date) -> tuple[list[Kept], list[str]]:
    """What the attics hold, run by run; and sentences on what is there that no journal lists, which always stays.

    Raises:
        ClocksDiffer: the host has another day than `today`, which is this machine's.
        UsageError: the attics could not be listed.
    """
    listing = look(link, inv)
    refuse_other_day(inv, listing, today)
    runs, unknown = by_run(listing, stories(link), inv, min(today, listing.today))
    notes = [f"{e.attic}/{e.run}/{e.key} ({size(e.kib)}) is in no journal: it stays" for e in unknown]
    notes += [f"{place} holds something that no run put there: it stays" for place in listing.strange]
    return runs, notes


def lines(runs: Sequence[Kept]) -> list[str]:
    """The runs and what is kept of them, for the terminal."""
    found = []
    for each in runs:
        state = f"STAYS: {each.stays}" if each.stays else "to be purged"
        found.append(f"run {each.run} of {each.began} by {each.who}: {size(each.kib)}: {state}")
        found += [f"      {sentence}" for sentence in each.sentences]
    return found


def purge(
    inv: Inventory,
    links: Mapping[str, Link],
    runs: Sequence[Kept],
    mine: str,
    who: str,
    say: Callable[[str], None],
    reports: Path,
    anew: Callable[[], Sequence[Kept]],
) -> Exit:
    """Delete what is kept of these runs, as a run `mine` of its own; one that cannot be purged does not stop the others.

    What this machine keeps of it is in its folder of `reports`. `anew` lists once more, and raises where nothing may be
    deleted; it is called once nobody else can act.

    Raises:
        ListMoved: of one of the runs there is something else now, or it may not be deleted any more; nothing was deleted.
        LockHeld: another run is going on, or a step of one.
        ConnectionLost: what became of the step that acted is not known.
    """
    where = inv.app_host.name
    app = links[where]
    scripts = [(each, purge_script(inv, each.entries, _ahead(each, mine))) for each in runs if not each.stays]
    lock = Lock(app)
    lock.acquire(who, mine)
    try:
        past = close_open_runs(links, app, mine)
        for note in past.notes:
            say(note)
        _refuse_moved(runs, anew())
        journal = Journal(mine, app)
        executor = Executor(inv, links, "", journal, lock, reports / mine)
        journal.write("plan", seq=past.seq, **owner(inv, who), purge=[each.run for each, _ in scripts], steps=[])
        code, reason = Exit.HOLDS, f"what was kept of {len(scripts)} runs is gone"
        for each, script in scripts:
            label = f"delete what is kept of run {each.run} ({size(each.kib)})"
            record = executor.run_script(f"purge-{each.run}", where, script, label, "none: it is deleted", 3600.0)
            done = record.result == "done"
            say(f"run {each.run}: {'purged' if done else f'{record.result}: {record.reason}'}")
            if not done:
                code, reason = Exit.FAILS, f"run {each.run}: {record.reason}"
        if executor.lost:
            say(without_result(executor.lost))
            return Exit.UNKNOWN
        journal.write("end", exit_code=int(code), reason=reason)
        return code
    finally:
        lock.release()


def _refuse_moved(agreed: Sequence[Kept], now: Sequence[Kept]) -> None:
    """Make sure that what was agreed to is still what there is; what came besides stays."""
    found = {each.run: each for each in now}
    for each in agreed:
        seen = found.get(each.run)
        if not each.stays and seen != each:
            state = "nothing is kept of it" if seen is None else seen.stays or f"{size(seen.kib)} are kept of it"
            raise ListMoved(
                f"what is kept of run {each.run} changed since it was listed ({size(each.kib)} then; now: {state}): nothing "
                "was deleted. Run it again, and look at the list anew"
            )


def _ahead(each: Kept, mine: str) -> str:
    """Shell that notes in the run's journal that its way back is gone: it is as soon as a part of it may be deleted."""
    steps = sorted({int(entry.key.split("-")[0]) for entry in each.entries})
    return append_script(each.run, [line("purged", n=n, by=mine) for n in steps])
