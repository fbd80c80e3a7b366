"""The repository's reading, against a real one, and what its files say."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from converge.errors import Unobservable
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
)
from facts.repo.git import RECENT, leftovers_pattern, repository
from tests.targets import ask, at_control, inventory, parse


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def forge(tmp_path: Path) -> Path:
    """A work tree with master and an unmerged migrate; its own .git is what is asked."""
    tree = tmp_path / "tree"
    (tree / "config/deploy").mkdir(parents=True)
    git(tree, "init", "-q", "-b", "master")
    (tree / "Gemfile").write_text("source 'x'\nruby '3.1.2'\n")
    (tree / "config/deploy.rb").write_text("set :repo_url, 'x'\n")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "one")
    git(tree, "checkout", "-qb", "migrate")
    (tree / "config/deploy.rb").write_text("# hkn-rails/migrate\nset :repo_url, 'x'\n'hkn-rails-migrate.service'\n")
    git(tree, "commit", "-qam", "two | of two")
    git(tree, "checkout", "-q", "master")
    return tree


def test_unmerged_branch(forge: Path) -> None:
    seen = ask(repository, inventory(repository={"url": str(forge)}))
    assert seen.file("Gemfile") == "source 'x'\nruby '3.1.2'\n"
    assert seen.file("config/unicorn/prod.rb") is None
    assert "hkn-rails-migrate" in (seen.file("config/deploy.rb", "migrate") or "")
    assert [commit.subject for commit in seen.unmerged] == ["two | of two"]
    assert seen.mentions == ()
    assert seen.recent[0].touched == ("Gemfile", "config/deploy.rb")


@pytest.mark.parametrize("verb", ["for-each-ref", "cat-file", "log", "grep"])
def test_what_git_could_not_tell_is_not_nothing(
    forge: Path, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.which("git")
    fake = tmp_path / "bin/git"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\n[ "$1" != {verb} ] || {{ echo "fatal: out of memory" >&2; exit 128; }}\nexec {real} "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    with pytest.raises(Unobservable, match="out of memory"):
        ask(repository, inventory(repository={"url": str(forge)}))


def test_nothing_is_left_behind_by_who_stopped_listening(forge: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    assert repository.script
    script = repository.script(at_control(inventory(repository={"url": str(forge)})))
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer) as gone:
        subprocess.run(
            ["/bin/sh", "-c", script],
            stdout=gone, stderr=subprocess.DEVNULL, check=False, env={**os.environ, "TMPDIR": str(folder)}, timeout=60,
        )  # fmt: skip
    assert list(folder.iterdir()) == []


def test_texts_come_as_they_are(forge: Path) -> None:
    texts = {
        "config/deploy.rb": "a\n\nblob 3 file\tmaster\tx\nmaster:y missing\n\n\n",
        "Gemfile.lock": "no end of line",
        "Gemfile": "é\n",
        ".ruby-version": "",
        "config/deploy/production.rb": "\n",
    }
    for name, text in texts.items():
        (forge / name).write_text(text)
    (forge / "config/deploy/migrate.rb").mkdir()
    (forge / "config/deploy/migrate.rb/a").write_text("a folder where a file was looked for\n")
    git(forge, "add", "-A")
    git(forge, "commit", "-qm", "texts")
    seen = ask(repository, inventory(repository={"url": str(forge)}))
    assert {name: seen.file(name) for name in texts} == {**texts, "Gemfile.lock": "no end of line\n"}
    assert seen.file("config/deploy/migrate.rb") is None


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The logins and the commands of git since the last call; ssh leads to this machine."""
    log, folder = tmp_path / "calls", tmp_path / "bin"
    folder.mkdir()
    for name, act in (("git", f'exec {shutil.which("git")} "$@"'), ("ssh", 'for last; do :; done; eval "$last"')):
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{log}\n{act}\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def take() -> list[str]:
        lines = log.read_text().splitlines()
        log.unlink()
        return [line for line in lines if not line.startswith("ssh -G")]

    return take


def test_one_login_reads_it_all(forge: Path, calls: Callable[[], list[str]]) -> None:
    git(forge, "branch", "-q", "migrate-more")
    seen = ask(repository, inventory(repository={"url": f"ssh://git@forge{forge}"}))
    assert [commit.subject for commit in seen.unmerged] == ["two | of two"]
    assert seen.legacy_head == git(forge, "rev-parse", "migrate")
    made = calls()
    assert len([line for line in made if line.startswith("ssh")]) == 1, made
    assert len([line for line in made if line.startswith("git")]) <= 10, made


@pytest.mark.parametrize(("merged", "logins"), [(True, 1), (False, 2)])
def test_what_a_short_history_cannot_tell_is_asked_of_the_whole(
    forge: Path, calls: Callable[[], list[str]], merged: bool, logins: int
) -> None:
    if merged:
        git(forge, "merge", "-q", "--no-ff", "-m", "merged", "migrate")
    for number in range(RECENT + 5 if not merged else RECENT - 5):
        git(forge, "commit", "-q", "--allow-empty", "-m", f"later {number}")
    calls()
    seen = ask(repository, inventory(repository={"url": f"ssh://git@forge{forge}"}))
    assert [commit.subject for commit in seen.unmerged] == ([] if merged else ["two | of two"])
    assert len([line for line in calls() if line.startswith("ssh")]) == logins


def test_branch_that_was_merged_long_ago(forge: Path) -> None:
    git(forge, "merge", "-q", "--no-ff", "-m", "merged", "migrate")
    for number in range(RECENT + 5):
        git(forge, "commit", "-q", "--allow-empty", "-m", f"later {number}")
    seen = ask(repository, inventory(repository={"url": f"file://{forge}"}))
    assert seen.unmerged == ()
    assert len(seen.recent) == RECENT


def test_file_that_was_moved_is_touched_in_both_places(forge: Path) -> None:
    git(forge, "mv", "Gemfile", "config/Gemfile")
    git(forge, "commit", "-qm", "moved")
    seen = ask(repository, inventory(repository={"url": str(forge)}))
    assert set(seen.recent[0].touched) == {"Gemfile", "config/Gemfile"}


def test_merged_branch(forge: Path) -> None:
    git(forge, "merge", "-q", "--no-ff", "-m", "merged", "migrate")
    seen = ask(repository, inventory(repository={"url": str(forge)}))
    assert seen.unmerged == ()
    assert seen.recent[0].subject == "merged"
    assert seen.recent[0].touched == ("config/deploy.rb",)
    assert [(found.path, found.line) for found in seen.mentions] == [("config/deploy.rb", 1), ("config/deploy.rb", 3)]


def test_branch_that_is_gone_and_reviewed_head(forge: Path) -> None:
    git(forge, "branch", "-qD", "migrate")
    seen = ask(repository, inventory(repository={"url": str(forge), "reviewed_url": str(forge)}))
    assert seen.legacy_head is None
    assert seen.unmerged == ()
    assert seen.reviewed_head == seen.head


def test_branch_of_the_inventory_that_is_not_there(forge: Path) -> None:
    with pytest.raises(Unobservable, match="has no branch main"):
        ask(repository, inventory(repository={"url": str(forge), "branch": "main"}))


def test_repository_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unobservable, match="status 4"):
        ask(repository, inventory(repository={"url": str(tmp_path / "none")}))


@pytest.mark.parametrize("out", ["", "head\tmaster\tabc\n", "head\tmaster\nend\n", "grep\tnonsense\nend\n", "end\n"])
def test_answers_that_make_no_sense(out: str) -> None:
    with pytest.raises(Unobservable):
        parse(repository, out)


def test_leftovers_pattern_names_the_legacy_stage_alone() -> None:
    pattern = leftovers_pattern(inventory())
    for line, is_one in (
        ("restart hkn-rails-migrate.service", True),
        ("/home/h/hk/hkn/hkn-rails/migrate/current", True),
        ("set :branch, 'migrate'", True),
        ("rake db:migrate", False),
        ("hkn-rails/migrations", False),
    ):
        found = subprocess.run(["grep", "-qE", pattern], input=line, text=True, check=False).returncode == 0
        assert found is is_one, line


STAGE = """\
# set :branch, 'old'
server 'hkn@apphost', user: 'hkn', roles: %w[app db web]
set :deploy_to, "/home/h/hk/hkn/hkn-rails/prod"
set :branch, 'master'
set :rvm_ruby_version, 'ruby-2.5.1@hkn'
set(:bundle_path, -> { shared_path.join("bundle-#{fetch(:rvm_ruby_version)}") })
"""


def test_settings() -> None:
    assert setting(STAGE, "branch") == "master"
    assert setting(STAGE, "deploy_to") == "/home/h/hk/hkn/hkn-rails/prod"
    assert "rvm_ruby_version" in (setting(STAGE, "bundle_path") or "")
    assert setting(STAGE, "nothing") is None
    assert server(STAGE) == "apphost"
    assert plain_version(setting(STAGE, "rvm_ruby_version")) == "2.5.1"


def test_rubies() -> None:
    assert gemfile_ruby("source 'x'\n# ruby '1'\nruby '~> 2.5.0'\n") == "~> 2.5.0"
    assert gemfile_ruby("gem 'ruby-prof'\n") is None
    assert lock_ruby("GEM\n\nRUBY VERSION\n   ruby 2.5.1p57\n\nBUNDLED WITH\n   1.17\n") == "2.5.1"
    assert lock_ruby("GEM\n") is None


def test_unicorn_with_a_variable() -> None:
    seen = unicorn(
        'root = "/r/prod/current"\nworking_directory root\nlisten "/s/prod.sock", backlog: 64\npid "#{root}/tmp/pids/u"\n'
    )
    assert seen.working_directory == "/r/prod/current"
    assert seen.listens == ("/s/prod.sock",)
    assert seen.pid == "/r/prod/current/tmp/pids/u"


def test_hooks_in_their_order() -> None:
    text = (
        "after :publishing, :restart_unicorn\n# after :publishing, :x\n after 'deploy:publishing', 'deploy:restart_solr'\n"
    )
    assert after_publishing(text) == ("restart_unicorn", "restart_solr")


def test_directives_are_cleared_by_an_empty_one() -> None:
    assert directives("[Service]\n#A=1\nExecStop=a\nExecStop=\nKillMode=mixed\n") == {"KillMode": ["mixed"]}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("git@github.com:a/b.git", "https://github.com/a/b", True),
        ("ssh://git@forge/srv/git/b.git", "forge:/srv/git/b", True),
        ("git@github.com:a/b.git", "git@github.com:c/b.git", False),
    ],
)
def test_addresses_of_one_repository(one: str, other: str, same: bool) -> None:
    assert same_repository(one, other) is same
