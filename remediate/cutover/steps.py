"""The steps of a cutover and of a restart, as the plan has them."""

from __future__ import annotations

from collections.abc import Sequence

from converge.errors import Unobservable
from converge.steps import Condition, Needless, RemedyContext, Run, Step
from facts import sockets, units
from facts.room import room
from facts.units import STABLE, UnitState
from remediate.cutover import brief, choice, seamless
from remediate.cutover.guarded import HOLD
from remediate.cutover.owners import leave_strangers, nobody_deploys, same_main, same_release, same_units, starts_here
from remediate.cutover.shell import settings

BRIEF_COST = 5.0
"""Seconds without service that a brief cutover is expected to cost: one graceful stop and one boot of the application."""

RESTART_COST = 4.0

CONFIRM = 60.0
"""Seconds within which the site must be seen to answer from outside, or the host puts back what served before."""

PROGRAMS = {"switch": seamless.SEAMLESS, "rename": seamless.SEAMLESS, "brief": brief.BRIEF}


def handover_step(ctx: RemedyContext, id: str) -> Step:
    """One step that lets the app's unit serve, whatever serves now; puts back what served if it does not answer."""
    ours = ctx.read(units.our_units)
    leave_strangers(ctx, ctx.inv.web.listen)
    serving = [unit for unit in ours.legacy if unit.runs]
    if serving:
        return _cutover(ctx, id, serving)
    restarts = ours.app.runs
    nobody = "what ran before it did not serve as it must" if restarts else "nothing served before it"
    what = f"restart {ours.app.name} from the current release" if restarts else f"start {ours.app.name}, which does not run"
    return Step(
        id=id,
        host=ours.host,
        sentence=f"{what}; the log rotation's timer rests meanwhile",
        acts=(Run(settings(ctx.inv, PUBLIC=_public(ctx)) + brief.START),),
        when=_conditions(ctx),
        undo=f"{nobody}: `systemctl --user stop {ours.app.name}` ends what serves",
        limit=480.0,
        interrupts=BRIEF_COST if restarts else None,
        may="restart",
        serves=True,
    )


def _cutover(ctx: RemedyContext, id: str, serving: Sequence[UnitState]) -> Step:
    inv, chosen = ctx.inv, way(ctx)
    old = " and ".join(unit.name for unit in serving)
    if chosen.is_seamless:
        sentence = (
            f"start {inv.app.unit} beside {old}, lead the site over ({chosen.strategy}: {chosen.reason}) once it is"
            f" proven, and end {old} when nobody waits for it; no page or search is expected to be lost: Solr stays"
        )
    else:
        sentence = (
            f"stop {old}, letting requests finish, and start {inv.app.unit} in its place (brief: {chosen.reason});"
            f" the site does not answer for about {BRIEF_COST:g} s"
        )
    return Step(
        id=id,
        host=inv.app_host.name,
        sentence=f"{sentence}; the host takes it back by itself unless it is confirmed within {CONFIRM:g} s",
        acts=(Run(_variables(ctx, serving) + PROGRAMS[chosen.strategy]),),
        when=_conditions(ctx),
        undo=_way_back(ctx, serving, PROGRAMS[chosen.strategy]),
        limit=600.0,
        interrupts=None if chosen.is_seamless else BRIEF_COST,
        may="restart",
        after="the current release is the one that the deploy makes",
        confirm=CONFIRM,
    )


def _variables(ctx: RemedyContext, serving: Sequence[UnitState]) -> str:
    inv = ctx.inv
    return settings(
        inv,
        OLDS=" ".join(unit.name for unit in serving),
        GATED="yes",
        SEARCH=inv.web.search_path,
        FALLBACK=inv.solr.fallback_log,
        LOG=f"{inv.shared}/log/production.log",
        **_places(ctx),
    )


def _way_back(ctx: RemedyContext, serving: Sequence[UnitState], program: str) -> tuple[Run, ...] | str:
    """The same program the other way round: the legacy unit is started beside the app's, and gets the site back."""
    masters = ctx.read(units.masters)
    former = [(unit, master) for unit in serving if (master := masters.of(unit))]
    if len(former) != 1:
        return "which of the legacy units served is not known: start it by hand"
    ((unit, master),) = former
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
    serving = {unit.name for unit in ctx.read(units.our_units).legacy if unit.runs}
    try:
        space = ctx.read(room)
    except Unobservable as problem:
        return choice.choose(
            _public(ctx), ctx.inv.web.listen, ctx.read(sockets.sockets), serving, str(problem),
            asked_brief=choice.BRIEF in ctx.flags,
        )  # fmt: skip
    return choice.choose(
        _public(ctx), ctx.inv.web.listen, ctx.read(sockets.sockets), serving, space, asked_brief=choice.BRIEF in ctx.flags
    )


def _public(ctx: RemedyContext) -> str:
    return ctx.read(sockets.upstream).chosen


def _conditions(ctx: RemedyContext) -> tuple[Condition, ...]:
    ours = ctx.read(units.our_units)
    current = ctx.read(units.masters).current
    running = [ours.app.name, *(unit.name for unit in ours.legacy if unit.runs)]
    mains = [same_main(unit) for unit in (ours.app, *ours.legacy)]
    return (*mains, same_release(current), *same_units(ctx, running), nobody_deploys())


def restart_step(ctx: RemedyContext, id: str, why: str) -> Step:
    """One step that restarts the app's unit, letting requests finish."""
    leave_strangers(ctx, ctx.inv.web.listen)
    ours = ctx.read(units.our_units)
    return Step(
        id=id,
        host=ours.host,
        sentence=f"restart {ours.app.name}, letting requests finish: {why}",
        acts=(Run(settings(ctx.inv, PUBLIC=_public(ctx)) + brief.RESTART),),
        when=(same_main(ours.app), starts_here(ours.app.name), *same_units(ctx, [ours.app.name])),
        undo=Needless("a restart has nothing to take back"),
        limit=180.0,
        interrupts=RESTART_COST,
        may="restart",
    )
