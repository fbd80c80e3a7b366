"""The repository's remedies, run against a real repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from converge.steps import NothingToDo
from facts.repo.git import Repository, repository
from hosts.schema import Inventory
from remediate import repo
from tests.facts.test_repo import git
from tests.remediate import world
from tests.remediate.test_repo_patches import FILES
from tests.targets import ask, inventory
from verify import test_repo as statements

GOOD = FILES["config/deploy.rb"].replace("-migrate", "").replace("# Deployed to hkn-rails.service for now.\n", "")


def commit(tree: Path, files: dict[str, str], message: str) -> None:
    for path, text in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", message)


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inventory:
    """A forge whose master is old, and whose migrate is what the app host runs."""
    monkeypatch.setenv("HOME", str(tmp_path))
    tree, forge = tmp_path / "tree", tmp_path / "forge.git"
    tree.mkdir()
    git(tree, "init", "-q", "-b", "master")
    commit(tree, {**FILES, "config/deploy.rb": GOOD, "Gemfile": "ruby '2.5.0'\n"}, "old")
    git(tree, "checkout", "-qb", "migrate")
    commit(tree, {**FILES, "config/deploy/migrate.rb": "set :branch, 'migrate'\n"}, "new")
    git(tree, "clone", "-q", "--bare", ".", str(forge))
    return inventory(repository={"url": str(forge)}, ruby={"version": "auto"})


def seen(inv: Inventory) -> Repository:
    return ask(repository, inv)


def holds(statement: Callable[..., None], *values: object) -> bool:
    try:
        statement(*values)
    except AssertionError:
        return False
    return True


def test_the_merge_brings_nothing_that_a_deploy_would_trip_over(target: Inventory, tmp_path: Path) -> None:
    planned = world.planned(repo.merge, target, tmp_path)
    assert world.converge(repo.merge, target, tmp_path) == planned == ["REPO-6/checkout", "REPO-6/change", "REPO-6/push"]
    after = seen(target)
    assert after.unmerged == ()
    assert [found.subject.split()[0] for found in after.recent] == ["Return", "Merge", "old"]
    for statement in (
        statements.test_deploy_tasks_drive_the_app_unit,
        statements.test_target_stage_is_configured,
        statements.test_one_ruby_is_named_everywhere,
        statements.test_unicorn_lives_in_the_target_stage,
        statements.test_unit_files_fit_the_app_host,
    ):
        assert holds(statement, after, target), statement
    assert holds(statements.test_solr_restarts_before_the_app, after)


def without_legacy_branch(inv: Inventory) -> None:
    git(Path(inv.repository.url), "branch", "-qD", "migrate")


def test_what_the_merge_sets_right_is_left_to_it(target: Inventory, tmp_path: Path) -> None:
    with pytest.raises(NothingToDo, match="REPO-6"):
        world.planned(repo.unicorn, target, tmp_path)


def test_one_patch_is_one_commit_that_changes_nothing_else(target: Inventory, tmp_path: Path) -> None:
    without_legacy_branch(target)
    assert world.converge(repo.unicorn, target, tmp_path)[-1] == "REPO-4/push"
    after = seen(target)
    assert after.recent[0].touched == ("config/unicorn/prod.rb",)
    assert holds(statements.test_unicorn_lives_in_the_target_stage, after, target)
    with pytest.raises(NothingToDo, match="no patch changes anything"):
        world.planned(repo.unicorn, target, tmp_path)


def test_leftovers_are_taken_away_by_a_commit(target: Inventory, tmp_path: Path) -> None:
    world.converge(repo.merge, target, tmp_path)
    world.converge(repo.leftovers, target, tmp_path)
    after = seen(target)
    assert after.file("config/deploy/migrate.rb") is None
    assert holds(statements.test_no_leftovers_of_the_legacy_stage, after, target)
    assert "config/deploy/migrate.rb" in after.recent[0].touched


def test_nothing_is_pushed_over_what_somebody_else_pushed(target: Inventory, tmp_path: Path) -> None:
    without_legacy_branch(target)
    steps = repo.unicorn(world.context(target, tmp_path))
    first = next(steps)
    assert world.run(first, target, tmp_path, 1).returncode == 0
    tree = tmp_path / "tree"
    git(tree, "checkout", "-q", "master")
    commit(tree, {"README.md": "hello\n"}, "somebody else's")
    git(tree, "push", "-q", target.repository.url, "master")
    results = [world.run(step, target, tmp_path, number) for number, step in enumerate(steps, 2)]
    assert results[-1].returncode == 75
    assert "not so any more" in results[-1].stderr
    assert seen(target).recent[0].subject == "somebody else's"


def test_a_merge_that_conflicts_is_a_persons(target: Inventory, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    git(tree, "checkout", "-q", "master")
    commit(tree, {"Gemfile": "ruby '1.9.3'\n"}, "clash")
    git(tree, "push", "-q", target.repository.url, "master")
    step = next(repo.merge(world.context(target, tmp_path)))
    result = world.run(step, target, tmp_path, 1)
    assert result.returncode == 70
    assert "a person must merge them" in result.stderr
