"""Whose the processes and sockets are that a cutover meets, and the conditions under which it may act."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from converge.steps import ByHand, Condition, RemedyContext, as_read
from facts import sockets
from facts.host.processes import Process
from facts.preflight import DEPLOYING
from facts.sockets import LISTENER_PIDS
from facts.units import states
from facts.units.files import unit_files
from facts.units.states import GATE, UnitState


def same_main(unit: UnitState) -> Condition:
    """The unit still has the main process that the plan saw (0: none)."""
    return Condition(
        f"the main process of {unit.name} is {unit.main_pid or 'none'}",
        f'[ "$(prop {shlex.quote(unit.name)} MainPID)" = {unit.main_pid} ]',
    )


def is_still(process: Process) -> Condition:
    """A process is the one that the plan saw."""
    return Condition(
        f"process {process.pid} is the one that started at tick {process.started}",
        f'[ "$(started {process.pid})" = {process.started} ]',
    )


_STARTS_HERE = r"""
S cat {unit} >/dev/null || exit 1
[ ! -e "$XDG_RUNTIME_DIR/systemd/user/"{unit}.d/{gate} ] || exit 1
S cat {unit} | sed -n 's/^ConditionHost=//p' | while IFS= read -r wanted; do
  case "$(uname -n)" in ${{wanted#!}}) yes=y ;; *) yes= ;; esac
  case "$wanted" in '') ;; '!'*) [ -z "$yes" ] || exit 1 ;; *) [ -n "$yes" ] || exit 1 ;; esac
done
"""


def starts_here(unit: str) -> Condition:
    """Nothing keeps the unit from starting: a restart under a false condition stops it, and is called a success."""
    return Condition(
        f"no condition keeps {unit} from starting again", _STARTS_HERE.format(unit=shlex.quote(unit), gate=GATE)
    )


def same_release(current: str) -> Condition:
    """The current release is still the one that the plan saw."""
    return Condition(f"the current release is {current}", f'[ "$(readlink -f "$CURRENT")" = {shlex.quote(current)} ]')


def nobody_deploys() -> Condition:
    """No program of a deploy is at work in the stage: its release may be half there, and its end restarts the app."""
    return Condition("no deploy is at work in the stage", f'R=$STAGE\n[ -z "$(\n{DEPLOYING})" ]', passes=True)


def same_units(ctx: RemedyContext, names: Sequence[str]) -> tuple[Condition, ...]:
    """The units' files are those that were read, by the manager too: whoever reloads it makes an edit count."""
    folder = ctx.read(unit_files)
    found = [as_read(file.path, file.text) for name in names if (file := folder.files.get(name))]
    stale = " && ".join(f'[ "$(prop {shlex.quote(name)} NeedDaemonReload)" != yes ]' for name in names)
    return (*found, Condition(f"the manager knows the files of {' and '.join(names)} as they are", stale))


def strays(ctx: RemedyContext) -> list[Process]:
    """Masters that work below the stages' root on the app host, and that no unit runs: they were started by hand.

    One in another service of the account is none: the manager may start that again as soon as it is ended.
    """
    ours = ctx.read(states.our_units)
    names = {unit.name for unit in ours.all}
    root = f"{ctx.inv.stages.root}/"
    found = ctx.read(states.masters).all
    alone = [p for p in found if p.unit not in names and not p.service]
    return [p for p in alone if p.cwd.startswith(root) and " master" in p.cmdline]


def serving_strays(ctx: RemedyContext) -> list[Process]:
    """Those of them that serve the site: they hold the listener that the web server asks, or the path that units bind."""
    seen = ctx.read(sockets.sockets)
    paths = (ctx.read(sockets.upstream).chosen, ctx.inv.web.listen)
    holders = {process.pid for path in paths for process in seen.owners(path)}
    return [stray for stray in strays(ctx) if stray.pid in holders]


def idle_legacy(ctx: RemedyContext) -> list[UnitState]:
    """Legacy units that run, or are about to end, beside the app's, which serves the site from the current release.

    After a reboot with both enabled one of them binds the socket, and the manager starts the other again and again.
    """
    ours, known = ctx.read(states.our_units), ctx.read(states.masters)
    beside = [unit for unit in ours.legacy if unit.runs]
    main = known.of(ours.app)
    if not beside or main is None or main.unit != ours.app.name or main.cwd != known.current:
        return []
    owners = ctx.read(sockets.sockets).owners(ctx.read(sockets.upstream).chosen)
    serves = main.pid in {process.pid for process in owners}
    return beside if serves and not {unit.name for unit in beside} & {process.unit for process in owners} else []


def still_serves(ctx: RemedyContext) -> Condition:
    """The main process of the app's unit holds the listener that the web server asks."""
    app, path = ctx.read(states.our_units).app, ctx.read(sockets.upstream).chosen
    return Condition(
        f"process {app.main_pid} of {app.name} listens on {path}",
        f"{LISTENER_PIDS}\nlistener_pids {shlex.quote(path)} | grep -qx {app.main_pid}",
    )


def leave_strangers(ctx: RemedyContext, path: str) -> None:
    """Refuse to act while a process that is none of the target's holds a listener: unicorn would not start beside it.

    Raises:
        ByHand: a listener behind `path` is held by something that no tool may end.
    """
    ours, seen = ctx.read(states.our_units), ctx.read(sockets.sockets)
    names, by_hand = {unit.name for unit in ours.all}, {stray.pid for stray in strays(ctx)}
    listeners, owners = seen.listening_on(path), seen.owners(path)
    known = [p for p in owners if p.unit in names or p.pid in by_hand or (by_hand and " worker" in p.cmdline)]
    others = [p for p in owners if p not in known]
    if others:
        what = ", ".join(f"process {p.pid} ({p.cmdline[:60]}) of {p.unit or p.cgroup} in {p.cwd}" for p in others)
        raise ByHand(f"{path} is held by {what}: no tool may end what it does not know; stop it by hand")
    if listeners and not owners:
        raise ByHand(f"{path} is held by a process of another account: ask the hoster whose it is")
