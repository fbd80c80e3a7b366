"""Remedies of the application's log files."""

from __future__ import annotations

from collections.abc import Iterator

from converge.steps import Needless, NothingToDo, RemedyContext, Signal, Step
from facts import logs


def reopen(ctx: RemedyContext) -> Iterator[Step]:
    """Let unicorn open its log files anew (USR1), which interrupts nothing."""
    main = ctx.read(logs.open_logs).main
    if main is None or main.unit != ctx.inv.app.unit:
        raise NothingToDo(f"{ctx.inv.app.unit} runs no process of its own: starting it is UNIT-5's remedy")
    yield Step(
        id="LOG-1/reopen",
        host=ctx.inv.app_host.name,
        sentence=f"let process {main.pid} of {ctx.inv.app.unit} open its log files anew",
        acts=(Signal(main.pid, "USR1", main.started, main.cmdline, main.cwd, ctx.inv.app.unit),),
        undo=Needless("opening log files anew has nothing to take back"),
    )
