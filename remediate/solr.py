"""Remedies of Solr. Only what was found to be the account's own Solr is signalled, and never by the PID file alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from converge.errors import Unobservable
from converge.steps import Act, Aside, ByHand, Condition, Needless, NothingToDo, RemedyContext, Run, Signal, Step, Write
from facts import solr, units, web
from facts.processes import Process
from facts.solr import Solr
from hosts.schema import Inventory
from remediate.cutover import restart_step

START_LIMIT = 120.0

CORE_WAIT = 60.0
"""Seconds within which a Solr that was started must tell of its core: long enough for a busy host."""

_WAIT_FREE = r"""
n=120
while [ $n -gt 0 ]; do
  [ -n "$(ss -ltn "sport = :$SOLR_PORT" | sed 1d)" ] || exit 0
  n=$((n - 1)); sleep 0.25
done
echo "port $SOLR_PORT is still taken" >&2
exit 1
"""

_WAIT_CORE = r"""
up() { cut -d. -f1 /proc/uptime; }
t=$(($(up) + CORE_WAIT))
while [ "$(up)" -lt "$t" ]; do
  curl -s -m 5 "http://127.0.0.1:$SOLR_PORT/solr/admin/cores?action=STATUS&core=$SOLR_CORE&indexInfo=false&wt=json" |
    grep -q '"instanceDir"' && exit 0
  sleep 0.25
done
echo "Solr did not tell of its core $SOLR_CORE within CORE_WAIT s" >&2
exit 1
"""


# The user manager puts what it starts into a group of its own, with its own priority: a scope is niced as its step is, and
# nobody can take that back. Rake leaves Solr behind as a daemon, the PID file names another process than the last one, and
# Solr is not to end with its wrapper: so no main process is guessed. What the manager starts it with is not our environment.
_SERVICE = r"""
said=$CV_STEP/solr.said name=hkn-solr-$CV_RUN-${CV_KEY%%-*}
in_service() {
  systemd-run --user --quiet --unit="$name" --service-type=forking --setenv=PATH="$PATH" "$@" \
    /bin/sh -c 'exec >"$0" 2>&1; exec "$@"' "$said" RAKE
}
begun() { [ -e "$said" ]; }
in_service --collect --description="hkn-migration: Solr, started by run $CV_RUN; it stays" \
  -p GuessMainPID=no -p TimeoutStartSec=100 ||
  { ! begun && in_service; } || { ! begun && systemd-run --user --scope --quiet -- RAKE; }
rc=$?
cat "$said" 2>/dev/null
exit $rc
"""


def search_gap(inv: Inventory) -> float:
    """Seconds without search that a move of Solr is expected to cost: its own start and half a second."""
    return inv.solr.start_seconds + 0.5


def moves(inv: Inventory) -> str:
    """The end of a sentence that says of a step that Solr's port changes hands in it, or until the next one."""
    return f"its port changes hands, so searches and saves do without it, or fail, for about {search_gap(inv):g} s"


def rake(release: str, task: str) -> str:
    """Shell that runs a rake task of a release as the application's own start script would: with its Ruby and bundle."""
    words = f'. ~/.rvm/scripts/rvm; cd "$1" && RAILS_ENV=production exec bundle exec rake {shlex.quote(task)}'
    return f"bash -c {shlex.quote(words)} rake {shlex.quote(release)} </dev/null"


def wait_core() -> str:
    """Shell that waits for the core by a clock: a Solr that listens and never answers makes each question last 5 s."""
    return _WAIT_CORE.replace("CORE_WAIT", f"{CORE_WAIT:g}")


def start_script(release: str) -> str:
    """Shell that starts Solr from a release as a service of its own; where the manager knows none, in a scope."""
    return _SERVICE.replace("RAKE", rake(release, "sunspot:solr:start"))


def is_still(process: Process) -> Condition:
    """A process is the one that the plan saw."""
    return Condition(
        f"process {process.pid} is the one that started at tick {process.started}",
        f'[ "$(started {process.pid})" = {process.started} ]',
    )


def stop_step(id: str, host: str, process: Process, makes_way_in: Inventory | None = None) -> Step:
    """End one Solr that was found to be the account's; one that makes way for another of a target until its port is free."""
    acts: list[Act] = [Signal(process.pid, "TERM", process.started, "start.jar", "", process.cgroup)]
    if makes_way_in:
        acts.append(Run(_WAIT_FREE))
    return Step(
        id=id,
        host=host,
        sentence=f"stop the account's Solr, process {process.pid} with home {solr.home_of(process) or 'unknown'}"
        + (f"; {moves(makes_way_in)}" if makes_way_in else ""),
        acts=tuple(acts),
        when=(is_still(process),),
        undo="Solr is started again by the statements that want it",
        limit=60.0,
        search_gap=search_gap(makes_way_in) if makes_way_in else None,
        may="restart",
    )


def start_steps(ctx: RemedyContext, id: str, release: str, seen: Solr, after: str = "") -> Iterator[Step]:
    """Start Solr from a release, apart from any unit or login; a PID file that does not name a Solr goes first."""
    acts: list[Act] = []
    if seen.pid_file_exists and not seen.pid_is_true:
        acts.append(Aside(seen.pid_file))
    acts += [Run(start_script(release)), Run(wait_core())]
    yield Step(
        id=id,
        host=ctx.inv.app_host.name,
        sentence=f"start Solr from {release} and wait for its core",
        acts=tuple(acts),
        when=(
            Condition(
                f"nobody listens on port {ctx.inv.solr.port}", '[ -z "$(ss -ltn "sport = :$SOLR_PORT" | sed 1d)" ]'
            ),
        ),
        undo=Needless("a Solr that nothing asks does no harm"),
        limit=START_LIMIT,
        may="restart",
        after=after,
    )


def serving_release(ctx: RemedyContext) -> str:
    """The release that answers the site's requests now; the current one if nobody does."""
    try:
        seen = ctx.read(web.serving)
    except Unobservable:
        return ctx.read(solr.solr).current
    inside = [p.cwd for p in seen.owners if p.cwd.startswith(f"{ctx.inv.stages.root}/")]
    return inside[0] if inside else seen.current


def _not_ours(seen: Solr, port: int) -> str:
    return f"port {port} is held by a process that is not the account's Solr: ask whose it is ({seen.host})"


def is_of_this(process: Process, ctx: RemedyContext) -> bool:
    """Whether a Solr of the account belongs to this application: the account may run others'."""
    return solr.home_of(process).startswith(f"{ctx.inv.stages.root}/")


def _not_this(process: Process, host: str) -> str:
    home = solr.home_of(process) or "unknown"
    return f"process {process.pid} on {host} is another application's Solr (its home is {home}): ask whose it is"


def start(ctx: RemedyContext) -> Iterator[Step]:
    """Let one Solr of ours listen on loopback, with the home of the release that serves."""
    seen = ctx.read(solr.solr)
    if seen.listeners and seen.ours is None:
        raise ByHand(_not_ours(seen, ctx.inv.solr.port))
    if seen.ours:
        if not is_of_this(seen.ours, ctx):
            raise ByHand(_not_this(seen.ours, seen.host))
        yield stop_step("SOLR-1/stop", seen.host, seen.ours, ctx.inv)
    release = serving_release(ctx)
    yield from start_steps(ctx, "SOLR-1/start", release, ctx.read(solr.solr))


def write_pid_file(ctx: RemedyContext) -> Iterator[Step]:
    """Let Solr's PID file name what started the Solr that listens here, found from its process upwards."""
    seen = ctx.read(solr.solr)
    if seen.ours is None:
        raise NothingToDo("no Solr of the account listens that could be named")
    named = seen.wrapper or seen.ours
    yield Step(
        id="SOLR-4/write",
        host=seen.host,
        sentence=f"let {seen.pid_file} name process {named.pid}, which started Solr (process {seen.ours.pid})",
        acts=(Write(seen.pid_file, str(named.pid)),),
        when=(is_still(named), is_still(seen.ours)),
    )


def move_home(ctx: RemedyContext) -> Iterator[Step]:
    """Stop the Solr of another release, start the current one's, and fill its index, which is empty at first."""
    seen = ctx.read(solr.solr)
    if seen.ours is None:
        raise NothingToDo(_not_ours(seen, ctx.inv.solr.port) if seen.listeners else "no Solr listens (SOLR-1)")
    if not is_of_this(seen.ours, ctx):
        raise ByHand(_not_this(seen.ours, seen.host))
    after = "the current release is the one that the deploy makes"
    yield stop_step("SOLR-2/stop", seen.host, seen.ours, ctx.inv)
    now = ctx.read(solr.solr)
    yield from start_steps(ctx, "SOLR-2/start", now.current, now, after)
    yield reindex_step(ctx, "SOLR-2/reindex", now.current, "a new release starts with an empty one")


def reindex(ctx: RemedyContext) -> Iterator[Step]:
    """Fill the index from the database."""
    yield reindex_step(ctx, "SOLR-3/reindex", ctx.read(solr.solr).current, "it is empty")


def reindex_step(ctx: RemedyContext, id: str, release: str, why: str) -> Step:
    """Fill the index from the database, by the release that Solr belongs to."""
    return Step(
        id=id,
        host=ctx.inv.app_host.name,
        sentence=f"fill Solr's index: {why}",
        acts=(Run(rake(release, "sunspot:reindex")),),
        undo=Needless("the index is made of the database's records, and can be made again"),
        limit=600.0,
    )


def let_app_detect(ctx: RemedyContext) -> Iterator[Step]:
    """Restart the app's unit once: it decides on Solr only when it boots, and Solr is up by now."""
    if ctx.read(units.masters).of(ctx.read(units.our_units).app) is None:
        raise NothingToDo(f"{ctx.inv.app.unit} does not run: starting it is UNIT-5's remedy, and then it looks for Solr")
    if not ctx.read(solr.solr).pid_is_true:
        raise NothingToDo("Solr does not run as its PID file says (SOLR-4): the application would not detect it")
    yield restart_step(ctx, "SOLR-5/restart", "it looks for Solr only when it boots")


def stop_legacy(ctx: RemedyContext) -> Iterator[Step]:
    """End this application's Solr on a legacy host; another application's stays."""
    seen = ctx.read(solr.solr, ctx.at)
    mine = [process for process in seen.java if is_of_this(process, ctx)]
    if seen.java and not mine:
        raise ByHand(_not_this(seen.java[0], ctx.at))
    for process in mine:
        yield stop_step(f"SOLR-6/stop-{process.pid}", ctx.at, process)
