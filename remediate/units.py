"""Remedies of the account's systemd units."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from converge.steps import (
    Act,
    Aside,
    ByHand,
    Condition,
    Needless,
    NothingToDo,
    RemedyContext,
    Run,
    Signal,
    Step,
    Unit,
    Write,
    as_read,
)
from facts.host.processes import Process
from facts.repo import git
from facts.units import states
from facts.units.files import UnitFile, UnitsDir, unit_files
from facts.units.states import GRACEFUL, SIGQUIT, OurUnits
from remediate.cutover.conditions import idle_legacy, is_still, same_main, serving_strays, still_serves, strays
from remediate.cutover.steps import NOT_AGAIN, handover_step


def reload_steps(ctx: RemedyContext, id: str) -> Iterator[Step]:
    """A daemon-reload on every live host: each user manager has its own copy of the shared unit files."""
    for host in ctx.inv.live:
        yield Step(
            id=f"{id}-{host.name}",
            host=host.name,
            sentence="let the user manager read the unit files again",
            acts=(Unit("daemon-reload"),),
            undo=Needless("reading unit files again has nothing to take back"),
        )


def write_from_repository(ctx: RemedyContext, name: str, id: str, after: str = "") -> Step:
    """A step that makes a unit file on the server the repository's.

    Raises:
        NothingToDo: the repository has no such file.
    """
    branch = ctx.read(git.repository)
    source = git.unit_file(name)
    text = branch.file(source)
    if text is None:
        raise NothingToDo(f"{source} is not on {branch.branch} of {branch.url}: it must be there first")
    folder = ctx.read(unit_files)
    here, link = folder.files.get(name), folder.link_of(name)
    path = f"{ctx.inv.units_dir}/{name}"
    return Step(
        id=id,
        host=ctx.inv.app_host.name,
        sentence=f"make {path} the file {source} of {branch.branch}",
        # What a link leads to is another's, or nothing.
        acts=(*([Aside(path)] if link else []), Write(path, text)),
        when=(same_link(path, link.target) if link else as_read(path, here.text if here else None),),
        after=after,
    )


def install(ctx: RemedyContext) -> Iterator[Step]:
    """The app's unit file from the repository, without drop-ins that change it; what other units share stays."""
    ours = ctx.read(states.our_units)
    name = ctx.inv.app.unit
    strange, folder = ours.surprising_drop_ins, ctx.read(unit_files)
    wanted, here = ctx.read(git.repository).file(git.unit_file(name)), folder.files.get(name)
    if not strange and here and wanted and here.is_same_as(wanted) and not folder.link_of(name):
        _leave_shared(ours)
    yield write_from_repository(ctx, name, "UNIT-1/write", _after_patch(ctx))
    for number, path in enumerate(strange, 1):
        yield Step(f"UNIT-1/drop-in-{number}", ours.host, f"move the drop-in {path} aside", (Aside(path),))
    yield from reload_steps(ctx, "UNIT-1/reload")
    _leave_shared(ours)


def _leave_shared(ours: OurUnits) -> None:
    if ours.harmful_drop_ins:
        told = "; ".join(
            f"{', '.join(each.changes)} in {each.path}, which serves {each.serves}" for each in ours.harmful_drop_ins
        )
        raise ByHand(f"{told}: agree with whoever keeps it that these stand in the files of the units that need them")


def _after_patch(ctx: RemedyContext) -> str:
    text = ctx.read(git.repository).file(git.unit_file(ctx.inv.app.unit)) or ""
    file = UnitFile(ctx.inv.app.unit, "", text)
    fits = file.may_start_on(ctx.inv.app_host.hostname) and file.values("KillSignal") in {("SIGQUIT",), (str(SIGQUIT),)}
    return "" if fits else "its text is what the patches of the repository leave"


def reload(ctx: RemedyContext) -> Iterator[Step]:
    """daemon-reload on every host whose manager has old copies; the first of them does it for all."""
    at = ctx.at or ctx.inv.app_host.name
    stale = [h.name for h in ctx.inv.live if any(u.needs_reload for u in ctx.read(states.our_units, h.name).all)]
    if stale and stale[0] != at:
        raise NothingToDo(f"the steps for {stale[0]} do it on every host")
    for name in stale:
        yield Step(
            id=f"UNIT-2/reload-{name}",
            host=name,
            sentence="let the user manager read the unit files again",
            acts=(Unit("daemon-reload"),),
            undo=Needless("reading unit files again has nothing to take back"),
        )


def enable(ctx: RemedyContext) -> Iterator[Step]:
    """Enable the app's unit; a link that leads elsewhere, or a file in a link's place, is moved aside first."""
    app, folder = ctx.inv.app.unit, ctx.read(unit_files)
    wrong = [link for link in folder.wants(app) if link.resolved != folder.file_of(app)]
    copies = folder.copies_of(app)
    yield Step(
        id="UNIT-3/enable",
        host=ctx.inv.app_host.name,
        sentence=f"enable {app}, so that it starts after a reboot",
        acts=(*(Aside(path) for path in (*(link.path for link in wrong), *copies)), Unit("enable", app)),
        when=(*(same_link(link.path, link.target) for link in wrong), *(is_no_link(path) for path in copies)),
    )


def same_link(path: str, target: str) -> Condition:
    """A symlink still has the target that the plan saw."""
    return Condition(f"{path} leads to {target}", f'[ "$(readlink {shlex.quote(path)})" = {shlex.quote(target)} ]')


def is_no_link(path: str) -> Condition:
    """A file lies where the plan saw one in a link's place."""
    place = shlex.quote(path)
    return Condition(f"{path} is a file", f"[ -f {place} ] && [ ! -L {place} ]")


def cutover(ctx: RemedyContext) -> Iterator[Step]:
    """Let the app's unit serve, and alone: hand over from what serves, start it, restart it, or stop what runs beside it."""
    yield from end_idle(ctx, "UNIT-5")
    if idle := idle_legacy(ctx):
        yield from stop_idle(ctx, "UNIT-5")
        if not any(unit.starts_again for unit in idle):
            raise NothingToDo(f"{', '.join(unit.name for unit in idle)} is about to end, and {ctx.inv.app.unit} serves")
        return
    yield handover_step(ctx, "UNIT-5/cutover")


def stop_idle(ctx: RemedyContext, id: str) -> Iterator[Step]:
    """Stop the legacy units that run beside the app's and serve nobody: when that restarts they would take the site over."""
    ours = ctx.read(states.our_units)
    for unit in idle_legacy(ctx):
        if not unit.starts_again:
            continue
        still = Condition(
            f"{unit.name} runs, or is started again",
            f'case "$(prop {shlex.quote(unit.name)} ActiveState)" in inactive|failed|deactivating) exit 1 ;; esac',
        )
        yield Step(
            id=f"{id}/stop-{unit.name}",
            host=ours.host,
            sentence=f"stop {unit.name}, which runs beside {ours.app.name}, serves nobody, and would take the site over as "
            "soon as that restarts",
            acts=_graceful_stop(ctx, ours, unit.name),
            # Not its main process: one that the manager starts again and again has another one by now.
            when=(same_main(ours.app), still_serves(ctx), still),
            undo=Needless("it served nobody, and beside the unit that serves it could only take the site over"),
            limit=120.0,
            may="restart",
        )


def end_idle(ctx: RemedyContext, id: str) -> Iterator[Step]:
    """End what was started by hand and serves nobody; what serves is handed over, as a unit is."""
    serving = serving_strays(ctx)
    for stray in strays(ctx):
        if stray not in serving:
            yield end_stray(ctx, stray, id)


def end_stray(ctx: RemedyContext, stray: Process, id: str, at: str = "") -> Step:
    """End a master that was started by hand and does not serve the site, letting its requests finish."""
    return Step(
        id=f"{id}/end-{stray.pid}",
        host=at or ctx.inv.app_host.name,
        sentence=f"let process {stray.pid} end, which was started by hand in {stray.cwd} and does not serve the site",
        acts=(Signal(stray.pid, "QUIT", stray.started, stray.cmdline, stray.cwd, stray.cgroup),),
        when=(is_still(stray),),
        undo=NOT_AGAIN,
        may="restart",
    )


def retire_legacy(ctx: RemedyContext) -> Iterator[Step]:
    """Stop, disable and move away the legacy units, on every host; the app's unit serves by now."""
    app_host = ctx.inv.app_host.name
    at = ctx.at or app_host
    folder = ctx.read(unit_files)
    if at != app_host and any(_files_of(unit, folder) for unit in ctx.inv.app.legacy_units):
        raise NothingToDo(f"the unit files are shared: the steps for {app_host} clear every host")
    for host in ctx.inv.live if at == app_host else [ctx.inv.hosts[at]]:
        yield from _stop_legacy(ctx, host.name)
    if at == app_host:
        yield from _remove_files(ctx, folder)
    for host in ctx.inv.live if at == app_host else [ctx.inv.hosts[at]]:
        yield _forget(ctx, host.name)


def _stop_legacy(ctx: RemedyContext, host: str) -> Iterator[Step]:
    ours = ctx.read(states.our_units, host)
    for unit in ours.legacy:
        if unit.runs:
            yield Step(
                id=f"UNIT-4/stop-{unit.name}-{host}",
                host=host,
                sentence=f"stop {unit.name}, letting requests finish",
                acts=_graceful_stop(ctx, ours, unit.name),
                when=(same_main(unit),),
                limit=120.0,
                may="restart",
            )
    # What serves the site is UNIT-5's: it ends when the app's unit serves in its place.
    serving = {stray.pid for stray in serving_strays(ctx)} if host == ctx.inv.app_host.name else set[int]()
    known = {ours.app.name, *(unit.name for unit in ours.legacy if unit.runs)}
    managed = list[str]()
    for stray in ctx.read(states.masters, host).all:
        if stray.pid in serving or stray.unit in known or " master" not in stray.cmdline:
            continue
        if not any(stray.cwd.startswith(f"{tree}/") for tree in ctx.inv.legacy_stages):
            continue
        if stray.service and stray.service not in {unit.name for unit in ours.all}:
            managed.append(f"process {stray.pid} in {stray.cwd} on {host} belongs to {stray.service}")
            continue
        yield end_stray(ctx, stray, "UNIT-4", host)
    if managed:
        raise ByHand(f"{'; '.join(managed)}: its manager may start it again, so stop and disable that unit yourself")


def _graceful_stop(ctx: RemedyContext, ours: OurUnits, unit: str) -> tuple[Act, ...]:
    """Stop a unit by way of a drop-in that lets requests finish, and leaves the shared PID file alone."""
    lines = ["[Service]", "ExecStop=", "KillSignal=SIGQUIT", "KillMode=mixed"]
    text = "\n".join([*lines, f"TimeoutStopSec={ctx.inv.app.stop_timeout + 8}", f"PIDFile=%t/{unit}.pid", ""])
    return (Write(ours.drop_in(unit, GRACEFUL), text), Unit("daemon-reload"), Unit("stop", unit))


def _files_of(unit: str, folder: UnitsDir) -> list[str]:
    """All of a legacy unit below the units' folder; what starts it comes first."""
    file = [f"{folder.path}/{unit}"] if unit in folder.files or folder.link_of(unit) else []
    links = (link.path for link in folder.wants(unit))
    return list(dict.fromkeys([*links, *file, *folder.left_of(unit)]))


def _remove_files(ctx: RemedyContext, folder: UnitsDir) -> Iterator[Step]:
    for unit in ctx.inv.app.legacy_units:
        paths, file = _files_of(unit, folder), folder.files.get(unit)
        if not paths:
            continue
        own = folder.link_of(unit)
        known = (*folder.wants(unit), *([own] if own else []))
        links = tuple(same_link(link.path, link.target) for link in known)
        names = ", ".join(path.removeprefix(f"{folder.path}/") for path in folder.left_of(unit))
        move = f"disable {unit} and move its file aside" + (f", and {names}" if names else "")
        yield Step(
            id=f"UNIT-4/remove-{unit}",
            host=ctx.inv.app_host.name,
            sentence=move if file or links else f"move {names} aside, which is left of {unit}",
            acts=tuple(Aside(path) for path in paths),
            when=(*links, *([as_read(file.path, file.text)] if file and not own else [])),
        )


def _forget(ctx: RemedyContext, host: str) -> Step:
    """Let a host's manager forget the legacy units, with the drop-ins that it alone had."""
    legacy = ctx.inv.app.legacy_units
    drop_ins = "\n".join(
        f'd="$XDG_RUNTIME_DIR/systemd/user/{unit}.d/{GRACEFUL}"; [ ! -e "$d" ] || aside "$d" || exit 1' for unit in legacy
    )
    return Step(
        id=f"UNIT-4/forget-{host}",
        host=host,
        sentence=f"let the user manager forget {', '.join(legacy)}",
        acts=(Run(drop_ins), Unit("daemon-reload"), *(Unit("reset-failed", unit) for unit in legacy)),
    )


def disable_extra(ctx: RemedyContext) -> Iterator[Step]:
    """Take away the links by which other units than the app's would start the application after a reboot.

    Those of the legacy units go with all else of them (UNIT-4).
    """
    folder, app, root = ctx.read(unit_files), ctx.inv.app.unit, f"{ctx.inv.stages.root}/"
    extra = [
        file
        for file in folder.files.values()
        if file.name not in {app, *ctx.inv.app.legacy_units}
        and any(command.lstrip("-@+!:").startswith(root) for command in file.values("ExecStart"))
        and folder.wants(file.name)
    ]
    if not extra:
        raise NothingToDo(
            f"beside {app} and the legacy units no unit is enabled: those go with UNIT-4, and on which host {app} starts is "
            "its ConditionHost= (UNIT-1)"
        )
    for file in extra:
        links = folder.wants(file.name)
        yield Step(
            id=f"UNIT-6/disable-{file.name}",
            host=ctx.inv.app_host.name,
            sentence=f"disable {file.name}, which would start a second copy of the application",
            acts=tuple(Aside(link.path) for link in links),
            when=tuple(same_link(link.path, link.target) for link in links),
        )
    yield from reload_steps(ctx, "UNIT-6/reload")


def sweep_links(ctx: RemedyContext) -> Iterator[Step]:
    """Move dangling links aside; only those that bear the name of a unit of this application."""
    dangling = ctx.read(unit_files).dangling
    stem = ctx.inv.app.unit.removesuffix(".service")
    names = {ctx.inv.app.unit, *ctx.inv.app.legacy_units, ctx.inv.app.logrotate_unit, ctx.inv.app.logrotate_timer}
    mine = [link for link in dangling if (name := link.path.rsplit("/", 1)[-1]) in names or name.startswith(stem)]
    for number, link in enumerate(mine, 1):
        yield Step(
            id=f"UNIT-7/sweep-{number}",
            host=ctx.inv.app_host.name,
            sentence=f"move the dangling link {link.path} aside",
            acts=(Aside(link.path),),
            when=(same_link(link.path, link.target),),
        )
    if mine:
        yield from reload_steps(ctx, "UNIT-7/reload")
    if others := [link.path for link in dangling if link not in mine]:
        raise ByHand(f"{', '.join(others)}: no unit of this application; if nobody misses what it led to, remove the link")


def install_logrotate(ctx: RemedyContext) -> Iterator[Step]:
    """The log rotation's unit file from the repository."""
    yield write_from_repository(ctx, ctx.inv.app.logrotate_unit, "UNIT-8/write")
    yield from reload_steps(ctx, "UNIT-8/reload")


def start_timer(ctx: RemedyContext) -> Iterator[Step]:
    """Let the rotation look into the target stage, then enable and start its timer: nothing is left that it could start."""
    inv, seen = ctx.inv, ctx.read(states.rotation)
    text = seen.text
    for tree in inv.legacy_stages:
        text = text.replace(f"{tree}/", f"{inv.stage}/")
    if text != seen.text:
        yield Step(
            id="UNIT-9/configuration",
            host=inv.app_host.name,
            sentence=f"let {seen.config} name the logs of the target stage",
            acts=(Write(seen.config, text),),
            when=(as_read(seen.config, seen.text),),
        )
    timer = inv.app.logrotate_timer
    folder = ctx.read(unit_files)
    if timer not in folder.files or folder.link_of(timer):
        yield write_from_repository(ctx, timer, "UNIT-9/timer")
        yield from reload_steps(ctx, "UNIT-9/reload")
    yield Step(
        id="UNIT-9/start",
        host=inv.app_host.name,
        sentence=f"enable and start {timer}",
        acts=(Unit("enable", timer), Unit("start", timer)),
    )
