"""The stage's reading, and what makes a release stale."""

from __future__ import annotations

import pytest

from converge.errors import Unobservable
from facts.deploy import stage
from facts.repo import Commit, Repository
from tests.targets import parse
from verify.test_deploy import undeployed

ROOT = "/home/h/hk/hkn/hkn-rails/prod"
LOG = "Branch master (at 0448858) deployed as release {} by hkn"


def test_stage() -> None:
    out = f"current={ROOT}/releases/20190423000000\nreleases=20181126000000 20190423000000 \nrevision=0448858\n"
    seen = parse(stage, out + f"logged={LOG.format('20190423000000')}\n")
    assert seen.release == seen.newest == seen.logged_release == "20190423000000"
    assert not seen.is_half
    assert parse(stage, out + f"logged={LOG.format('20181126000000')}\n").is_half


def test_a_stage_that_was_never_deployed() -> None:
    err = f"ls: cannot access '{ROOT}/releases': No such file or directory"
    seen = parse(stage, "current=\nreleases=\nrevision=\nlogged=\n", err=err)
    assert (seen.current, seen.newest, seen.is_half) == ("", "", False)


def test_a_stage_that_may_not_be_read() -> None:
    with pytest.raises(Unobservable, match="Permission denied"):
        parse(stage, "current=\n", err=f"cat: {ROOT}/current/REVISION: Permission denied")


def test_what_only_a_deploy_reads_makes_no_release_stale() -> None:
    commits = (
        Commit("c" * 40, "three", ("config/deploy/migrate.rb", "config/deploy.rb")),
        Commit("b" * 40, "two", ("config/unicorn/prod.rb", "config/deploy.rb")),
        Commit("a" * 40, "one", ("Gemfile",)),
    )
    seen = Repository("u", "master", "c" * 40, None, None, {}, (), commits, ())
    assert undeployed(seen, "c" * 40) == []
    assert undeployed(seen, "b" * 40) == []
    assert undeployed(seen, "a" * 40) == ["config/unicorn/prod.rb"]
    assert undeployed(seen, "d" * 40) is None
