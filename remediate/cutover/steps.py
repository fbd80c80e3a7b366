"""The steps of a cutover and of a restart, as the plan has them."""

from __future__ import annotations

from dataclasses import dataclass

from converge.errors import Unobservable
from converge.steps import Condition, Needless, RemedyContext, Run, Step
from facts import sockets
from facts.host.memory import Room, room
from facts.host.processes import Process
from facts.units import states
from facts.units.states import STABLE, UnitState
from hosts.schema import Inventory
from remediate.cutover import brief, choice, seamless
from remediate.cutover.conditions import (
    is_still,
    leave_strangers,
    nobody_deploys,
    same_main,
    same_release,
    same_units,
    serving_strays,
    starts_here,
)
from remediate.cutover.phases import HOLD
from remediate.cutover.shell import by_hand, settings

STOP_COST = 1.0
"""Seconds without service that a graceful stop is expected to cost where no request takes long."""

CONFIRM = 60.0
"""Seconds within which the site must be seen to answer from outside, or the host puts back what served before."""

NOT_AGAIN = "what was started by hand is not started again by a tool"

PROGRAMS = {"switch": seamless.SEAMLESS, "rename": seamless.SEAMLESS, "brief": brief.BRIEF}


def restart_cost(inv: Inventory) -> float:
    """Seconds without service that a restart of the app's unit is expected to cost."""
    return inv.app.boot_seconds


def plain_restart_cost(inv: Inventory) -> float:
    """The same of one that is the manager's alone, as at the end of a deploy, beside which other work may go on."""
    return inv.app.boot_seconds + 6.0


def brief_cost(inv: Inventory) -> float:
    """The same of a brief cutover: one graceful stop and one boot of the application."""
    return STOP_COST + inv.app.boot_seconds


@dataclass(frozen=True, slots=True)
class Former:
    """What serves before: the legacy units that run, and what was started by hand and holds the listener."""

    units: tuple[UnitState, ...]
    strays: tuple[Process, ...]

    def __str__(self) -> str:
        return " and ".join([*(unit.name for unit in self.units), *(f"process {stray.pid}" for stray in self.strays)])

    @property
    def whence(self) -> str:
        """Where that was started which no unit runs, as a part of a sentence; empty where units run all of it."""
        told = (f"process {stray.pid} was started by hand in {stray.cwd}; " for stray in self.strays)
        return "".join(told)

    @property
    def names(self) -> str:
        """The same as the programs have it in `$OLDS`."""
        return " ".join([*(unit.name for unit in self.units), *(f"process-{stray.pid}" for stray in self.strays)])

    @property
    def groups(self) -> set[str]:
        """The units, or control groups of none, in which it runs."""
        return {*(unit.name for unit in self.units), *(stray.unit or stray.cgroup for stray in self.strays)}


def former(ctx: RemedyContext) -> Former:
    """What serves now and is to end."""
    ours = ctx.read(states.our_units)
    return Former(tuple(unit for unit in ours.legacy if unit.runs), tuple(serving_strays(ctx)))


def handover_step(ctx: RemedyContext, id: str) -> Step:
    """One step that lets the app's unit serve, whatever serves now; puts back what served if it does not answer."""
    leave_strangers(ctx, ctx.inv.web.listen)
    old = former(ctx)
    if old.units or (old.strays and way(ctx).is_seamless):
        return _cutover(ctx, id, old)
    return _start(ctx, id, old)


def _start(ctx: RemedyContext, id: str, old: Former) -> Step:
    """Start the app's unit, or restart it; what was started by hand and cannot serve beside it ends just before."""
    ours = ctx.read(states.our_units)
    restarts = ours.app.runs
    what = f"restart {ours.app.name} from the current release" if restarts else f"start {ours.app.name}, which does not run"
    nobody = "what ran before it did not serve as it must" if restarts else "nothing served before it"
    if old.strays:
        what = (
            f"let {old} end, which serves the site, and {ours.app.name} serve in its place (brief: {way(ctx).reason}); "
            f"{old.whence}the site does not answer for about {brief_cost(ctx.inv):g} s, and nothing is put back if the unit"
            " does not come up"
        )
        nobody = NOT_AGAIN
    return Step(
        id=id,
        host=ours.host,
        sentence=f"{what}; the log rotation's timer rests meanwhile",
        acts=(Run(by_hand(old.strays) + settings(ctx.inv, PUBLIC=_public(ctx), OLDS=old.names) + brief.START),),
        when=(*_conditions(ctx), *map(is_still, old.strays)),
        undo=f"{nobody}: `systemctl --user stop {ours.app.name}` ends what serves",
        limit=480.0,
        interrupts=brief_cost(ctx.inv) if restarts or old.strays else None,
        may="restart",
        serves=True,
        puts_back=True,
    )


def _cutover(ctx: RemedyContext, id: str, old: Former) -> Step:
    inv, chosen = ctx.inv, way(ctx)
    if chosen.is_seamless:
        sentence = (
            f"start {inv.app.unit} beside {old}, lead the site over ({chosen.strategy}: {chosen.reason}) once it is"
            f" proven, and end {old} when nobody waits for it; {old.whence}no page or search is expected to be lost: Solr"
            " stays"
        )
    else:
        sentence = (
            f"stop {old}, letting requests finish, and start {inv.app.unit} in its place (brief: {chosen.reason});"
            f" {old.whence}the site does not answer for about {brief_cost(ctx.inv):g} s"
        )
    return Step(
        id=id,
        host=inv.app_host.name,
        sentence=f"{sentence}; the host takes it back by itself unless it is confirmed within {CONFIRM:g} s",
        acts=(Run(_variables(ctx, old) + PROGRAMS[chosen.strategy]),),
        when=(*_conditions(ctx), *map(is_still, old.strays)),
        undo=_way_back(ctx, old, seamless.BACK if chosen.is_seamless else brief.BRIEF),
        limit=600.0,
        interrupts=None if chosen.is_seamless else brief_cost(ctx.inv),
        may="restart",
        after="the current release is the one that the deploy makes",
        confirm=CONFIRM,
    )


def _variables(ctx: RemedyContext, old: Former) -> str:
    inv, ours = ctx.inv, ctx.read(states.our_units)
    # Beside what was started by hand there need be no gate; one that there is not is not closed when all is put back.
    gated = old.units or ours.gate in ours.app.drop_ins
    return by_hand(old.strays) + settings(
        inv,
        OLDS=old.names,
        GATED="yes" if gated else "",
        SEARCH=inv.web.search_path,
        FALLBACK=inv.solr.fallback_log,
        LOG=f"{inv.shared}/log/production.log",
        **_places(ctx),
    )


def _way_back(ctx: RemedyContext, old: Former, program: str) -> tuple[Run, ...] | str:
    """The same program the other way round: the legacy unit is started beside the app's, and gets the site back."""
    if old.strays:
        return f"{NOT_AGAIN}: `systemctl --user stop {ctx.inv.app.unit}` ends what serves"
    masters = ctx.read(states.masters)
    known = [(unit, master) for unit in old.units if (master := masters.of(unit))]
    if len(known) != 1:
        return "which of the legacy units served is not known: start it by hand"
    ((unit, master),) = known
    variables = settings(ctx.inv, unit.name, master.cwd, OLDS=ctx.inv.app.unit, GATED="", SEARCH="", **_places(ctx))
    return (Run(f"# {unit.name} gets the site back in the same way, from {master.cwd}\n{variables}{program}"),)


def _places(ctx: RemedyContext) -> dict[str, str]:
    listen = ctx.inv.web.listen
    return {
        "PUBLIC": _public(ctx),
        "OLD": choice.beside(listen, "old"),
        "NEXT": choice.beside(listen, "next"),
        "HOLD": HOLD,
        "STABLE": f"{STABLE:g}",
        "CONFIRM": f"{CONFIRM:g}",
    }


def way(ctx: RemedyContext) -> choice.Choice:
    """The way that the site would pass now, and why."""
    app, old = ctx.read(states.our_units).app, former(ctx)
    if any(stray.pid == app.main_pid for stray in old.strays):
        return choice.Choice("brief", f"the manager took it for {app.name}'s own, which no start would replace")
    try:
        space: Room | str = ctx.read(room)
    except Unobservable as problem:
        space = str(problem)
    return choice.choose(
        _public(ctx), ctx.inv.web.listen, ctx.read(sockets.sockets), old.groups, space, asked_brief=choice.BRIEF in ctx.flags
    )


def _public(ctx: RemedyContext) -> str:
    return ctx.read(sockets.upstream).chosen


def _conditions(ctx: RemedyContext) -> tuple[Condition, ...]:
    ours = ctx.read(states.our_units)
    current = ctx.read(states.masters).current
    running = [ours.app.name, *(unit.name for unit in ours.legacy if unit.runs)]
    mains = [same_main(unit) for unit in (ours.app, *ours.legacy)]
    return (*mains, same_release(current), *same_units(ctx, running), nobody_deploys())


def restart_step(ctx: RemedyContext, id: str, why: str) -> Step:
    """One step that restarts the app's unit, letting requests finish."""
    leave_strangers(ctx, ctx.inv.web.listen)
    ours = ctx.read(states.our_units)
    return Step(
        id=id,
        host=ours.host,
        sentence=f"restart {ours.app.name}, letting requests finish: {why}",
        acts=(Run(settings(ctx.inv, PUBLIC=_public(ctx)) + brief.RESTART),),
        when=(same_main(ours.app), starts_here(ours.app.name), *same_units(ctx, [ours.app.name])),
        undo=Needless("a restart has nothing to take back"),
        limit=180.0,
        interrupts=restart_cost(ctx.inv),
        may="restart",
    )
