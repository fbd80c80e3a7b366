"""The account's systemd units: the app's one runs and will run again; nothing is left of the legacy ones."""

from __future__ import annotations

from converge.checking.statement import Severity, require, statement
from facts.repo.git import Repository, unit_file
from facts.units.files import UnitFile, UnitsDir
from facts.units.states import SIGQUIT, STABLE, Masters, OurUnits, Rotation, UnitState
from hosts.schema import Host, Inventory


@statement(
    "UNIT-1",
    severity=Severity.BLOCKER,
    on="app",
    seed=["P2"],
    needs=["REPO-5"],
    remedy="units.install",
)
def test_app_unit_is_the_repositorys(
    unit_files: UnitsDir, our_units: OurUnits, repository: Repository, inv: Inventory
) -> None:
    """The app's unit on the server is the one in the repository, is for this host, and no drop-in changes it."""
    name = inv.app.unit
    wanted = repository.file(unit_file(name))
    here = unit_files.files.get(name)
    place, source = f"{unit_files.path}/{name}", f"{unit_file(name)} on {repository.branch}"
    require(wanted is not None, expected=source, seen="no such file", where=repository.url)
    link = unit_files.link_of(name)
    require(link is None, expected=f"a copy of {source}", seen=link.words if link else "", where=place)
    require(here is not None, expected=f"a copy of {source}", seen="no such file", where=place)
    assert wanted is not None
    assert here is not None
    require(
        here.is_same_as(wanted),
        expected=f"the text of {source}",
        seen=f"it differs: {difference(here.text, wanted)}",
        where=place,
    )
    require(
        here.may_start_on(inv.app_host.hostname),
        expected=f"a ConditionHost= that lets it start on {inv.app_host.hostname}",
        seen=", ".join(here.values("ConditionHost")),
        where=place,
    )
    strange = our_units.surprising_drop_ins
    require(not strange, expected="no drop-in", seen=", ".join(strange), where=f"{our_units.host}, {name}")
    for drop_in in our_units.harmful_drop_ins:
        require(
            False,
            expected="no drop-in that changes how it runs",
            seen=f"{', '.join(drop_in.changes)} in {drop_in.path}, for {drop_in.serves}",
            where=f"{our_units.host}, {name}",
        )


def difference(here: str, wanted: str) -> str:
    """The lines that only one of two texts has, shortened."""
    mine, theirs = here.split("\n"), wanted.split("\n")
    only_here = [f"-{line}" for line in mine if line.strip() and line not in theirs]
    only_there = [f"+{line}" for line in theirs if line.strip() and line not in mine]
    return "; ".join([*only_here, *only_there][:6]) or "the order of its lines"


@statement("UNIT-2", severity=Severity.MAJOR, on="live", seed=["C4"], needs=["UNIT-1"], remedy="units.reload")
def test_units_are_read_as_they_are(our_units: OurUnits) -> None:
    """The host's user manager has read the unit files as they are now (daemon-reload)."""
    stale = [unit.name for unit in our_units.all if unit.needs_reload]
    require(not stale, expected="NeedDaemonReload=no", seen=f"yes for {', '.join(stale)}", where=our_units.host)


@statement(
    "UNIT-3", severity=Severity.BLOCKER, on="app", seed=["C12"], needs=["UNIT-5"], remedy="units.enable"
)
def test_app_unit_is_enabled(our_units: OurUnits, unit_files: UnitsDir) -> None:
    """The app's unit is enabled, and starts again after a reboot."""
    app = our_units.app
    require(app.enablement == "enabled", expected="enabled", seen=app.enablement, where=f"{our_units.host}, {app.name}")
    link = f"{unit_files.path}/default.target.wants/{app.name}"
    leads = next((known.resolved for known in unit_files.wants(app.name) if known.path == link), None)
    absent = "a file, which starts nothing" if link in unit_files.copies else "no link"
    require(
        leads == unit_files.file_of(app.name),
        expected=f"a link to {unit_files.path}/{app.name}",
        seen=absent if leads is None else leads or "a link that leads nowhere",
        where=link,
    )


@statement(
    "UNIT-4",
    severity=Severity.BLOCKER,
    on="live",
    seed=["C6", "C11", "CT", "P2"],
    needs=["UNIT-5", "UNIT-3", "SOCK-3"],
    remedy="units.retire_legacy",
)
def test_legacy_units_are_gone(
    our_units: OurUnits, unit_files: UnitsDir, masters: Masters, inv: Inventory
) -> None:
    """The legacy units are stopped, disabled and removed, and nothing of theirs runs any more."""
    for unit in our_units.legacy:
        _is_gone(unit, unit_files)
    for master in masters.all:
        stage = next((tree for tree in inv.legacy_stages if (master.cwd + "/").startswith(tree + "/")), None)
        require(
            stage is None,
            expected="no application server that works in a legacy stage",
            seen=f"process {master.pid} ({master.unit or master.cgroup}) in {master.cwd}",
            where=masters.host,
        )


def _is_gone(unit: UnitState, files: UnitsDir) -> None:
    where = f"{unit.host}, {unit.name}"
    require(unit.active == "inactive", expected="inactive", seen=f"{unit.active} ({unit.sub})", where=where)
    require(unit.processes == 0, expected="no process in its cgroup", seen=f"{unit.processes}", where=where)
    links = [link.path for link in files.wants(unit.name)]
    require(not links, expected="no link that starts it", seen=", ".join(links), where=where)
    link, path = files.link_of(unit.name), f"{files.path}/{unit.name}"
    require(link is None, expected="no unit file", seen=f"{path}, {link.words if link else ''}", where=where)
    require(unit.name not in files.files, expected="no unit file", seen=path, where=where)
    left = files.left_of(unit.name)
    require(not left, expected="nothing else of that name among the units", seen=", ".join(left), where=where)
    require(not unit.exists, expected="unknown to the user manager", seen=f"{unit.load} from {unit.fragment}", where=where)


@statement(
    "UNIT-5",
    severity=Severity.BLOCKER,
    on="app",
    seed=["C9", "OS"],
    needs=["DEP-1", "RUBY-3", "RUBY-4", "SOLR-3", "SOLR-4", "UNIT-1", "UNIT-2", "UNIT-8"],
    remedy="units.cutover",
)
def test_app_unit_really_runs(our_units: OurUnits, masters: Masters) -> None:
    """The app's unit really runs, and alone: its own process, from the current release, for a while already."""
    app = our_units.app
    where = f"{our_units.host}, {app.name}"
    require(
        app.active == "active",
        expected="active",
        seen=f"{app.active} ({app.sub}), result {app.result}{held_back(our_units)}",
        where=where,
    )
    main = masters.settled(app)
    require(main is not None, expected="a main process", seen=f"MainPID={app.main_pid}, and no such process", where=where)
    assert main is not None
    require(
        main.cgroup.endswith(f"/{app.name}"),
        expected=f"its main process in the cgroup of {app.name}",
        seen=f"process {main.pid} is in {main.cgroup}: it was adopted from elsewhere",
        where=where,
    )
    require(
        main.cwd == masters.current,
        expected=f"its main process in the current release, {masters.current}",
        seen=f"process {main.pid} in {main.cwd}",
        where=where,
    )
    require(
        main.age >= STABLE,
        expected=f"a main process that stays for {STABLE:g} s",
        seen=f"one of {main.age:g} s, after {app.restarts} restarts by the manager: it dies again and again",
        where=where,
    )
    beside = [f"{unit.name} is {unit.active} ({unit.sub})" for unit in our_units.legacy if unit.starts_again]
    require(
        not beside,
        expected="no legacy unit beside it, which would take the socket as soon as it restarts",
        seen=", ".join(beside),
        where=where,
    )


def held_back(units: OurUnits) -> str:
    """That the gate of a run holds the app's unit back, and how it is opened; empty if it does not."""
    gate = units.gate
    if gate not in units.app.drop_ins:
        return ""
    return (
        f"; held back by {gate}, the gate that a run closed: --remediate opens it when it is time, and by hand it is"
        f" opened with `mv {gate} ~ && systemctl --user daemon-reload`"
    )


@statement(
    "UNIT-6",
    severity=Severity.BLOCKER,
    on="target",
    seed=["CT", "P2", "OS"],
    needs=["UNIT-1", "UNIT-5"],
    remedy="units.disable_extra",
)
def test_one_unit_claims_the_socket(unit_files: UnitsDir, inv: Inventory) -> None:
    """After a reboot no second unit starts the application on the app host, and none does on a legacy host."""
    app_host = inv.app_host
    here = [file.name for file in claimants(unit_files, app_host, inv)]
    where = f"{app_host.name}, {unit_files.path}"
    require(len(here) <= 1, expected="at most one enabled unit", seen=", ".join(here), where=where)
    for legacy in inv.legacy_live:
        there = [file.name for file in claimants(unit_files, legacy, inv)]
        require(
            not there,
            expected="no enabled unit that may start the application there",
            seen=f"{', '.join(there)} (ConditionHost= lets it)",
            where=f"{legacy.name}, {unit_files.path}",
        )


def claimants(files: UnitsDir, host: Host, inv: Inventory) -> list[UnitFile]:
    """Enabled units that would start the application of any stage on a host after a reboot."""
    return [
        file
        for file in files.files.values()
        if any(command.lstrip("-@+!:").startswith(f"{inv.stages.root}/") for command in file.values("ExecStart"))
        and file.may_start_on(host.hostname)
        and files.wants(file.name)
    ]


@statement(
    "UNIT-7", severity=Severity.MAJOR, on="app", seed=["C11", "CT", "OS"], needs=["UNIT-4"], remedy="units.sweep_links"
)
def test_no_unit_link_dangles(unit_files: UnitsDir) -> None:
    """No symlink among the account's units leads nowhere."""
    dangling = [f"{link.path} -> {link.target}" for link in unit_files.dangling]
    require(not dangling, expected="no dangling symlink", seen=", ".join(dangling), where=unit_files.path)


@statement(
    "UNIT-8", severity=Severity.MAJOR, on="app", seed=["C3"], needs=["UNIT-1"], remedy="units.install_logrotate"
)
def test_log_rotation_acts_on_the_app_unit(unit_files: UnitsDir, inv: Inventory) -> None:
    """The log rotation's unit restarts the app's unit, and belongs to the app host."""
    name = inv.app.logrotate_unit
    where = f"{unit_files.path}/{name}"
    file = unit_files.files.get(name)
    require(file is not None, expected="the unit file", seen="no such file", where=where)
    assert file is not None
    after = file.values("ExecStartPost")
    require(
        len(after) == 1 and inv.app.unit in after[0].split() and "--user" in after[0].split(),
        expected=f"one ExecStartPost= that acts on {inv.app.unit} of the user manager",
        seen="; ".join(after) or "none",
        where=where,
    )
    hosts = file.values("ConditionHost")
    require(
        hosts == (inv.app_host.hostname,),
        expected=f"ConditionHost={inv.app_host.hostname}",
        seen=", ".join(hosts) or "no ConditionHost=",
        where=where,
    )


@statement(
    "UNIT-9",
    severity=Severity.MINOR,
    on="app",
    seed=["C3"],
    needs=["UNIT-8", "UNIT-5", "UNIT-4"],
    remedy="units.start_timer",
)
def test_log_rotation_is_scheduled(our_units: OurUnits, rotation: Rotation, inv: Inventory) -> None:
    """The log rotation's timer is enabled and waiting, and a dry run finds the application's logs without complaint."""
    timer = our_units.timer
    where = f"{our_units.host}, {timer.name}"
    require(timer.enablement == "enabled", expected="enabled", seen=timer.enablement, where=where)
    require(timer.active == "active", expected="active (waiting)", seen=f"{timer.active} ({timer.sub})", where=where)
    legacy = [stage for stage in inv.legacy_stages if f"{stage}/" in rotation.text]
    require(not legacy, expected="no path of a legacy stage", seen=", ".join(legacy), where=rotation.config)
    require(
        not rotation.complaints,
        expected="a dry run without errors",
        seen="; ".join(rotation.complaints[:3]),
        where=rotation.config,
    )
    logs = f"{inv.shared}/log/"
    require(
        any(path.startswith(logs) for path in rotation.considered),
        expected=f"a log below {logs} considered",
        seen=", ".join(rotation.considered) or "none",
        where=rotation.config,
    )


@statement(
    "UNIT-10",
    severity=Severity.MINOR,
    on="app",
    seed=["CT"],
    needs=["REPO-5"],
    remedy="units.install",
)
def test_app_unit_stops_gracefully(our_units: OurUnits, inv: Inventory) -> None:
    """Stopping the app's unit lets requests in progress finish."""
    app = our_units.app
    where = f"{our_units.host}, {app.name}"
    require(app.kill_signal == SIGQUIT, expected=f"KillSignal={SIGQUIT} (QUIT)", seen=app.kill_signal, where=where)
    require(app.kill_mode == "mixed", expected="KillMode=mixed", seen=app.kill_mode, where=where)
    require(
        app.stop_timeout >= inv.app.stop_timeout,
        expected=f"TimeoutStopSec= of at least {inv.app.stop_timeout} s",
        seen=f"{app.stop_timeout:g} s",
        where=where,
    )
    require(not app.exec_stop, expected="no ExecStop= (what follows it at once is a kill)", seen=app.exec_stop, where=where)
