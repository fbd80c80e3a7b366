"""The trees' readings, against trees like the hosts'."""

from __future__ import annotations

from pathlib import Path

import pytest

from converge.errors import Unobservable
from facts.fs import stranded, stray_links, trees
from hosts.schema import Inventory
from remediate.fs import straightened
from tests.targets import ask, inventory, parse


@pytest.fixture
def target(tmp_path: Path) -> Inventory:
    """A home with prod and migrate, linked as they are on the hosts."""
    root = tmp_path / "hkn-rails"
    for name in ("log", "private", "public/files", "tmp/pids", "config"):
        (root / "prod/shared" / name).mkdir(parents=True)
    release = root / "prod/releases/20181126000000"
    release.mkdir(parents=True)
    (root / "prod/current").symlink_to(release)
    (release / "log").symlink_to(root / "prod/shared/log")
    (root / "migrate/releases/20181126000001/public").mkdir(parents=True)
    (root / "migrate/shared").symlink_to(root / "prod/shared")
    (tmp_path / ".config/systemd/user").mkdir(parents=True)
    return inventory(stages={"root": str(root)}, account={"home": str(tmp_path)})


def test_trees(target: Inventory) -> None:
    seen = ask(trees, target)
    assert seen.get(target.shared)
    log = seen.get(f"{target.current}/log")
    assert log
    assert log.is_link
    assert log.target == log.resolved == f"{target.shared}/log"
    assert seen.get(f"{target.shared}/config/secrets.yml") is None
    assert "does not exist" in seen.describe(f"{target.current}/private")
    (joined,) = (seen.get(f"{stage}/shared") for stage in target.legacy_stages)
    assert joined
    assert joined.resolved == target.shared


def test_an_empty_file_is_a_file_of_no_size(target: Inventory) -> None:
    path = Path(target.shared) / "config/secrets.yml"
    path.touch(mode=0o640)
    found = ask(trees, target).get(str(path))
    assert found
    assert (found.kind, found.size, found.mode) == ("regular file", 0, 0o640)


def test_a_folder_that_may_not_be_read_is_unobservable() -> None:
    with pytest.raises(Unobservable, match="Permission denied"):
        parse(trees, "", err="stat: cannot statx '/home/h/hk/hkn/hkn-rails': Permission denied")
    with pytest.raises(Unobservable, match="changed while"):
        parse(trees, "link\t/a\t/b\t/b\n")


@pytest.mark.parametrize("text", ["{root}/migrate/shared/log", "../../../../migrate/shared/log", "{root}/migrate"])
def test_links_through_the_legacy_stage(target: Inventory, text: str) -> None:
    link = Path(target.shared) / "public/files/old"
    link.symlink_to(text.format(root=target.stages.root))
    (found,) = ask(stray_links, target)
    assert found.path == str(link)
    assert (straightened(target, found.path, found.target) or "").startswith(target.stage)


def capped(target: Inventory, entries: int) -> Inventory:
    return target.changed({"limits": target.limits.changed({"entries": entries})})


def test_a_tree_of_more_entries_than_are_allowed_is_not_read_to_its_end(target: Inventory) -> None:
    (Path(target.shared) / "public/files/old").symlink_to(f"{target.stages.root}/migrate/shared/log")
    walked = sum(1 for top in (target.shared, f"{target.current}/", target.units_dir) for _ in [top, *Path(top).rglob("*")])
    assert len(ask(stray_links, capped(target, walked))) == 1
    with pytest.raises(Unobservable, match=rf"has more than {walked - 1} entries \(limits.entries of .*lab.toml\)"):
        ask(stray_links, capped(target, walked - 1))


def test_stranded_files_of_more_entries_than_are_allowed_are_not_compared(target: Inventory) -> None:
    for release in ("1", "2"):
        top = Path(target.stages.root) / f"migrate/releases/{release}/private"
        top.mkdir(parents=True)
        (top / "a").write_text("x")
    assert ask(stranded, capped(target, 4)).count == 2
    with pytest.raises(Unobservable, match="more than 3 entries"):
        ask(stranded, capped(target, 3))


def test_links_elsewhere_are_none_of_ours(target: Inventory) -> None:
    (Path(target.shared) / "public/files/a").symlink_to("/srv/hkn-rails/migrations")
    assert ask(stray_links, target) == ()
    assert straightened(target, "/a", "/srv/x") is None


def test_stranded_files(target: Inventory) -> None:
    hidden = Path(target.legacy_stages[0]) / "releases/20181126000001/public/files"
    hidden.mkdir()
    (hidden / "only here").write_text("a")
    (hidden / "same").write_text("a")
    (hidden / "other").write_text("a")
    there = Path(target.shared) / "public/files"
    (there / "same").write_text("a")
    (there / "other").write_text("b")
    seen = ask(stranded, target)
    assert seen.folders == (str(hidden),)
    assert seen.count == 2
    assert [Path(file.path).name for file in seen.missing] == ["only here"]
    assert [file.shared_path for file in seen.differing] == [str(there / "other")]


def test_nothing_is_stranded(target: Inventory) -> None:
    assert ask(stranded, target).count == 0


@pytest.mark.parametrize(("out", "err"), [("", ""), ("folder\t/a\n", ""), ("count\t0\n", "find: /a: Permission denied")])
def test_a_list_of_stranded_files_that_is_not_whole(out: str, err: str) -> None:
    with pytest.raises(Unobservable):
        parse(stranded, out, err=err)
