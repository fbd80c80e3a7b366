"""What became of runs that ended without an end: found out by looking at the hosts, before anything else is done."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import Any

from converge.errors import Exit, StateMoved
from converge.executor import GRACE
from converge.journal import Journal, Story, fate_script, stories
from converge.readings.store import CONTROL
from converge.transport import Link


def close_open_runs(links: Mapping[str, Link], app: Link, mine: str) -> list[str]:
    """Find out by looking what became of runs without an end, and close their journals; a sentence for each.

    Raises:
        StateMoved: a step of such a run still acts.
    """
    notes = []
    for story in stories(app):
        if not story.is_open or story.id == mine:
            continue
        fates = [fate(links, story, intent) for intent in story.dangling()]
        if waiting := story.waiting:
            fates.append(_waited(links, story, waiting))
        text = "; ".join(fates) or "every step that it began had ended"
        notes.append(f"run {story.id} of {story.plan.get('who', 'unknown')} ended without an end: {text}")
        Journal(story.id, app).write("end", exit_code=int(Exit.UNKNOWN), reason=f"found open by run {mine}: {text}")
    return notes


def _waited(links: Mapping[str, Link], story: Story, waiting: Mapping[str, Any]) -> str:
    """What became of a step for which a run waited when it ended."""
    text = f"it waited for a person to do {waiting.get('step', 'a step')} at {waiting.get('host', '')}"
    return f"{text}; {fate(links, story, waiting)}" if waiting.get("laid") else f"{text}, which shows in what is read now"


def fate(links: Mapping[str, Link], story: Story, intent: Mapping[str, Any]) -> str:
    """What became of a step of which no result is written, in words.

    Raises:
        StateMoved: it still acts, or may.
    """
    n, host = int(intent["n"]), str(intent["host"])
    name = f"step {n} ({intent.get('step', '')} at {host})"
    if host not in links:
        return f"{name}: not known, {host} is not looked after any more"
    who = str(story.plan.get("who", "an unknown machine"))
    if host == CONTROL and who.partition("@")[2] != socket.gethostname():
        left = float(intent["at"]) + float(intent.get("limit", 0.0)) + GRACE - time.time()
        if left > 0:
            raise StateMoved(
                f"{name} of run {story.id} was begun on the machine of {who}, which cannot be asked from here, and may "
                f"still act: run again there, or in {left / 60:.0f} min"
            )
        return f"{name}: not known from here, it ran on the machine of {who}"
    answer = links[host].exec(fate_script(story.id, n), limit=15).out.decode(errors="replace").strip()
    if answer == "acting":
        raise StateMoved(f"{host}: {name} of run {story.id} still acts: run again after its end")
    ends = {"never": "it never began", "cut": "it was cut off while it acted, and may have done a part"}
    return f"{name}: {ends.get(answer, 'it was done' if answer == '0' else f'it ended with status {answer}')}"
