"""The repository: what `cap` would deploy, judged at the server that it would be fetched from."""

from __future__ import annotations

import re

from converge.checking.statement import Severity, require, statement
from converge.errors import Unobservable
from facts.parsing import time_span
from facts.repo.config_files import (
    after_publishing,
    directives,
    gemfile_ruby,
    lock_ruby,
    plain_version,
    same_repository,
    server,
    setting,
    unicorn,
    without_comments,
)
from facts.repo.git import Repository, stage_config, unicorn_config, unit_file
from facts.ruby import wanted_ruby
from hosts.schema import Inventory

ORDER = ("restart_solr", "reindex_sunspot", "restart_unicorn")


def text_of(repository: Repository, path: str) -> str:
    """A file's text on the branch; a missing file fails the statement that asks."""
    text = repository.file(path)
    require(
        text is not None,
        expected=f"{path} exists",
        seen="no such file",
        where=f"{repository.branch} at {repository.url}",
    )
    return text or ""


def place(repository: Repository, path: str) -> str:
    """Where a file was read, for messages."""
    return f"{path} on {repository.branch} ({repository.head[:8]}) at {repository.url}"


@statement("REPO-1", severity=Severity.BLOCKER, on="control", seed=["C2"], needs=["REPO-6"], remedy="repo.deploy_tasks")
def test_deploy_tasks_drive_the_app_unit(repository: Repository, inv: Inventory) -> None:
    """deploy.rb starts, stops and restarts the app's unit, and no legacy one."""
    path = "config/deploy.rb"
    code = without_comments(text_of(repository, path))
    ours = len(re.findall(rf"(?<![\w-]){re.escape(inv.app.unit)}(?![\w-])", code))
    old = {
        unit: len(re.findall(rf"(?<![\w-]){re.escape(unit.removesuffix('.service'))}(?![\w-])", code))
        for unit in inv.app.legacy_units
    }
    require(
        ours >= 3 and not any(old.values()),
        expected=f"{inv.app.unit} 3 times (start, stop, restart), legacy units 0 times",
        seen=f"{inv.app.unit} {ours} times, " + ", ".join(f"{unit} {count} times" for unit, count in old.items()),
        where=place(repository, path),
    )


@statement("REPO-2", severity=Severity.BLOCKER, on="control", seed=["CT"], needs=["REPO-6"], remedy="repo.stage")
def test_target_stage_is_configured(repository: Repository, inv: Inventory) -> None:
    """The target stage deploys the branch to the app host, into the target stage's own tree."""
    path = stage_config(inv)
    text = text_of(repository, path)
    for name, wanted, seen in (
        ("server", inv.stages.server, server(text)),
        ("deploy_to", inv.stage, setting(text, "deploy_to")),
        ("branch", inv.repository.branch, setting(text, "branch")),
    ):
        require(seen == wanted, expected=f"{name} {wanted}", seen=seen or "not set", where=place(repository, path))


@statement("REPO-3", severity=Severity.BLOCKER, on="control", seed=["P1"], needs=["REPO-6"], remedy="repo.ruby")
def test_one_ruby_is_named_everywhere(repository: Repository, inv: Inventory) -> None:
    """Gemfile, its lock and the target stage's rvm name one Ruby, and each Ruby's gems go into a folder of their own."""
    wanted = wanted_ruby(inv, repository)
    gemfile, stage = text_of(repository, "Gemfile"), text_of(repository, stage_config(inv))
    named = {
        "Gemfile": gemfile_ruby(gemfile),
        "Gemfile.lock": lock_ruby(text_of(repository, "Gemfile.lock")),
        stage_config(inv): plain_version(setting(stage, "rvm_ruby_version")),
    }
    if pinned := repository.file(".ruby-version"):
        named[".ruby-version"] = plain_version(pinned)
    require(
        set(named.values()) == {wanted},
        expected=f"Ruby {wanted} in " + ", ".join(named),
        seen=", ".join(f"{version or 'none'} in {path}" for path, version in named.items() if version != wanted),
        where=f"{repository.branch} ({repository.head[:8]}) at {repository.url}",
    )
    path = "config/deploy.rb"
    bundle_path = setting(text_of(repository, path), "bundle_path") or setting(stage, "bundle_path") or ""
    require(
        "rvm_ruby_version" in bundle_path or wanted in bundle_path,
        expected="bundle_path ends in the Ruby's version, because Bundler never rebuilds a gem that it finds there",
        seen=bundle_path or "no bundle_path: all rubies share shared/bundle",
        where=place(repository, path),
    )


@statement("REPO-4", severity=Severity.BLOCKER, on="control", seed=["CT"], needs=["REPO-6"], remedy="repo.unicorn")
def test_unicorn_lives_in_the_target_stage(repository: Repository, inv: Inventory) -> None:
    """unicorn works in the target stage's current release, keeps its pid there, and listens on the one socket."""
    path = unicorn_config(inv)
    seen = unicorn(text_of(repository, path))
    where = place(repository, path)
    require(
        seen.working_directory == inv.current,
        expected=f"working_directory {inv.current}",
        seen=f"{seen.working_directory or 'none'} (unicorn would run that tree's code, whatever was deployed)",
        where=where,
    )
    require(
        (seen.pid or "").removeprefix(f"{inv.current}/").startswith("tmp/pids/"),
        expected="pid below tmp/pids/ of the release",
        seen=seen.pid or "none",
        where=where,
    )
    require(
        seen.listens == (inv.web.listen,) and inv.web.listen.startswith(f"{inv.web.socket_dir}/"),
        expected=f"one listen, {inv.web.listen}",
        seen=", ".join(seen.listens) or "none",
        where=where,
    )


@statement("REPO-5", severity=Severity.MAJOR, on="control", seed=["P2", "C3"], needs=["REPO-6"], remedy="repo.units")
def test_unit_files_fit_the_app_host(repository: Repository, inv: Inventory) -> None:
    """The repository's unit files are for the app host, speak of the target stage alone, and stop the app gracefully."""
    path = unit_file(inv.app.unit)
    text = text_of(repository, path)
    said = directives(text)
    hostname = inv.app_host.hostname
    _require_host(said, hostname, place(repository, path))
    strangers = [
        value for values in said.values() for value in values for stage in inv.legacy_stages if f"{stage}/" in f"{value}/"
    ]
    require(
        not strangers and any(value.startswith(f"{inv.current}/") for value in said.get("ExecStart", [])),
        expected=f"every path below {inv.current}",
        seen="; ".join(strangers) or f"ExecStart {said.get('ExecStart', ['missing'])[0]}",
        where=place(repository, path),
    )
    _require_graceful(said, inv, place(repository, path))
    path = unit_file(inv.app.logrotate_unit)
    said = directives(text_of(repository, path))
    _require_host(said, hostname, place(repository, path))
    after = said.get("ExecStartPost", [])
    require(
        any(inv.app.unit in value.split() for value in after)
        and not any(unit in value for unit in inv.app.legacy_units for value in after),
        expected=f"ExecStartPost acts on {inv.app.unit}",
        seen="; ".join(after) or "no ExecStartPost",
        where=place(repository, path),
    )


def _require_host(said: dict[str, list[str]], hostname: str, where: str) -> None:
    seen = said.get("ConditionHost", [])
    require(
        seen == [hostname],
        expected=f"ConditionHost={hostname}",
        seen=", ".join(seen) or "no ConditionHost: the unit would start on every host of the shared home",
        where=where,
    )


def _require_graceful(said: dict[str, list[str]], inv: Inventory, where: str) -> None:
    written = (said.get("TimeoutStopSec") or ["0"])[-1]
    timeout = float(written) if written.isdigit() else time_span(written)
    seen = {
        name: (said.get(name) or ["not set"])[-1]
        for name in ("KillSignal", "KillMode", "TimeoutStopSec", "ExecStop", "PIDFile")
    }
    require(
        seen["KillSignal"] == "SIGQUIT"
        and seen["KillMode"] == "mixed"
        and timeout >= inv.app.stop_timeout
        and not {"ExecStop", "PIDFile"} & set(said),
        expected="KillSignal=SIGQUIT, KillMode=mixed, no ExecStop, no PIDFile, "
        f"TimeoutStopSec of at least {inv.app.stop_timeout} s",
        seen=", ".join(f"{name} {value}" for name, value in seen.items()),
        where=where,
    )


@statement("REPO-6", severity=Severity.BLOCKER, on="control", seed=["C5"], remedy="repo.merge")
def test_legacy_branch_is_merged(repository: Repository, inv: Inventory) -> None:
    """Everything on the legacy branch is merged, or the branch is gone."""
    commits = [f"{commit.sha[:8]} {commit.subject}" for commit in repository.unmerged]
    more = f" and {len(commits) - 5} more" if len(commits) > 5 else ""
    require(
        not commits,
        expected=f"every commit of {inv.repository.legacy_branch} is in {repository.branch}",
        seen=f"not merged: {'; '.join(commits[:5])}{more}",
        where=f"{repository.branch} ({repository.head[:8]}) at {repository.url}",
    )


@statement("REPO-7", severity=Severity.BLOCKER, on="control", seed=["C5"], needs=["REPO-6"], remedy="repo.source")
def test_deploys_come_from_the_reviewed_branch(repository: Repository, inv: Inventory) -> None:
    """What `cap` fetches is the repository of the inventory, and its branch is where the reviewed one is."""
    path = "config/deploy.rb"
    seen = setting(text_of(repository, path), "repo_url") or ""
    require(
        same_repository(seen, repository.url),
        expected=f"repo_url {repository.url}",
        seen=f"{seen or 'not set'}: either deploy.rb or repository.url of the inventory is stale",
        where=place(repository, path),
    )
    if inv.repository.reviewed_url is None:
        return
    if repository.reviewed_head is None:
        raise Unobservable(f"{inv.repository.reviewed_url} did not say where its {repository.branch} is")
    require(
        repository.reviewed_head == repository.head,
        expected=f"{repository.branch} at {inv.repository.reviewed_url}: {repository.reviewed_head[:8]}",
        seen=repository.head[:8],
        where=f"{repository.branch} at {repository.url}",
        do=f"bring both to one commit: `git push {repository.url} {repository.reviewed_head[:8]}:{repository.branch}`, if "
        "that is a fast-forward; else ask who pushed to it without review",
    )


@statement(
    "REPO-8",
    severity=Severity.MINOR,
    on="control",
    seed=["CT"],
    needs=["FS-8"],
    remedy="repo.leftovers",
    late=True,
    soak=True,
)
def test_no_leftovers_of_the_legacy_stage(repository: Repository, inv: Inventory) -> None:
    """The repository names the legacy stage no more: `cap` cannot bring it back by mistake."""
    files = repository.legacy_stages(inv)
    lines = [f"{found.path}:{found.line}" for found in repository.mentions if found.path not in files]
    require(
        not files and not lines,
        expected="no configuration of the legacy stage, no line that names it",
        seen=", ".join([*files, *lines]),
        where=f"{repository.branch} ({repository.head[:8]}) at {repository.url}",
    )


@statement("REPO-9", severity=Severity.MAJOR, on="control", seed=["P3"], needs=["REPO-6"], remedy="repo.hooks")
def test_solr_restarts_before_the_app(repository: Repository) -> None:
    """A deploy restarts Solr and its index first and the app last, because the app decides on Solr once, when it boots."""
    path = "config/deploy.rb"
    seen = tuple(name for name in after_publishing(text_of(repository, path)) if name in ORDER)
    require(
        seen == ORDER,
        expected="after publishing: " + ", ".join(ORDER),
        seen=", ".join(seen) or "none of them",
        where=place(repository, path),
    )
