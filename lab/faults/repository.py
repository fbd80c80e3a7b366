"""Faults of the source: each is a commit pushed to the forge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lab.faults.model import Fault, fault
from lab.lab import Lab
from lab.payload.capistrano import checkout, transport
from lab.payload.control import git
from lab.payload.places import APP_UNIT, LOGROTATE_UNIT, MIGRATE, OWNER, PROD, UNITS
from lab.payload.units import reload

_DEPLOY = "config/deploy.rb"
_STAGE = "config/deploy/production.rb"
_LAST_HOOKS = "  after :publishing, :reindex_sunspot\n  after :publishing, :restart_unicorn\n"


def push(lab: Lab, change: Callable[[Path], None], *, branch: str = "master") -> None:
    """Commit what ``change`` does to a checkout of ``branch``, and push it."""
    with checkout(lab, branch) as tree:
        change(tree)
        git(tree, "add", "-A")
        git(tree, "commit", "-q", "-m", "Change something")
        git(tree, "push", "-q", "origin", branch, env=transport(lab))


def replace(path: str, old: str, new: str) -> Callable[[Path], None]:
    """Replace the first ``old`` in a file of a checkout; ValueError when there is none."""

    def change(tree: Path) -> None:
        text = (tree / path).read_text()
        if old not in text:
            raise ValueError(f"{path} does not have {old!r}")
        (tree / path).write_text(text.replace(old, new, 1))

    return change


def _pushed(path: str, old: str, new: str) -> Callable[[Lab], None]:
    return lambda lab: push(lab, replace(path, old, new))


def _old_ruby(lab: Lab) -> None:
    known = lab.facts["ruby"]
    push(lab, replace(_STAGE, known["version"], known["old_version"]))


def _work_unmerged(lab: Lab) -> None:
    def change(tree: Path) -> None:
        (tree / "public/robots.txt").write_text("User-agent: *\nDisallow:\n")

    push(lab, change, branch="migrate")


def _stage_again(lab: Lab) -> None:
    def change(tree: Path) -> None:
        text = (tree / _STAGE).read_text()
        text = text.replace(PROD, MIGRATE).replace("'apphost'", "'vampires'").replace("'master'", "'migrate'")
        (tree / "config/deploy/migrate.rb").write_text(text)

    push(lab, change)


def _short_stop(lab: Lab) -> None:
    path = f"config/systemd/{APP_UNIT}"
    push(lab, replace(path, "TimeoutStopSec=70", "TimeoutStopSec=10"))
    with checkout(lab) as tree:
        lab.app.write(f"{UNITS}/{APP_UNIT}", (tree / path).read_text(), owner=OWNER)
    reload(lab)


FAULTS: tuple[Fault, ...] = (
    fault(
        "deploy-stops-neighbour",
        "deploy.rb stops the unit of another site of hkn",
        "REPO-1",
        _pushed(_DEPLOY, f"'stop', '{APP_UNIT}'", "'stop', 'hkn-dev.service'"),
    ),
    fault(
        "deploy-restarts-migrate",
        "deploy.rb restarts hkn-rails-migrate.service",
        "REPO-1 REPO-8",
        _pushed(_DEPLOY, f"'restart', '{APP_UNIT}'", "'restart', 'hkn-rails-migrate.service'"),
    ),
    fault(
        "stage-on-legacy",
        "the stage production deploys to the old host",
        "REPO-2",
        _pushed(_STAGE, "server 'apphost'", "server 'werewolves'"),
    ),
    fault("stage-old-ruby", "the stage production asks rvm for the old host's Ruby", "REPO-3", _old_ruby),
    fault(
        "unicorn-in-migrate",
        "unicorn's configuration works in the migrate tree",
        "REPO-4 REPO-8 DEP-1",
        _pushed("config/unicorn/prod.rb", "hkn-rails/prod/current", "hkn-rails/migrate/current"),
    ),
    fault(
        "unicorn-pid-elsewhere",
        "unicorn's configuration writes its PID file into /tmp",
        "REPO-4 DEP-1",
        _pushed("config/unicorn/prod.rb", "pid 'tmp/pids/unicorn.pid'", "pid '/tmp/unicorn.pid'"),
    ),
    fault(
        "repo-unit-for-legacy",
        "the repository's logrotate unit is for the old host",
        "REPO-5",
        _pushed(f"config/systemd/{LOGROTATE_UNIT}", "ConditionHost=vampires", "ConditionHost=werewolves"),
    ),
    fault("migrate-unmerged", "the branch migrate has a commit that master has not", "REPO-6 REPO-8 DEP-1", _work_unmerged),
    fault(
        "deploy-from-fork",
        "deploy.rb fetches from another repository than the reviewed one",
        "REPO-7",
        _pushed(_DEPLOY, "hkn-rails.git", "hkn-rails-fork.git"),
    ),
    fault("migrate-stage-again", "the stage migrate is back in the repository", "REPO-8", _stage_again),
    fault(
        "hooks-app-first",
        "a deploy restarts the application before the index is there",
        "REPO-9",
        _pushed(_DEPLOY, _LAST_HOOKS, "".join(f"{line}\n" for line in reversed(_LAST_HOOKS.splitlines()))),
    ),
    fault(
        "stop-too-short",
        "the unit, in the repository and on the server, gives requests 10 s to finish",
        "REPO-5 UNIT-10",
        _short_stop,
    ),
    fault(
        "not-deployed",
        "master has a commit for the site that was never deployed",
        "DEP-1",
        _pushed("public/robots.txt", "Disallow: /coursesurveys/search", "Disallow: /coursesurveys"),
    ),
)
