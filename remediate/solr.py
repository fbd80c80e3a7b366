"""Remedies of Solr. Only what was found to be the account's own Solr is signalled, and never by the PID file alone."""

from __future__ import annotations

from collections.abc import Iterator

from converge.errors import Unobservable
from converge.steps import ByHand, Condition, Needless, NothingToDo, RemedyContext, Run, Signal, Step, Write
from facts import solr, web
from facts.host.processes import Process
from facts.solr import Solr
from facts.units import states
from hosts.schema import Inventory
from remediate import solr_move
from remediate.cutover.conditions import is_still
from remediate.cutover.steps import restart_step
from remediate.sockets import leave_to_link
from remediate.solr_move import rake


def search_gap(inv: Inventory) -> float:
    """Seconds without search that a move of Solr is expected to cost: its own start and half a second."""
    return inv.solr.start_seconds + 0.5


def moves(inv: Inventory) -> str:
    """The part of a sentence that says of a step that Solr's port changes hands in it."""
    return f"its port changes hands, so searches and saves do without it, or fail, for about {search_gap(inv):g} s"


def stop_step(id: str, host: str, process: Process) -> Step:
    """End one Solr that was found to be the account's, and whose place no other one takes."""
    return Step(
        id=id,
        host=host,
        sentence=f"stop the account's Solr, process {process.pid} with home {solr.home_of(process) or 'unknown'}",
        acts=(Signal(process.pid, "TERM", process.started, "start.jar", "", process.cgroup),),
        when=(is_still(process),),
        undo="Solr is started again by the statements that want it",
        may="restart",
    )


def start_step(ctx: RemedyContext, id: str, release: str) -> Step:
    """Start Solr from a release where none listens, apart from any unit or login."""
    return Step(
        id=id,
        host=ctx.inv.app_host.name,
        sentence=f"start Solr from {release} and wait for its core",
        acts=(solr_move.start_program(release, ctx.read(solr.solr).pid_file),),
        when=(
            Condition(f"nobody listens on port {ctx.inv.solr.port}", '[ -z "$(ss -ltn "sport = :$SOLR_PORT" | sed 1d)" ]'),
        ),
        undo=Needless("a Solr that nothing asks does no harm"),
        limit=solr_move.LIMIT,
        may="restart",
    )


def move_step(ctx: RemedyContext, id: str, release: str, former: Process, after: str = "") -> Step:
    """Start Solr from a release in the place of the one that listens, which comes back if the new one does not answer."""
    inv, home = ctx.inv, solr.home_of(former)
    pid_file = ctx.read(solr.solr).pid_file
    return Step(
        id=id,
        host=inv.app_host.name,
        sentence=(
            f"stop the account's Solr, process {former.pid} with home {home}, and start it from {release}; {moves(inv)};"
            " if the new one does not tell of its core, the host starts the former one again by itself"
        ),
        acts=(solr_move.move_program(release, pid_file, former, home),),
        when=(is_still(former),),
        undo=(solr_move.back_program(release, pid_file, home),),
        limit=solr_move.LIMIT,
        search_gap=search_gap(inv),
        may="restart",
        after=after,
        puts_back=True,
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
    release = serving_release(ctx)
    if seen.ours is None:
        yield start_step(ctx, "SOLR-1/start", release)
        return
    if not is_of_this(seen.ours, ctx):
        raise ByHand(_not_this(seen.ours, seen.host))
    yield move_step(ctx, "SOLR-1/start", release, seen.ours)


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
    yield move_step(ctx, "SOLR-2/move", seen.current, seen.ours, after)
    yield reindex_step(ctx, "SOLR-2/reindex", seen.current, "a new release starts with an empty one")


def reindex(ctx: RemedyContext) -> Iterator[Step]:
    """Fill the index from the database."""
    why = f"it has fewer than {ctx.inv.solr.documents} documents"
    yield reindex_step(ctx, "SOLR-3/reindex", ctx.read(solr.solr).current, why)


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
    """Restart the app's unit once: it decides on Solr only when it boots, and Solr is up by now (SOLR-4 comes before).

    One that finds no Solr when it boots falls back in each search; one that found it fails until Solr is there again.
    """
    if ctx.read(states.masters).of(ctx.read(states.our_units).app) is None:
        raise NothingToDo(f"{ctx.inv.app.unit} does not run: starting it is UNIT-5's remedy, and then it looks for Solr")
    leave_to_link(ctx)
    if not ctx.read(solr.solr).pid_is_true and not ctx.read(web.search).fallbacks:
        raise NothingToDo("Solr does not run as its PID file says (SOLR-4): the application, which found it, waits for it")
    yield restart_step(ctx, "SOLR-5/restart", "it looks for Solr only when it boots")


def stop_legacy(ctx: RemedyContext) -> Iterator[Step]:
    """End this application's Solr on a legacy host; another application's stays."""
    seen = ctx.read(solr.solr, ctx.at)
    mine = [process for process in seen.java if is_of_this(process, ctx)]
    if seen.java and not mine:
        raise ByHand(_not_this(seen.java[0], ctx.at))
    for process in mine:
        yield stop_step(f"SOLR-6/stop-{process.pid}", ctx.at, process)
