"""``./hkn runs``: what was done on a target, and what is going on."""

from __future__ import annotations

import textwrap

from cli.common import Target, say
from cli.reach import reached
from converge.journal.journal import stories
from converge.journal.lock import acting, holder
from converge.runs.rollback import describe

EXAMPLE = ("runs", "--target", "production")


def runs(target: Target = "lab") -> None:
    """List the runs on a target, and who holds its lock."""
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
