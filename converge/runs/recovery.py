"""What became of runs that ended without an end: found out by looking at the hosts, before anything else is done."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from converge.acting.attempt import GRACE
from converge.checking.record import StepRecord
from converge.errors import Exit, LockHeld
from converge.journal.history import LAID, Story
from converge.journal.journal import Journal, folder, program_lock, stories
from converge.journal.lock import ACT_LOCK, RUNTIME, TAKEN
from converge.journal.ownership import was_here
from converge.readings.answers import CONTROL
from converge.transport import Link


def without_result(lost: Mapping[int, StepRecord]) -> str:
    """What a run says that ends after steps, by number, of which nobody knows how they ended."""
    steps = "; ".join(f"step {n} ({s.id} at {s.host}: {s.sentence}): {s.reason}" for n, s in lost.items())
    return f"the journal stays open, the next run looks what became of {steps}"


def left_behind(number: int, steps: Sequence[StepRecord]) -> str:
    """What a run says that ends in the middle: of the step that it leaves by `number` (0: it was between two), if any."""
    name = f"step {number}" if number else "it"
    acting = [step for step in steps if step.result == "unknown"]
    if not (number and acting):
        return f"the journal stays open, {name} was left: the next run looks what became of it"
    step = acting[-1]
    return (
        f"{name} ({step.id} at {step.host}: {step.sentence}) was left while it acted, and may still be going on, by itself; "
        "the journal stays open: no other run begins before the end of that step, and the next one looks what became of it"
    )


@dataclass(frozen=True, slots=True)
class Past:
    """What came before a run: a sentence in `notes` on each that had no end; `seq` is the number of the one that begins."""

    notes: tuple[str, ...]
    seq: int


def close_open_runs(links: Mapping[str, Link], app: Link, mine: str) -> Past:
    """Find out by looking what became of runs without an end, and close their journals; called by who holds the lock.

    Raises:
        LockHeld: a step of such a run still acts, or may. The app host's own lock says so of its own steps alone.
    """
    notes = list[str]()
    known = stories(app)
    for story in known:
        if not story.is_open or story.id == mine:
            continue
        fates = [fate(links, story, intent) for intent in story.dangling()]
        fates += [_untold(links, story, n) for n in sorted(story.untold())]
        if waiting := story.waiting:
            fates.append(_waited(links, app, story, waiting))
        if story.damage:
            fates.append(f"its journal is damaged ({story.damage}), so it may have done more than is known of it")
        text = "; ".join(fates) or "every step that it began had ended"
        notes.append(f"run {story.id} of {story.plan.get('who', 'unknown')} ended without an end: {text}")
        Journal(story.id, app).write("end", exit_code=int(Exit.UNKNOWN), reason=f"found open by run {mine}: {text}")
    # A number that is lost may be put back from a copy: it is left free.
    lost = sum(story.is_of_any_time for story in known)
    return Past(tuple(notes), 1 + max((story.seq for story in known), default=0) + lost)


def _waited(links: Mapping[str, Link], app: Link, story: Story, waiting: Mapping[str, Any]) -> str:
    """What became of a step for which a run waited when it ended."""
    text = f"it waited for a person to do {waiting.get('step', 'a step')} at {waiting.get('host', '')}"
    if not waiting.get("laid"):
        return f"{text}, which shows in what is read now"
    text = f"{text}; {fate(links, story, waiting)}"
    if LAID in waiting and _began(links, story, waiting):
        # Its script lies in another home than the journal, which would tell of no such step.
        facts = {key: value for key, value in waiting.items() if key not in {"at", "where", "typed", "laid"}}
        Journal(story.id, app).write("intent", **facts)
    return text


def _began(links: Mapping[str, Link], story: Story, waiting: Mapping[str, Any]) -> bool:
    host = str(waiting["host"])
    known = host in links and (host != CONTROL or was_here(story))
    return known and _answer(links[host], story, int(waiting["n"])) != "never"


def _untold(links: Mapping[str, Link], story: Story, n: int) -> str:
    """What became of a step of which no line says what and where it is: what the first host says that knows of it.

    Raises:
        LockHeld: it still acts.
    """
    answers = {host: _answer(link, story, n) for host, link in links.items()}
    for host, answer in answers.items():
        if answer == "acting":
            raise LockHeld(f"{host}: step {n} of run {story.id} still acts: run again after its end")
    known = next((answer for answer in answers.values() if answer != "never"), "never")
    return f"step {n} (of which nothing else is told): {_in_words(known)}"


def fate(links: Mapping[str, Link], story: Story, intent: Mapping[str, Any]) -> str:
    """What became of a step of which no result is written, in words.

    Raises:
        LockHeld: it still acts, or may.
    """
    n, host = int(intent["n"]), str(intent["host"])
    name = f"step {n} ({intent.get('step', '')} at {host})"
    if host not in links:
        return f"{name}: not known, {host} is not looked after any more"
    who = str(story.plan.get("who", "an unknown machine"))
    if host == CONTROL and not was_here(story):
        left = float(intent["at"]) + float(intent.get("limit", 0.0)) + GRACE - time.time()
        if left > 0:
            raise LockHeld(
                f"{name} of run {story.id} was begun on the machine of {who}, which cannot be asked from here, and may "
                f"still act: run again there, or in {left / 60:.0f} min"
            )
        return f"{name}: not known from here, it ran on the machine of {who}"
    answer = _answer(links[host], story, n)
    if answer == "acting":
        raise LockHeld(f"{host}: {name} of run {story.id} still acts: run again after its end")
    return f"{name}: {_in_words(answer)}"


def fate_script(run: str, n: int) -> str:
    """Shell that prints what a step's host knows of it: its exit status, or ``never``, ``acting``, ``cut``."""
    return (
        f"J={folder(run)}\n{RUNTIME}\n{TAKEN}\n"
        f'if [ -s "$J/{n}.rc" ]; then cat "$J/{n}.rc"; exit 0; fi\n'
        f'[ -e "$J/{n}.started" ] || {{ echo never; exit 0; }}\n'
        f'read -r p s <"$J/{n}.started"\n'
        "now=$(sed 's/^.*) //' \"/proc/$p/stat\" 2>/dev/null | cut -d' ' -f20)\n"
        f'if [ -n "$now" ] && [ "$now" = "$s" ]; then echo acting\n'
        # A program may outlive the shell that started it, and puts back then.
        f"elif [ -e {program_lock(run, n)} ] && ! flock -n {program_lock(run, n)} true; then echo acting\n"
        # Its shell was killed, and who watches over its program goes on, with the lock of what acts on a host.
        f"elif grep -qF {shlex.quote(f'{run}, step {n}: ')} {ACT_LOCK}.info 2>/dev/null && taken {ACT_LOCK}; then\n"
        "  echo acting\n"
        "else echo cut; fi\n"
    )


def _answer(link: Link, story: Story, n: int) -> str:
    return link.exec(fate_script(story.id, n), limit=15).out.decode(errors="replace").strip()


def _in_words(answer: str) -> str:
    ends = {"never": "it never began", "cut": "it was cut off while it acted, and may have done a part"}
    return ends.get(answer, "it was done" if answer == "0" else f"it ended with status {answer}")
