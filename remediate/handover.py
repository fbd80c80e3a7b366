"""How the site is handed to the app's unit, or its unit restarted: programs that run whole on the app host.

From the moment in which the old one stops until the new one answers nothing waits for the network. Whatever ends such a
program early puts back what served before.
"""

from __future__ import annotations

import shlex

from converge.steps import ByHand, Condition, RemedyContext, Run, Step
from facts import sockets, units
from facts.processes import Process
from facts.sockets import LISTENER_PIDS, PID_FILE
from facts.units import GATE, GRACEFUL, UnitState
from hosts.schema import Inventory

HANDOVER_COST = 5.0
"""Seconds without service that a handover is expected to cost: one graceful stop and one boot of the application."""

RESTART_COST = 4.0

_COMMON = (
    LISTENER_PIDS
    + r"""
state() { prop "$1" ActiveState; }
answer() {
  curl -s -m 5 -o /dev/null -w '%{http_code}' --unix-socket "$(upstream)" -H "Host: $SERVER_NAME" "http://localhost$PROBE"
}
serves() {
  p=$(prop "$UNIT" MainPID)
  [ "${p:-0}" -gt 1 ] || return 1
  case "$(cgroup_of "$p")" in */"$UNIT") ;; *) return 1 ;; esac
  [ "$(readlink "/proc/$p/cwd")" = "$(readlink -f "$CURRENT")" ] || return 1
  listener_pids "$(upstream)" | grep -qx "$p" && [ "$(answer)" = 200 ]
}
within() { # SECONDS COMMAND...: until the command succeeds, by the clock: an application that hangs costs each try 5 s
  t=$(($(date +%s) + $1)); shift
  while [ "$(date +%s)" -le "$t" ]; do "$@" && return 0; sleep 0.25; done
  return 1
}
is_lost() { r=$(prop "$UNIT" NRestarts); [ "$(state "$UNIT")" = failed ] || [ "${r:-0}" -ge 3 ]; }
comes_up() {
  t=$(($(date +%s) + 90))
  while [ "$(date +%s)" -le "$t" ]; do serves && return 0; is_lost && return 1; sleep 0.25; done
  return 1
}
graceful() {
  printf '%s\n' '[Service]' ExecStop= KillSignal=SIGQUIT KillMode=mixed "TimeoutStopSec=$STOP_TIMEOUT" "PIDFile=%t/$1.pid" |
    put "$XDG_RUNTIME_DIR/systemd/user/$1.d/$GRACEFUL" 644
}
is_master() { tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null | grep -q '^unicorn[^ ]* master'; }
pid_in() {
  v=$(head -c 16 "$1" 2>/dev/null | tr -d '\n')
  case "$v" in ''|*[!0-9]*) echo 0 ;; *) echo "$v" ;; esac
}
pid_is_free() { o=$(pid_in "$PID_FILE"); [ "$o" -le 1 ] || ! is_master "$o"; }
fail() { echo "$1" >&2; exit 1; }
silent() { fail "$UNIT does not answer on $(upstream) from $(readlink -f "$CURRENT"); it is $(state "$UNIT")"; }
"""
)

_HANDOVER = r"""
timer=$(state "$LOGROTATE_TIMER"); app=$(state "$UNIT"); served=; over=; finished=
for u in $LEGACY_UNITS; do case "$(state "$u")" in active|activating|reloading) served="$served $u" ;; esac; done
back() {
  [ -z "$finished" ] || return 0
  if [ -n "$over" ] && [ -n "$served" ]; then
    echo 'the old unit is started again' >&2
    [ "$app" = active ] || (unit stop "$UNIT")
    for u in $served; do (unit start "$u"); done
    within 60 test_answer || echo 'and does not answer yet' >&2
  fi
  [ "$timer" != active ] || (unit start "$LOGROTATE_TIMER")
}
test_answer() { [ "$(answer)" = 200 ]; }
trap back EXIT
trap 'exit 143' TERM INT HUP
[ "$timer" != active ] || unit stop "$LOGROTATE_TIMER" || exit 1
for u in $served; do graceful "$u" || exit 1; done
gate="$XDG_RUNTIME_DIR/systemd/user/$UNIT.d/$GATE"
[ ! -e "$gate" ] || aside "$gate" || exit 1
unit daemon-reload || exit 1
unit reset-failed "$UNIT"
over=yes
for u in $served; do unit stop "$u" || fail "$u could not be stopped"; done
if [ "$app" != active ]; then
  within 70 pid_is_free || fail "$PID_FILE names a server that still runs: process $(pid_in "$PID_FILE")"
  [ ! -e "$PID_FILE" ] || aside "$PID_FILE" || exit 1
  unit start "$UNIT" || fail "$UNIT could not be started"
elif ! within 20 serves; then
  unit restart "$UNIT" || fail "$UNIT could not be restarted"
fi
comes_up || silent
first=$(prop "$UNIT" MainPID); sleep 2
serves && [ "$(prop "$UNIT" MainPID)" = "$first" ] || fail "$UNIT answered, and was gone 2 s later"
finished=yes
[ "$timer" != active ] || unit start "$LOGROTATE_TIMER" || exit 1
echo "$UNIT serves: process $first"
"""

_RESTART = r"""
added=
if [ "$(prop "$UNIT" KillSignal)" != 3 ] || [ -n "$(prop "$UNIT" ExecStop)" ]; then
  graceful "$UNIT" && added="$XDG_RUNTIME_DIR/systemd/user/$UNIT.d/$GRACEFUL" || exit 1
fi
unit daemon-reload || exit 1
unit restart "$UNIT" || exit 1
comes_up || silent
[ -z "$added" ] || { aside "$added" && unit daemon-reload; } || exit 1
echo "$UNIT serves: process $(prop "$UNIT" MainPID)"
"""


def _settings(inv: Inventory) -> str:
    values = {
        "PROBE": inv.web.probe_path,
        "GATE": GATE,
        "GRACEFUL": GRACEFUL,
        "STOP_TIMEOUT": str(inv.app.stop_timeout + 8),
    }
    words = " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
    return f'{words}\nPID_FILE="$CURRENT/{PID_FILE}"\n'


def same_main(unit: UnitState) -> Condition:
    """The unit still has the main process that the plan saw (0: none)."""
    return Condition(
        f"the main process of {unit.name} is {unit.main_pid or 'none'}",
        f'[ "$(prop {shlex.quote(unit.name)} MainPID)" = {unit.main_pid} ]',
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


def strays(ctx: RemedyContext) -> list[Process]:
    """Masters that work below the stages' root on the app host, but that none of the target's units runs."""
    ours = ctx.read(units.our_units)
    names = {unit.name for unit in ours.all}
    root = f"{ctx.inv.stages.root}/"
    found = ctx.read(units.masters).all
    return [p for p in found if p.unit not in names and p.cwd.startswith(root) and " master" in p.cmdline]


def leave_strangers(ctx: RemedyContext, path: str) -> None:
    """Refuse to act while a process that is none of the target's holds a listener: unicorn would not start beside it.

    Raises:
        ByHand: a listener behind `path` is held by something that no tool may end.
    """
    ours, seen = ctx.read(units.our_units), ctx.read(sockets.sockets)
    names, by_hand = {unit.name for unit in ours.all}, {stray.pid for stray in strays(ctx)}
    listeners, owners = seen.listening_on(path), seen.owners(path)
    known = [p for p in owners if p.unit in names or p.pid in by_hand or (by_hand and " worker" in p.cmdline)]
    others = [p for p in owners if p not in known]
    if others:
        what = ", ".join(f"process {p.pid} ({p.cmdline[:60]}) of {p.unit or p.cgroup} in {p.cwd}" for p in others)
        raise ByHand(f"{path} is held by {what}: no tool may end what it does not know; stop it by hand")
    if listeners and not owners:
        raise ByHand(f"{path} is held by a process of another account: ask the hoster whose it is")


def handover_step(ctx: RemedyContext, id: str) -> Step:
    """One step that lets the app's unit serve, whatever serves now; puts back what served if it does not answer."""
    ours = ctx.read(units.our_units)
    leave_strangers(ctx, ctx.inv.web.listen)
    current = ctx.read(units.masters).current
    serving = [unit for unit in ours.legacy if unit.runs]
    if serving:
        names = ", ".join(unit.name for unit in serving)
        sentence = f"stop {names}, letting requests finish, and start {ours.app.name} in its place"
    elif ours.app.runs:
        sentence = f"restart {ours.app.name} from the current release"
    else:
        sentence = f"start {ours.app.name}, which does not run"
    return Step(
        id=id,
        host=ours.host,
        sentence=f"{sentence}; the log rotation's timer rests meanwhile",
        acts=(Run(_settings(ctx.inv) + _COMMON + _HANDOVER),),
        when=(same_main(ours.app), *(same_main(unit) for unit in ours.legacy), same_release(current)),
        limit=480.0,
        interrupts=HANDOVER_COST if serving or ours.app.runs else None,
        may="restart",
        after="the current release is the one that the deploy makes" if serving else "",
    )


def restart_step(ctx: RemedyContext, id: str, why: str) -> Step:
    """One step that restarts the app's unit, letting requests finish."""
    leave_strangers(ctx, ctx.inv.web.listen)
    ours = ctx.read(units.our_units)
    return Step(
        id=id,
        host=ours.host,
        sentence=f"restart {ours.app.name}, letting requests finish: {why}",
        acts=(Run(_settings(ctx.inv) + _COMMON + _RESTART),),
        when=(same_main(ours.app), starts_here(ours.app.name)),
        undo="a restart has nothing to take back",
        limit=180.0,
        interrupts=RESTART_COST,
        may="restart",
    )
