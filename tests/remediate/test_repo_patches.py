"""Patches of the repository's files: they make their statements hold, change nothing twice, and keep the rest."""

from __future__ import annotations

import pytest

from facts.repo.config_files import after_publishing, directives
from facts.repo.git import Repository
from remediate.repo_patches import AFTER_MERGE, PATCHES, patched, with_call, with_directive, with_setting
from tests.targets import inventory
from verify import test_repo as statements

INV = inventory()
ROOT = INV.stages.root

DEPLOY = """\
# Deployed to hkn-rails-migrate.service for now.
set :repo_url, 'git@github.com:somebody/hkn-rails.git'
set :bundle_path, -> { shared_path.join('bundle') }
namespace :deploy do
  task(:start) { on(roles(:app)) { execute 'systemctl --user start hkn-rails-migrate.service' } }
  task(:stop) { on(roles(:app)) { execute 'systemctl --user stop hkn-rails-migrate.service' } }
  task(:restart) { on(roles(:app)) { execute 'systemctl --user restart hkn-rails-migrate.service' } }
  after :publishing, :restart_unicorn
  after :publishing, :restart_solr # once it is published
  after :publishing, :reindex_sunspot
end
"""

STAGE = """\
server 'werewolves', user: 'hkn', roles: %w[app db web]
set :deploy_to, '/home/h/hk/hkn/hkn-rails/migrate'
set :rvm_ruby_version, '2.5.0'
"""

UNICORN = f"""\
root = '{ROOT}/migrate/current'
working_directory root
listen '/srv/apps/hkn/hkn.sock', backlog: 64
listen 3000
pid '/tmp/unicorn.pid'
timeout 60
"""

UNIT = f"""\
[Unit]
Description=HKN Rails App
ConditionHost=werewolves

[Install]
WantedBy=default.target

[Service]
Type=simple
PIDFile={ROOT}/migrate/current/tmp/pids/unicorn.pid
WorkingDirectory={ROOT}/migrate/current
ExecStart={ROOT}/migrate/current/run
ExecStop=/bin/kill -s QUIT $MAINPID
"""

LOGROTATE = """\
[Unit]
Description=Rotate

[Service]
Type=oneshot
ExecStart=/usr/sbin/logrotate x
ExecStartPost=/bin/systemctl restart --user hkn-rails-migrate.service
"""

FILES = {
    "config/deploy.rb": DEPLOY,
    "config/deploy/production.rb": STAGE,
    "config/unicorn/prod.rb": UNICORN,
    "config/systemd/hkn-rails.service": UNIT,
    "config/systemd/hkn-rails-logrotate.service": LOGROTATE,
    "Gemfile": "source 'https://rubygems.org'\nruby '2.5.1'\ngem 'rails'\n",
    "Gemfile.lock": "GEM\n\nRUBY VERSION\n   ruby 2.5.0p0\n\nBUNDLED WITH\n   1.17.3\n",
    ".ruby-version": "2.5.0\n",
}

STATEMENTS = {
    "REPO-1": statements.test_deploy_tasks_drive_the_app_unit,
    "REPO-2": statements.test_target_stage_is_configured,
    "REPO-3": statements.test_one_ruby_is_named_everywhere,
    "REPO-4": statements.test_unicorn_lives_in_the_target_stage,
    "REPO-5": statements.test_unit_files_fit_the_app_host,
    "REPO-7": statements.test_deploys_come_from_the_reviewed_branch,
}


def repository(files: dict[str, str]) -> Repository:
    url = INV.repository.url
    return Repository(url, "master", "a" * 40, None, None, {("master", k): v for k, v in files.items()}, (), (), ())


@pytest.mark.parametrize("id", STATEMENTS)
def test_a_patch_makes_its_statement_hold(id: str) -> None:
    with pytest.raises(AssertionError):
        STATEMENTS[id](repository(FILES), INV)
    STATEMENTS[id](repository(FILES | patched(FILES, [id], INV, "2.5.1")), INV)


def test_hooks_change_places_and_keep_their_comments() -> None:
    text = patched(FILES, ["REPO-9"], INV, "2.5.1")["config/deploy.rb"]
    statements.test_solr_restarts_before_the_app(repository(FILES | {"config/deploy.rb": text}))
    assert after_publishing(text) == ("restart_solr", "reindex_sunspot", "restart_unicorn")
    assert "  after :publishing, :restart_solr # once it is published\n" in text


@pytest.mark.parametrize("id", PATCHES)
def test_a_patch_changes_nothing_twice(id: str) -> None:
    once = FILES | patched(FILES, [id], INV, "2.5.1")
    assert patched(once, [id], INV, "2.5.1") == {}


def test_what_a_merge_brings_is_set_right_at_once() -> None:
    files = FILES | patched(FILES, AFTER_MERGE, INV, "2.5.1")
    for id in AFTER_MERGE:
        if id in STATEMENTS:
            STATEMENTS[id](repository(files), INV)
    assert patched(files, AFTER_MERGE, INV, "2.5.1") == {}


def test_a_task_that_drives_a_neighbour_is_given_back_to_the_app() -> None:
    right = DEPLOY.replace("hkn-rails-migrate.service", "hkn-rails.service")
    wrong = right.replace("stop hkn-rails.service", "stop hkn-dev.service")
    assert patched({"config/deploy.rb": wrong}, ["REPO-1"], INV, "2.5.1") == {"config/deploy.rb": right}
    beside = right + "  execute 'systemctl --user restart hkn-dev.service'\n"
    assert patched({"config/deploy.rb": beside}, ["REPO-1"], INV, "2.5.1") == {}


def test_leftovers_take_comments_alone() -> None:
    text = patched(FILES, ["REPO-8"], INV, "2.5.1")["config/deploy.rb"]
    assert "for now" not in text
    assert text.count("hkn-rails-migrate.service") == 3


def test_files_that_are_not_there_are_not_made() -> None:
    assert patched({}, PATCHES, INV, "2.5.1") == {}


def test_settings_calls_and_directives_keep_what_they_do_not_mean() -> None:
    assert with_setting("  set :branch, 'a'\nx\n", "branch", "'b'") == "  set :branch, 'b'\nx\n"
    assert with_setting("x\n", "branch", "'b'") == "x\nset :branch, 'b'\n"
    assert with_call("listen '/a', backlog: 64\nlisten '/c'\n", "listen", "/b") == "listen '/b', backlog: 64\n"
    unit = with_directive("[Unit]\nA=1\n\n[Service]\nB=1\nB=2\n", "Service", "B", "3")
    assert unit == "[Unit]\nA=1\n\n[Service]\nB=3\n"
    unit = with_directive("[Unit]\nA=1\n\n[Service]\nB=1\n", "Unit", "C", "2")
    assert unit == "[Unit]\nA=1\nC=2\n\n[Service]\nB=1\n"
    assert directives(unit) == {"A": ["1"], "B": ["1"], "C": ["2"]}
