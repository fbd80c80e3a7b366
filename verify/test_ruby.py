"""Ruby: the wanted one runs here, runs the app, and its gems link."""

from __future__ import annotations

from collections.abc import Mapping

from converge.checking.statement import Severity, require, statement
from facts.repo.git import Repository
from facts.ruby import Bundle, BundleCheck, BundleDir, Ruby, old_bundles, wanted_ruby
from facts.units.states import Masters, OurUnits
from hosts.schema import Inventory
from verify.needs import DEPLOY


@statement(
    "RUBY-1",
    severity=Severity.BLOCKER,
    seed=["P1", "BG"],
    needs=["HOST-1"],
    manual="Install that Ruby on {inv.app_host.hostname}, as {inv.account.user}: `rvm install` and the version that "
    "is expected above; where it is there but does not link, `rvm reinstall` and that version. `ldd` of its program must "
    "find every library.",
)
def test_ruby_runs_on_the_app_host(rubies: Mapping[str, Ruby], repository: Repository, inv: Inventory, at: str) -> None:
    """The Ruby that the application asks for is installed on the app host, runs there, and finds all its libraries."""
    version = wanted_ruby(inv, repository)
    path = inv.ruby.executable.replace("{version}", version)
    found = rubies.get(version)
    require(
        found is not None,
        expected=f"{path} exists",
        seen=f"installed are {', '.join(sorted(rubies)) or 'none'}",
        where=at,
    )
    assert found
    require(
        found.runs,
        expected=f"`{path} -v` prints ruby {version}",
        seen=f"status {found.rc}, {found.words}" + (f"; not found: {', '.join(found.missing)}" if found.missing else ""),
        where=at,
    )


@statement(
    "RUBY-2",
    severity=Severity.BLOCKER,
    seed=["P1"],
    needs=["UNIT-5", "UNIT-10", "RUBY-1", "RUBY-3", "RUBY-4"],
    remedy="ruby.restart",
)
def test_app_runs_on_that_ruby(
    our_units: OurUnits, masters: Masters, repository: Repository, inv: Inventory, at: str
) -> None:
    """The app's main process runs on the Ruby that the application asks for."""
    wanted = inv.ruby.executable.replace("{version}", wanted_ruby(inv, repository))
    main = masters.settled(our_units.app)
    require(
        main is not None and main.exe == wanted,
        expected=wanted,
        seen=main.exe if main else f"{inv.app.unit} has no main process",
        where=f"/proc/{main.pid if main else 'PID'}/exe on {at}",
    )


@statement("RUBY-3", severity=Severity.BLOCKER, seed=["P1", "C7"], needs=["RUBY-1", "DEP-1"], remedy="ruby.rebuild")
def test_gems_link_on_the_app_host(bundle: Bundle, repository: Repository, inv: Inventory, at: str) -> None:
    """The current release's gems were built for the wanted Ruby, and all that is compiled in them links on the app host."""
    version = wanted_ruby(inv, repository)
    where = f"{bundle.path or inv.current + '/.bundle/config'} on {at}"
    require(
        bool(bundle.path and bundle.abis),
        expected="a folder of gems for the current release",
        seen=bundle.configured or "no BUNDLE_PATH",
        where=where,
    )
    require(
        bundle.ruby == version,
        expected=f"the current release asks for Ruby {version}",
        seen=bundle.ruby or "none",
        where=f"{inv.current}/Gemfile on {at}",
    )
    strangers = [built for built in bundle.built_by if built != version]
    require(
        not strangers,
        expected=f"extensions that Ruby {version} built",
        seen=f"the build logs name {', '.join(strangers)}",
        where=where,
    )
    require(
        not bundle.broken,
        expected=f"every library of {bundle.extensions} extensions is found",
        seen="; ".join(f"{found.path.removeprefix(bundle.path + '/')}: {found.why}" for found in bundle.broken[:4])
        + (f" and {len(bundle.broken) - 4} more" if len(bundle.broken) > 4 else ""),
        where=where,
    )


@statement("RUBY-4", severity=Severity.BLOCKER, seed=["C7"], needs=["DEP-1", *DEPLOY], remedy="deploy.deploy")
def test_bundle_is_complete(bundle: Bundle, bundle_check: BundleCheck, inv: Inventory, at: str) -> None:
    """The current release's gems are all there, in the target stage's shared folder."""
    require(
        bundle.path.startswith(f"{inv.shared}/"),
        expected=f"BUNDLE_PATH below {inv.shared}",
        seen=bundle.configured or "no BUNDLE_PATH",
        where=f"{inv.current}/.bundle/config on {at}",
    )
    require(
        bundle_check.is_complete,
        expected="`bundle check` is satisfied",
        seen=bundle_check.words or f"status {bundle_check.rc}",
        where=f"{inv.current} on {at}",
    )


@statement(
    "RUBY-5",
    severity=Severity.MINOR,
    seed=["C7"],
    needs=["RUBY-3", "RUBY-4", "UNIT-4", "UNIT-5", "SOLR-2"],
    remedy="ruby.retire_bundles",
    late=True,
    soak=True,
)
def test_old_gems_are_gone(
    bundle_dirs: tuple[BundleDir, ...],
    bundles_aside: tuple[BundleDir, ...],
    bundle: Bundle,
    repository: Repository,
    inv: Inventory,
    at: str,
) -> None:
    """Beside the current release's gems there are no older ones (moved aside counts), and no process uses any."""
    version = wanted_ruby(inv, repository)
    old = old_bundles(bundle_dirs, bundle, version)
    require(
        not old,
        expected=f"only the gems of a release for Ruby {version}",
        seen="; ".join(
            found.path + (f" (used by {', '.join(map(str, found.pids))})" if found.pids else "") for found in old
        ),
        where=f"{inv.shared} on {at}",
    )
    require(
        not bundles_aside,
        expected="no process that uses gems which were moved aside",
        seen="; ".join(f"{found.path} (used by {', '.join(map(str, found.pids))})" for found in bundles_aside),
        where=f"{inv.attic} on {at}",
    )
