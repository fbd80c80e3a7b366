"""The stage's reading, and what makes a release stale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from converge.checking.statement import Fails
from converge.errors import Unobservable
from facts.deploy import Stage, stage
from facts.repo.git import Commit, Repository
from tests.targets import ask, inventory, parse
from verify.test_deploy import test_current_release_is_the_branch as dep_1
from verify.test_deploy import undeployed

ROOT = "/home/h/hk/hkn/hkn-rails/prod"
LOG = "Branch master (at 0448858) deployed as release {} by hkn"


def test_stage() -> None:
    out = f"current={ROOT}/releases/20190423000000\nreleases=20181126000000 20190423000000 \nrevision=0448858\n"
    seen = parse(stage, out + f"logged={LOG.format('20190423000000')}\nfile=0 app.css\nend=end\n")
    assert seen.release == seen.newest == seen.logged_release == "20190423000000"
    assert not seen.is_half
    assert not seen.lacking
    assert parse(stage, out + f"logged={LOG.format('20181126000000')}\nend=end\n").is_half
    with pytest.raises(Unobservable, match="cut off"):
        parse(stage, out)


def test_a_stage_that_was_never_deployed() -> None:
    err = f"ls: cannot access '{ROOT}/releases': No such file or directory"
    seen = parse(stage, "current=\nreleases=\nrevision=\nlogged=\nend=end\n", err=err)
    assert (seen.current, seen.newest, seen.is_half) == ("", "", False)


def test_a_stage_that_may_not_be_read() -> None:
    with pytest.raises(Unobservable, match="Permission denied"):
        parse(stage, "current=\n", err=f"cat: {ROOT}/current/REVISION: Permission denied")


MANIFEST = "public/assets/.sprockets-manifest*.json|public/assets/manifest*.json"


@pytest.mark.parametrize(
    ("made", "lacking"),
    [
        ([], [MANIFEST, "VERSION"]),
        (["public/assets/.sprockets-manifest-12ab.json", "VERSION"], []),
        (["public/assets/manifest-12ab.json"], ["VERSION"]),
        (["public/assets/app.css", "public/manifest.json", "VERSION"], [MANIFEST]),
    ],
)
def test_files_that_a_release_must_have(made: list[str], lacking: list[str], tmp_path: Path) -> None:
    release = tmp_path / "prod/releases/20190423000000"
    for name in ("REVISION", *made):
        (release / name).parent.mkdir(parents=True, exist_ok=True)
        (release / name).touch()
    (tmp_path / "prod/revisions.log").touch()
    (tmp_path / "prod/current").symlink_to(release)
    inv = inventory(stages={"root": str(tmp_path), "release_files": [MANIFEST, "VERSION"]})
    assert ask(stage, inv).lacking == tuple(lacking)
    assert ask(stage, inventory(stages={"root": str(tmp_path), "release_files": []})).lacking == ()


def test_a_release_that_lost_a_file_fails_by_its_name() -> None:
    seen = Stage("/x/releases/2", ("1", "2"), "c" * 40, "2", "")
    repository = Repository("u", "master", "c" * 40, None, None, {}, (), (Commit("c" * 40, "one", ()),), ())
    dep_1(seen, repository, inventory(), "vampires")
    with pytest.raises(Fails, match=r"manifest\*\.json or public/assets/manifest(?s:.*)no such file") as failed:
        dep_1(replace(seen, lacking=(MANIFEST,)), repository, inventory(), "vampires")
    assert "|" not in str(failed.value)


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
