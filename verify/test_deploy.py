"""The deploy: the current release is the newest, whole, and made of the branch."""

from __future__ import annotations

from converge.checking.statement import Severity, require, statement
from facts.deploy import Stage
from facts.repo.git import RECENT, Repository
from facts.sockets import Sockets, Upstream
from facts.units.states import OurUnits
from hosts.schema import Inventory
from verify.needs import DEPLOY

IDLE = ("config/deploy/", "config/systemd/", "lib/capistrano/")
IDLE_FILES = {"Capfile", "config/deploy.rb", "README.md", "CHANGELOG.md"}


def undeployed(repository: Repository, revision: str) -> list[str] | None:
    """What was committed since `revision` and would change the running application; None if it is no recent commit.

    What only a deploy itself or a person reads (Capistrano's files, unit files, which are brought to the host by
    themselves) makes no release stale.
    """
    touched: list[str] = []
    for commit in repository.recent:
        if commit.sha == revision:
            return [path for path in dict.fromkeys(touched) if not path.startswith(IDLE) and path not in IDLE_FILES]
        touched += commit.touched
    return None


@statement("DEP-5", severity=Severity.MAJOR, on="app", seed=["C8", "CT"], remedy="deploy.hold_back")
def test_deploy_starts_no_second_copy(our_units: OurUnits, sockets: Sockets, upstream: Upstream) -> None:
    """While a legacy unit serves, a deploy does not start the app's unit beside it, on the same socket and PID file."""
    app, serving = our_units.app, {owner.unit for owner in sockets.owners(upstream.chosen)}
    old = sorted(serving & {unit.name for unit in our_units.legacy})
    gate = our_units.gate
    kind = "a gate that something can open" if gate in app.drop_ins else "no gate"
    require(
        not old or app.name in serving or our_units.gate_is_closed,
        expected=f"a closed gate, {gate}, as long as {' and '.join(old)} serves",
        seen=f"{kind}: a deploy ends with a restart of {app.name}, and only conditions in its unit file may keep that from"
        " starting it",
        where=our_units.host,
    )


@statement(
    "DEP-1",
    severity=Severity.BLOCKER,
    seed=["C8", "BG"],
    needs=DEPLOY,
    remedy="deploy.deploy",
)
def test_current_release_is_the_branch(stage: Stage, repository: Repository, inv: Inventory, at: str) -> None:
    """The target stage's current release is its newest, its deploy came to its end, and it has all that is to be merged,
    and the files that a deploy must leave."""
    require(
        bool(stage.current) and stage.release == stage.newest,
        expected=f"{inv.current} leads to the newest release {stage.newest or '(there is none)'}",
        seen=stage.current or "no link",
        where=at,
    )
    require(
        not stage.is_half,
        expected=f"the last line of revisions.log is about release {stage.release}",
        seen=f"{stage.logged_line or 'no line'} (the deploy of {stage.release} was cut off half-way, or is still going on)",
        where=f"{inv.stage}/revisions.log on {at}",
    )
    legacy = inv.repository.legacy_branch
    require(
        not repository.unmerged,
        expected=f"a release of {repository.branch} with all of {legacy} in it",
        seen=f"{len(repository.unmerged)} commits of {legacy} are not merged, so no release of {repository.branch} has them",
        where=f"{inv.current}/REVISION on {at} ({stage.revision[:8] or 'none'})",
    )
    changed = undeployed(repository, stage.revision)
    require(
        changed is not None and not changed,
        expected=f"what {repository.branch} has at {repository.url} ({repository.head[:8]})",
        seen=f"{stage.revision[:8] or 'no REVISION'}, "
        + (f"without {', '.join(changed[:6])}" if changed else f"not among the branch's last {RECENT} commits"),
        where=f"{inv.current}/REVISION on {at}",
    )
    require(
        not stage.lacking,
        expected=f"a release that has {' and '.join(names.replace('|', ' or ') for names in stage.lacking)}",
        seen="no such file: the deploy did not make it, or somebody took it away since",
        where=f"{inv.current} on {at}",
    )
