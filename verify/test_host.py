"""Hosts: the right ones answer, share one home, and can keep the account's services running."""

from __future__ import annotations

from collections.abc import Mapping

from converge.checking.statement import Severity, require, statement
from converge.errors import TooYoung
from facts.host.account import HomeMount, Identity, User, UserManager
from facts.host.activity import Activity
from facts.units.states import STABLE
from hosts.schema import Inventory


@statement(
    "HOST-1",
    severity=Severity.BLOCKER,
    on="live",
    seed=["BG"],
    manual="If only the release differs, correct `release` in {inv.file}. Otherwise the login went to another machine than "
    "the inventory means: compare `ssh HOST hostname`, the addresses in {inv.file} and your ~/.ssh/config, and correct "
    "whichever is stale. Nothing is to be changed on the hosts.",
)
def test_login_lands_on_the_intended_host(identity: Identity, inv: Inventory, at: str) -> None:
    """A login lands on the host, Debian release and account that the inventory names."""
    host = inv.hosts[at]
    require(
        identity.hostname == host.hostname,
        expected=f"a login to {host.address} lands on {host.hostname}",
        seen=f"hostname prints {identity.hostname}",
        where=f"{at}, hosts.{at} of {inv.file or inv.name}",
    )
    require(
        host.release in {"auto", identity.release},
        expected=f"release {host.release}, as the inventory says",
        seen=f"VERSION_ID {identity.release}: it is the host of that name, and its word counts, so the inventory is probably"
        " stale (the host was upgraded)"
        if identity.release
        else "no VERSION_ID",
        where=f"/etc/os-release on {at}, hosts.{at}.release of {inv.file or inv.name}",
    )
    account = inv.account
    require(
        identity.user == account.user and account.uid in {None, identity.uid},
        expected=f"account {account.user}" + (f" with uid {account.uid}" if account.uid is not None else ""),
        seen=f"{identity.user} with uid {identity.uid}",
        where=f"id on {at}",
    )


@statement(
    "HOST-2",
    severity=Severity.BLOCKER,
    on="app",
    seed=["OS"],
    needs=["HOST-1"],
    manual="If a failed unit is named above, `systemctl --user status UNIT` says why; mend that, then let the manager "
    "forget it: `systemctl --user reset-failed UNIT`. All else only the hosting staff can mend. Ask them to put "
    "{inv.account.user} into the group {inv.account.group} on {inv.app_host.hostname}, to let it linger (`loginctl "
    "enable-linger {inv.account.user}`), and to see why its user manager does not run (`systemctl status user@UID`).",
)
def test_user_manager_is_reachable_and_lingers(
    user_manager: UserManager, account: User, inv: Inventory, at: str
) -> None:
    """The account's user manager runs on the app host, lingers without a login, and the account is in the group for it."""
    name = inv.account.user
    where = f"the user manager of {name} on {at}"
    if user_manager.state == "starting":
        raise TooYoung(f"{where}, which is still starting", STABLE)
    require(
        user_manager.state in {"running", "degraded"},
        expected="systemctl --user is-system-running says running (or degraded, by nothing of the application's)",
        seen=user_manager.words or "nothing",
        where=where,
    )
    ours = unjudged_failures(user_manager, inv)
    require(not ours, expected="no failed unit of the application's", seen=f"failed: {', '.join(ours)}", where=where)
    require(
        user_manager.lingers,
        expected="lingering is on: services start at boot, and stay when the last login ends",
        seen=f"/var/lib/systemd/linger/{name} does not exist",
        where=at,
    )
    groups = account.groups
    require(
        inv.account.group in groups,
        expected=f"{name} is in the group {inv.account.group}",
        seen=f"groups {' '.join(groups)}",
        where=f"id -nG {name} on {at}",
    )


def unjudged_failures(manager: UserManager, inv: Inventory) -> list[str]:
    """Failed units of the target that no other statement tells of.

    That the app's unit, a legacy one or the timer is not as it should be is said by UNIT-5, UNIT-4 and UNIT-9, whose
    remedies mend it: a manager that is degraded by them must keep nothing from being started.
    """
    judged = {inv.app.unit, *inv.app.legacy_units, inv.app.logrotate_timer}
    ours = {*judged, inv.app.logrotate_unit}
    return [unit for unit in manager.failed if unit in ours - judged]


@statement(
    "HOST-3",
    severity=Severity.BLOCKER,
    on="target",
    seed=["OS"],
    needs=["HOST-1"],
    manual="The hosts do not show one home. Ask the hosting staff how {inv.account.home} is mounted on each of them, and "
    "change nothing below it until that is answered: what is written on one host may not exist on the other.",
)
def test_live_hosts_share_one_home(home_mount: Mapping[str, HomeMount], inv: Inventory) -> None:
    """All live hosts have the account's home from one and the same file system, of the expected type."""
    for name, mount in home_mount.items():
        require(
            mount.fstype in inv.account.home_fs,
            expected=f"{inv.account.home} on {' or '.join(inv.account.home_fs)}",
            seen=f"{mount.fstype} ({mount.source})",
            where=f"findmnt -T {inv.account.home} on {name}",
        )
    by_inodes: dict[tuple[tuple[str, int | None], ...], list[str]] = {}
    for name, mount in home_mount.items():
        by_inodes.setdefault(mount.inodes, []).append(name)
    require(
        len(by_inodes) <= 1,
        expected="the same inodes on every live host",
        seen="; ".join(f"{' and '.join(names)}: {dict(inodes)}" for inodes, names in by_inodes.items()),
        where=f"stat -c %i of {inv.account.home}, {inv.stages.root} and {inv.units_dir}",
    )


@statement(
    "HOST-4",
    severity=Severity.MAJOR,
    on="legacy",
    seed=["BG", "P2"],
    needs=["HOST-3", "UNIT-5"],
    remedy="host.idle",
)
def test_legacy_host_is_idle(activity: Activity, at: str) -> None:
    """A legacy host that is not retired runs nothing of the application: no active unit, no server process."""
    servers = "; ".join(f"process {s.pid} ({s.cmdline}) in {s.cwd}" for s in activity.servers if s.is_master)
    require(
        activity.is_idle,
        expected="no active unit of the application, and none of its server processes",
        seen="; ".join([*(f"{name} is active" for name in activity.active_units), servers]).strip("; ") or "workers only",
        where=at,
    )
