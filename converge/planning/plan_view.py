"""The plan, for people at a terminal, and the question whether to do it."""

from __future__ import annotations

import os
from collections.abc import Callable

from converge.checking.record import StepRecord
from converge.errors import UsageError
from converge.planning.plan import Plan

Say = Callable[[str], None]


def show(plan: Plan, say: Say, *, brief: bool = False) -> None:
    """The plan in words: each step with what it costs and, unless `brief`, its commands and what it assumes."""
    if not plan.tasks:
        return
    say(f"plan: {len(plan.steps)} steps for {len({i for t in plan.tasks for i in t.statements})} statements")
    for task in plan.tasks:
        if task.follows and not task.steps:
            continue
        where = f" on {task.host}" if task.host else ""
        say(f"\n{', '.join(task.statements)}: {task.remedy}{where}{': ' + task.note if task.note else ''}")
        for step in task.steps:
            for line in step_lines(step, brief=brief):
                say(line)


def step_lines(step: StepRecord, *, brief: bool = False) -> list[str]:
    """A step of the plan, for the terminal."""
    cost = f" [interrupts service for about {step.interrupts:g} s]" if step.interrupts else ""
    cost += f" [interrupts searches and saves for about {step.search_gap:g} s]" if step.search_gap else ""
    lines = [f"  {step.id} at {step.host}: {step.sentence}{cost}"]
    if step.result in {"manual", "blocked", "refused"}:
        lines.append(f"      {step.result}: {step.reason}")
    if brief:
        return lines
    lines += [f"      if {condition}" for condition in step.preconditions]
    lines += [f"      $ {line}" for line in step.commands.strip().splitlines()]
    if step.undo:
        lines.append(f"      undo: {step.undo.strip().splitlines()[0]}")
    return lines


def confirmed(prompt: str) -> bool:
    """Whether the person at the terminal says yes; end of input is a no."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        raise UsageError("there is no terminal to ask at: add --yes to act, or use --plan to look") from None
    with os.fdopen(terminal, "r+b", buffering=0) as tty:
        tty.write(prompt.encode())
        answer = b""
        while not answer.endswith(b"\n"):
            piece = tty.read(1)
            if not piece:
                break
            answer += piece
    return answer.strip().lower() in {b"y", b"yes"}
