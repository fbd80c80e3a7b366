"""``python -m converge``: what was done on a target, and taking it back. Checks and runs themselves are pytest's."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.ending import ended
from converge.acting.confirmation import second_logins
from converge.checking.session import new_id, person
from converge.checking.statement import REGISTRY, import_statements
from converge.errors import Declined, Unobservable, UsageError
from converge.journal.journal import stories
from converge.journal.lock import acting, holder
from converge.journal.ownership import refuse_other
from converge.readings.answers import Store
from converge.runs.attic import Kept, size
from converge.runs.purge import kept, refuse_soaking
from converge.runs.purge import lines as purge_lines
from converge.runs.purge import purge as purge_now
from converge.runs.rollback import describe, find_story, leave_what_stands, roll_back
from converge.runs.undo_plan import ways_back
from converge.transport import Link, LocalLink, connect, terminal
from facts.application import application
from hosts.schema import Inventory

HELP = "Runs on a target: list, show, take back, purge; and what a statement means."
app = typer.Typer(no_args_is_help=True, add_completion=False, help=HELP)
out = Console(highlight=False, soft_wrap=True)

REPORTS = Path(__file__).resolve().parent.parent / "reports"
"""Where this machine keeps what it has of a run, as it does of a session of pytest."""

Target = Annotated[str, typer.Option("--target", help="lab, lab:NAME, production, or an inventory file")]
RunId = Annotated[str, typer.Argument(metavar="ID", help="a run, as `runs` lists it")]


@contextmanager
def reached(target: str, *, everything: bool) -> Iterator[tuple[Inventory, dict[str, Link]]]:
    """The target's inventory, and links to its app host or to all its live hosts."""
    from hosts.loader import load

    inv = load(target)
    links: dict[str, Link] = {"control": LocalLink()}
    ask = terminal()
    try:
        for host in inv.live if everything else [inv.app_host]:
            links[host.name] = connect(inv, host, ask=ask)
        yield inv, links
    finally:
        for link in links.values():
            link.close()


@app.command()
def runs(target: Target = "lab") -> None:
    """List the runs in the app host's journal, and who holds the lock."""
    with reached(target, everything=False) as (inv, links):
        link = links[inv.app_host.name]
        known = [describe(story) for story in stories(link)]
        for d in known:
            counts = f"{d['done']} of {d['steps']} steps done" + (f", {d['undone']} taken back" if d["undone"] else "")
            end = textwrap.shorten(d["end"], 200, placeholder=" ...")
            damage = f"; journal: {d['journal']}" if d["journal"] else ""
            out.print(f"{d['id']}  {d['of']} by {d['who']}: {counts}; end: {end}{damage}", markup=False)
        if not known:
            out.print(f"{link.name}: no run has changed anything yet")
        now = holder(link)
        out.print(f"in progress: {now}" if now else "no run is in progress")
        if step := acting(link):
            out.print(f"{link.name}: a step acts: run {step}", markup=False)


@app.command()
def show(id: RunId, target: Target = "lab") -> None:
    """Tell a run from its journal: its steps, what became of them, and how each is taken back."""
    with reached(target, everything=False) as (inv, links):
        story = find_story(links[inv.app_host.name], id)
    for key, value in describe(story).items():
        if value != "":
            out.print(f"{key + ':':12}{value}", markup=False)
    results, undone, left = story.results(), story.undone(), story.left()
    for intent in story.intents():
        n = int(intent["n"])
        known = results.get(n, {})
        ended_with = f"status {known['rc']}" if "rc" in known else "unknown"
        state = "taken back" if n in undone else known.get("result") or ended_with
        state += "; it was to be taken back, and was changed since" if n in left - undone else ""
        sentence = intent.get("sentence", "")
        out.print(f"\n{n:3} {intent['step']} at {intent['host']}: {sentence}\n    {state}", markup=False)
        if known.get("reason"):
            out.print(f"    because: {known['reason']}", markup=False)
        out.print(f"    undo: {intent.get('undo', '')}", markup=False)
    for entry in story.entries:
        if entry.kind == "proof":
            out.print(f"{time.strftime('%H:%M:%S', time.localtime(entry.at))} {entry.data.get('text', '')}", markup=False)


@app.command()
def rollback(
    id: RunId,
    target: Target = "lab",
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    by_hand: Annotated[list[int] | None, typer.Option("--by-hand", metavar="N", help="you took step N back")] = None,
) -> None:
    """Take a run's steps back, the last one first."""
    mended = tuple(by_hand or ())
    with reached(target, everything=True) as (inv, links):
        app_host = links[inv.app_host.name]
        story = refuse_other(find_story(app_host, id), inv)
        backs = ways_back(links, app_host.name, story, mended)
        if not backs and not mended:
            out.print(f"run {id}: nothing to take back")
            return
        for back in backs:
            way = f"STAYS: {back.stays}" if back.stays and not back.needless else back.stays or back.way
            out.print(f"{back.n:3} {back.step} at {back.host}: {back.sentence}\n      {way}", markup=False)
        leave_what_stands(inv, links, story, backs, mended)
        for text in second_logins(links, (back.host for back in backs if back.confirm and not back.stays)):
            out.print(text, markup=False)
        confirm("Take this back?", yes)
        mine = new_id()
        known = application()
        code, _ = roll_back(
            inv,
            links,
            id,
            mine,
            person(),
            lambda text: out.print(text, markup=False),
            REPORTS,
            by_hand=mended,
            asked=known.preflight,
        )
        out.print(f"run {mine}: ended with {int(code)}; now look: pytest verify/ --target {target}")
    raise typer.Exit(int(code))


@app.command()
def purge(
    target: Target = "lab",
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Delete what runs moved aside, after the soak; lists it with sizes, and asks."""
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
        for text in [*purge_lines(kept_of), *notes]:
            out.print(text, markup=False)
        ready = [each for each in kept_of if not each.stays]
        if not ready:
            out.print("nothing to purge")
            return
        confirm(f"Delete {size(sum(each.kib for each in ready))} for good, and the way back with it?", yes)
        mine = new_id()
        code = purge_now(
            inv, links, ready, mine, person(), lambda text: out.print(text, markup=False), REPORTS, lambda: listed()[0]
        )
        out.print(f"run {mine}: ended with {int(code)}")
    raise typer.Exit(int(code))


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


@app.command()
def explain(
    statement: Annotated[str, typer.Argument(metavar="STATEMENT", help="its id, such as UNIT-3")],
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Say what a statement means, what it needs, what needs it, and how it is mended. Connects to nothing."""
    import_statements("verify")
    found = REGISTRY.get(statement)
    if found is None:
        raise UsageError(f"there is no statement {statement}; there are {', '.join(sorted(REGISTRY))}")
    needed_by = [s.id for s in REGISTRY.values() if statement in s.needs]
    data = {
        "id": found.id,
        "sentence": found.sentence,
        "severity": found.severity.value,
        "on": found.on,
        "seed": list(found.seed),
        "needs": list(found.needs),
        "needed by": needed_by,
        "remedy": f"remediate/{found.remedy.replace('.', '.py: ')}" if found.remedy else "",
        "manual": found.manual or "",
        "defined in": found.function.__module__.replace(".", "/") + ".py" if found.function else "",
    }
    if as_json:
        print(json.dumps(data, indent=2))
        return
    for key, value in data.items():
        text = ", ".join(value) if isinstance(value, list) else value
        if text:
            out.print(f"{key + ':':12}{text}", markup=False)


def main() -> int:
    """Run a command line; the exit code."""
    return ended("converge", lambda: app(prog_name="python -m converge", standalone_mode=False))
