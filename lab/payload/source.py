"""The application's source as it was at each time, and the forge that holds it."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab.lab import Lab
from lab.payload import ruby
from lab.payload.capistrano import FORGE_URL, transport
from lab.payload.control import git
from lab.payload.places import APP_UNIT, FORGE, HOME, MIGRATE_UNIT, USER
from lab.payload.render import HERE, fill, fill_tree
from lab.payload.ruby import Ruby

APP = HERE / "app"


@dataclass(frozen=True)
class Edition:
    """What differs between the times: which Ruby, which host, which unit and which directory serve."""

    ruby: Ruby
    production_ruby: Ruby
    host: str
    unit: str
    directory: str

    @property
    def values(self) -> dict[str, str]:
        return {"RUBY": self.ruby.version, "HOST": self.host, "UNIT": self.unit, "DIRECTORY": self.directory}

    def write(self, tree: Path, gems: Path) -> None:
        """Lay this edition into a working tree, over whatever edition is there."""
        fill_tree(APP, tree, self.values)
        stage = APP / "config/deploy/production.rb"
        production = fill(stage.read_text(), {"RUBY": self.production_ruby.version})
        (tree / stage.relative_to(APP)).write_text(production)
        shutil.copy(gems / "Gemfile.lock", tree / "Gemfile.lock")
        shutil.rmtree(tree / "vendor/cache", ignore_errors=True)
        shutil.copytree(gems / "cache", tree / "vendor/cache")


def before(old: Ruby) -> Edition:
    """Master, from before there was a second host."""
    return Edition(old, old, "werewolves", APP_UNIT, "prod")


def during(old: Ruby, new: Ruby) -> Edition:
    """Branch migrate: the new host, beside production; production.rb was forgotten."""
    return Edition(new, old, "vampires", MIGRATE_UNIT, "migrate")


def after(new: Ruby) -> Edition:
    """Master as it is to be: production again, on the new host."""
    return Edition(new, new, "vampires", APP_UNIT, "prod")


def create_forge(lab: Lab, old: Ruby, new: Ruby) -> None:
    """Make the bare repository on the app host, with branches master and migrate, and let hkn read it."""
    lab.app.run(["git", "init", "-q", "--bare", "-b", "master", FORGE], user="git")
    _give_deploy_key(lab)
    with tempfile.TemporaryDirectory(prefix="hkn-rails-") as folder:
        tree = Path(folder)
        _write_history(lab, tree, old, new)
        git(tree, "push", "-q", FORGE_URL, "master", "migrate", env=transport(lab))


def _write_history(lab: Lab, tree: Path, old: Ruby, new: Ruby) -> None:
    old_gems = ruby.gems(lab, lab.legacy, old)
    new_gems = ruby.gems(lab, lab.app, new)
    git(tree, "init", "-q", "-b", "master")
    before(old).write(tree, old_gems)
    (tree / "config/deploy/migrate.rb").unlink()
    commit(tree, "The site, served from werewolves", "2018-10-02T19:04:00-07:00")
    git(tree, "checkout", "-q", "-b", "migrate")
    during(old, new).write(tree, new_gems)
    commit(tree, "Move to vampires, beside production", "2018-11-26T12:46:00-08:00")
    git(tree, "checkout", "-q", "master")
    readme = tree / "README.md"
    readme.write_text(readme.read_text() + "\nQuestions go to compserv.\n")
    commit(tree, "Say whom to ask", "2018-11-27T10:15:00-08:00")


def commit(tree: Path, message: str, when: str) -> None:
    """Commit all of a working tree as of a date."""
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", message, env={"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when})


def _give_deploy_key(lab: Lab) -> None:
    key = f"{HOME}/.ssh/id_ed25519"
    make = f"mkdir -p -m 700 ~/.ssh && [ -e {key} ] || ssh-keygen -q -t ed25519 -N '' -C hkn@apphost -f {key}"
    lab.app.run(make, user=USER)
    public = lab.app.run(["cat", f"{key}.pub"], user=USER).stdout
    lab.app.run(["mkdir", "-p", "-m", "700", "/srv/git/.ssh"], user="git")
    lab.app.write("/srv/git/.ssh/authorized_keys", f"restrict {public}", mode=0o600, owner="git:git")
