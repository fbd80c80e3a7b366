"""Remedies for hosts: only a legacy host that still runs something of the application can be mended by a tool."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from converge.steps import Aside, Condition, NothingToDo, RemedyContext, Signal, Step, Unit, Write
from facts.host.activity import Server, activity
from facts.units.states import GRACEFUL

# Not the unit's own stop: that would cut off requests, and on the old host take away the pid file that the app host's
# unit writes into the same shared folder.
GRACEFUL_STOP = """[Service]
ExecStop=
KillSignal=SIGQUIT
KillMode=mixed
TimeoutStopSec=70
PIDFile=%t/{unit}.pid
"""


def idle(ctx: RemedyContext) -> Iterator[Step]:
    """Stop what of the application still runs on a legacy host, letting requests finish."""
    seen = ctx.read(activity, ctx.at)
    if seen.is_idle:
        raise NothingToDo(f"nothing of the application runs on {ctx.at}")
    for unit in seen.active_units:
        drop_in = f"$XDG_RUNTIME_DIR/systemd/user/{unit}.d/{GRACEFUL}"
        yield Step(
            id=f"HOST-4/stop-{unit}",
            host=ctx.at,
            sentence=f"stop {unit} on {ctx.at}, letting requests finish",
            acts=(
                Write(drop_in, GRACEFUL_STOP.format(unit=unit)),
                Unit("daemon-reload"),
                Unit("stop", unit),
                Aside(drop_in),
                Unit("daemon-reload"),
            ),
            when=(Condition(f"{unit} is active", f'[ "$(prop {shlex.quote(unit)} ActiveState)" != inactive ]'),),
            limit=120.0,
            may="restart",
        )
    in_units = tuple(f"/{unit}" for unit in seen.active_units)
    for server in seen.servers:
        if server.is_master and not server.cgroup.endswith(in_units or ("\0",)):
            yield _quit(ctx, server)


def _quit(ctx: RemedyContext, server: Server) -> Step:
    return Step(
        id=f"HOST-4/quit-{server.pid}",
        host=ctx.at,
        sentence=f"let process {server.pid}, which no unit owns, finish its requests and end",
        acts=(Signal(server.pid, "QUIT", server.started, "unicorn", cwd=server.cwd, cgroup=server.cgroup),),
        undo="a process that was started by hand is started again by hand",
        may="restart",
    )
