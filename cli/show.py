"""``./hkn show``: one run, from its journal."""

from __future__ import annotations

import time

from cli.common import RunId, Target, say
from cli.reach import reached
from converge.runs.rollback import describe, find_story

EXAMPLE = ("show", "ID", "--target", "production")


def show(id: RunId, target: Target = "lab") -> None:
    """Show one run: its steps and what became of them.

    And how each is taken back.
    """
    with reached(target, everything=False) as (inv, links):
        story = find_story(links[inv.app_host.name], id)
    for key, value in describe(story).items():
        if value != "":
            say(f"{key + ':':12}{value}")
    results, undone, left = story.results(), story.undone(), story.left()
    for intent in story.intents():
        n = int(intent["n"])
        known = results.get(n, {})
        ended_with = f"status {known['rc']}" if "rc" in known else "unknown"
        state = "taken back" if n in undone else known.get("result") or ended_with
        state += "; it was to be taken back, and was changed since" if n in left - undone else ""
        say(f"\n{n:3} {intent['step']} at {intent['host']}: {intent.get('sentence', '')}")
        say(f"    {state}")
        if known.get("reason"):
            say(f"    because: {known['reason']}")
        say(f"    undo: {intent.get('undo', '')}")
    for entry in story.entries:
        if entry.kind == "proof":
            say(f"{time.strftime('%H:%M:%S', time.localtime(entry.at))} {entry.data.get('text', '')}")
