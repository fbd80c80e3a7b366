"""Remedies of the socket between the web server and the application, and of unicorn's PID file."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from converge.steps import Aside, ByHand, Condition, Link, Mode, NothingToDo, RemedyContext, Step, Write
from facts import sockets as facts_sockets
from facts.sockets import Entry
from facts.units import states
from hosts.schema import Inventory, Web
from remediate.cutover.choice import beside
from remediate.cutover.conditions import leave_strangers, same_main, serving_strays
from remediate.cutover.steps import handover_step, restart_step
from remediate.units import end_idle


def same_inode(entry: Entry) -> Condition:
    """A name in the socket directory is still the one that the plan saw."""
    return Condition(
        f"{entry.path} is the {entry.kind} with inode {entry.inode}",
        f'[ "$(stat -c %i {shlex.quote(entry.path)})" = {entry.inode} ]',
    )


def leave_to_link(ctx: RemedyContext) -> None:
    """Go on unless the app's unit listens on its path and the web server's does not lead there.

    Raises:
        NothingToDo: it is so: a link mends that, and no restart does.
    """
    path, listen = ctx.read(facts_sockets.upstream).chosen, ctx.inv.web.listen
    seen, app = ctx.read(facts_sockets.sockets), ctx.read(states.our_units).app.name
    here, own = seen.at(path), seen.at(listen)
    same = here is not None and own is not None and here.end_inode == own.end_inode
    if path != listen and not same and app in {owner.unit for owner in seen.owners(listen)}:
        raise NothingToDo(f"{path} does not lead to {listen}, where {app} listens: SOCK-5 mends that")


def open_up(ctx: RemedyContext) -> Iterator[Step]:
    """Let the web server connect: mend the socket's mode, or let the running application bind it anew."""
    path = ctx.read(facts_sockets.upstream).chosen
    seen = ctx.read(facts_sockets.sockets)
    entry = seen.at(path)
    leave_to_link(ctx)
    if entry is None or not entry.is_socket or not seen.listening_on(path):
        if not ctx.read(states.our_units).app.runs:
            raise NothingToDo(f"{ctx.inv.app.unit} does not run: starting it is UNIT-5's remedy")
        yield restart_step(ctx, "SOCK-2/restart", f"so that it binds {ctx.inv.web.listen} anew")
        return
    end = next((e for e in seen.entries.values() if e.inode == entry.end_inode), None)
    if end is None or end.uid != seen.uid:
        raise ByHand(f"{path} leads to {entry.leads_to}, which is not the account's: its owner must open it")
    yield Step(
        id="SOCK-2/mode",
        host=ctx.inv.app_host.name,
        sentence=f"let the web server connect to {end.path}",
        acts=(Mode(end.path, 0o777),),
        when=(same_inode(end),),
    )


def single(ctx: RemedyContext) -> Iterator[Step]:
    """One listener, the app's unit's: end what was started by hand beside it, and let the app bind its path again."""
    ours = ctx.read(states.our_units)
    if not ours.app.runs:
        raise NothingToDo(f"{ours.app.name} does not run: handing the site to it is UNIT-5's remedy")
    if any(unit.runs for unit in ours.legacy) or serving_strays(ctx):
        # Both run: a cutover was cut off in the middle, or somebody started the application by hand beside its unit.
        yield handover_step(ctx, "SOCK-3/cutover")
        return
    leave_to_link(ctx)
    leave_strangers(ctx, ctx.read(facts_sockets.upstream).chosen)
    yield from end_idle(ctx, "SOCK-3")
    yield restart_step(ctx, "SOCK-3/restart", f"so that it alone binds {ctx.inv.web.listen}")


def sweep(ctx: RemedyContext) -> Iterator[Step]:
    """Move dead names of this tool's and of the site's earlier deployments aside; whatever else is dead is a person's.

    A name of the account may belong to an application that nobody listed: dead while that restarts, and its public path.
    """
    web, chosen = ctx.inv.web, ctx.read(facts_sockets.upstream).chosen
    known = {_name(chosen), _name(web.listen), ".attic", *web.allowed_sockets}
    seen = ctx.read(facts_sockets.sockets)
    left = [entry for name, entry in seen.entries.items() if name not in known]
    dead = [entry for entry in left if seen.is_dead(entry)]
    mine = re.compile("|".join(_own_names(web, chosen)))
    for entry in dead:
        if mine.fullmatch(entry.name):
            yield _aside(ctx, entry)
    if strange := [entry for entry in dead if not mine.fullmatch(entry.name)]:
        raise ByHand("\n".join(_for_a_person(ctx.inv, entry) for entry in strange))
    if not dead:
        names = ", ".join(entry.name for entry in left) or "nothing"
        raise NothingToDo(f"what is left in {web.socket_dir} is no dead socket of the account: {names}")


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _own_names(web: Web, chosen: str) -> list[str]:
    """Patterns of the names that cutovers and links of this tool make, and the names that the inventory calls retired."""
    after, old = (re.escape(_name(beside(web.listen, word))) for word in ("next", "old"))
    links = [rf"\.{re.escape(_name(path))}\.cv-\d+" for path in (chosen, web.listen)]
    return [after, rf"{old}(?:\.\d+)?", *links, *map(re.escape, web.retired_sockets)]


def _aside(ctx: RemedyContext, entry: Entry) -> Step:
    path, still = shlex.quote(entry.path), []
    if entry.kind == "symbolic link":
        still = [Condition(f"{entry.path} leads nowhere", f"[ -L {path} ] && [ ! -e {path} ]")]
    return Step(
        id=f"SOCK-4/aside-{entry.name}",
        host=ctx.inv.app_host.name,
        sentence=f"move {entry.path} aside, a {entry.kind} behind which nobody listens",
        acts=(Aside(entry.path),),
        when=(same_inode(entry), *still),
    )


def _for_a_person(inv: Inventory, entry: Entry) -> str:
    folder = f"{inv.web.socket_dir}/.attic"
    away = f"mkdir -p {shlex.quote(folder)} && mv -nT {shlex.quote(entry.path)} {shlex.quote(f'{folder}/{entry.name}')}"
    return (
        f"{entry.path} is a {entry.kind} behind which nobody listened, and no name of this site: an application that"
        f" restarts may own it, then list it in web.allowed_sockets of {inv.file}; if nobody needs it: {away}"
    )


def relink(ctx: RemedyContext) -> Iterator[Step]:
    """Let the web server's path lead to the one on which the application listens."""
    path, listen = ctx.read(facts_sockets.upstream).chosen, ctx.inv.web.listen
    seen, legacy = ctx.read(facts_sockets.sockets), ctx.read(states.our_units).legacy
    entry = seen.at(path)
    if any(unit.runs for unit in legacy) and any(p.unit in {u.name for u in legacy} for p in seen.owners(path)):
        raise NothingToDo(f"{path} leads to the old application, which serves: the cutover leads it on (UNIT-5, SOCK-3)")
    if not path.startswith(f"{ctx.inv.web.socket_dir}/"):
        raise ByHand(f"the web server's path {path or '(none)'} is outside {ctx.inv.web.socket_dir}: ask the hoster")
    if entry is not None and entry.kind != "symbolic link":
        raise ByHand(
            f"{path} is itself a {entry.kind}: find out who bound it, move it away, then link it:"
            f" ln -s {listen} {path}.new && mv -T {path}.new {path}"
        )
    quoted = shlex.quote(path)
    absent = Condition(f"{path} is not there", f"[ ! -e {quoted} ] && [ ! -L {quoted} ]")
    here = same_inode(entry) if entry else absent
    yield Step(
        id="SOCK-5/relink",
        host=ctx.inv.app_host.name,
        sentence=f"let {path} lead to {listen}",
        acts=(Link(path, listen),),
        when=(here,),
    )


def write_pid_file(ctx: RemedyContext) -> Iterator[Step]:
    """Write the verified main process into unicorn's PID file, and move a dead upgrade's file aside."""
    ours, seen = ctx.read(states.our_units), ctx.read(facts_sockets.unicorn_pid_file)
    main = ctx.read(states.masters).of(ours.app)
    if main is None or main.unit != ours.app.name:
        raise NothingToDo(f"{ours.app.name} has no main process of its own yet: starting it is UNIT-5's remedy")
    if seen.pid != main.pid:
        yield Step(
            id="PID-1/write",
            host=ours.host,
            sentence=f"let {seen.path} name {main.pid}, the main process of {ours.app.name}",
            acts=(Write(seen.path, f"{main.pid}\n"),),
            when=(same_main(ours.app),),
        )
    if seen.old_exists and not seen.old_is_alive:
        yield Step(
            id="PID-1/old",
            host=ours.host,
            sentence=f"move {seen.path}.oldbin aside: its process is gone",
            acts=(Aside(f"{seen.path}.oldbin"),),
            when=(_still_dead(f"{seen.path}.oldbin"),),
        )
    elif seen.old_exists and seen.pid == main.pid:
        raise NothingToDo(f"{seen.path}.oldbin names process {seen.old_text}, which is alive: an upgrade may be going on")


def _still_dead(path: str) -> Condition:
    """An upgrade's PID file still names nothing that runs: an upgrade may have begun since."""
    test = (
        f"[ -f {shlex.quote(path)} ] || exit 1\n"
        f"old=$(tr -d ' \\n' <{shlex.quote(path)}) || exit 1\n"
        'case "$old" in \'\'|*[!0-9]*) ;; *) [ ! -d "/proc/$old" ] ;; esac'
    )
    return Condition(f"{path} names no process that runs", test)
