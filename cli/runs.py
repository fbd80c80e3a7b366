"""``./hkn runs``: what was done on a target, and what is going on."""

from __future__ import annotations

import textwrap

import typer

from cli.common import Target, example, reached, say
from converge.journal.journal import stories
from converge.journal.lock import acting, holder
from converge.runs.rollback import describe


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(short_help="List the runs on a target.", epilog=example("runs", "--target", "production"))(runs)


def runs(target: Target = "lab") -> None:
    """List the runs in the app host's journal, and who holds the lock."""
    with reached(target, everything=False) as (inv, links):
        link = links[inv.app_host.name]
        known = [describe(story) for story in stories(link)]
        for d in known:
            counts = f"{d['done']} of {d['steps']} steps done" + (f", {d['undone']} taken back" if d["undone"] else "")
            end = textwrap.shorten(d["end"], 200, placeholder=" ...")
            damage = f"; journal: {d['journal']}" if d["journal"] else ""
            say(f"{d['id']}  {d['of']} by {d['who']}: {counts}; end: {end}{damage}")
        if not known:
            say(f"{link.name}: no run has changed anything yet")
        now = holder(link)
        say(f"in progress: {now}" if now else "no run is in progress")
        if step := acting(link):
            say(f"{link.name}: a step acts: run {step}")
