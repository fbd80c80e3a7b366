"""A step in the words that people read: its acts as they would type them, and how it is taken back."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Sequence

from converge.checking.record import StepRecord
from converge.steps.quoting import RUNTIME, quoted_path
from converge.steps.step import Act, Aside, Link, Mode, Needless, Run, Signal, Step, Supplant, Unit, Write

GUARDED = re.compile(r"(?:^|[\s;&|(!])(?:put|relink|supplant|aside|chmode|unit)\s", re.MULTILINE)
ASIDE = re.compile(r"(?:^|[\s;&|(!])(?:aside|supplant)\s+['/~]", re.MULTILINE)
"""Of a program that moves a path aside that it names outright."""


def described(act: Act) -> str:
    """The act as a person would type it."""
    match act:
        case Write(path, content, mode):
            body = content if content.endswith("\n") else content + "\n"
            # A folder of the runtime directory is gone after each boot.
            first = f"mkdir -p {quoted_path(path.rsplit('/', 1)[0])}\n" if path.startswith(RUNTIME) else ""
            return f"{first}cat >{quoted_path(path)} <<'END'\n{body}END\nchmod {mode:o} {quoted_path(path)}"
        case Link(path, target):
            new, place = quoted_path(path + ".new"), quoted_path(path)
            return f"ln -s {quoted_path(target)} {new} && mv -T {new} {place}"
        case Supplant(path, target):
            new, kept = quoted_path(path + ".new"), shlex.quote(path.rsplit("/", 1)[-1])
            place = quoted_path(path)
            return f'ln -s {quoted_path(target)} {new} && mv -nT {place} "$ATTIC"/{kept} && mv -nT {new} {place}'
        case Aside(path):
            return f'mv -nT {quoted_path(path)} "$ATTIC"/{shlex.quote(path.rsplit("/", 1)[-1])}'
        case Mode(path, mode):
            return f"chmod {mode:o} {quoted_path(path)}"
        case Unit(verb, unit):
            return f"systemctl --user {verb} {shlex.quote(unit)}" if unit else f"systemctl --user {verb}"
        case Signal(pid, signal, _, cmdline):
            return f"kill -s {signal} {pid}    # only while it is the process that runs: {cmdline}"
        case Run(script):
            return textwrap.dedent(script).strip()


def moves_aside(step: Step) -> bool:
    """Whether the step may put something large into the attic: what programs of a cutover move aside are names and PIDs."""
    return any(isinstance(act, Aside | Supplant) or (isinstance(act, Run) and ASIDE.search(act.script)) for act in step.acts)


def _in_words(act: Act) -> str:
    """The act as it is described; of a program that begins with a comment, the comment."""
    text = described(act)
    return text.partition("\n")[0].removeprefix("# ") if isinstance(act, Run) and text.startswith("# ") else text


def undo_described(step: Step) -> str:
    """How the step is taken back, in words or as commands."""
    if isinstance(step.undo, str):
        return f"{'none needed' if isinstance(step.undo, Needless) else 'none'}: {step.undo}"
    if step.undo is not None:
        return "\n".join(_in_words(act) for act in step.undo)
    ways = {
        Write: "what {0.path} was before is put back (or, if it was not there, the new one is moved aside)",
        Link: "{0.path} points again to where it pointed before",
        Supplant: "{0.path} is the folder again that gave way to a link",
        Aside: "{0.path} is moved back, if its place is free",
        Mode: "{0.path} gets its former mode",
    }
    lines = [ways[type(act)].format(act) for act in reversed(step.acts) if type(act) in ways]
    lines += [
        f"{act.unit} is put back to how it was before {act.verb}"
        for act in reversed(step.acts)
        if isinstance(act, Unit) and act.verb in {"start", "stop", "enable", "disable"}
    ]
    programs = [act.script for act in step.acts if isinstance(act, Run)]
    if any(GUARDED.search(script) for script in programs):
        lines.append("what its program moved, wrote, linked, started or stopped by the guarded functions is put back")
    elif programs or any(isinstance(act, Signal) for act in step.acts):
        lines.append("what a program or a signal did itself is not taken back")
    return "\n".join(lines) or "nothing to take back"


def render(step: Step, remedy: str, statements: Sequence[str]) -> StepRecord:
    """The step's record, as planned."""
    return StepRecord(
        id=step.id,
        remedy=remedy,
        statements=list(statements),
        host=step.host,
        sentence=step.sentence + (f" ({step.after})" if step.after else ""),
        commands="\n".join(described(act) for act in step.acts),
        preconditions=[condition.sentence for condition in step.when],
        undo=undo_described(step),
        interrupts=step.interrupts,
        confirm=step.confirm,
        search_gap=step.search_gap,
        serves=step.serves,
    )
