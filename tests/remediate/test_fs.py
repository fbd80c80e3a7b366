"""The trees' remedies, run on trees like the hosts'."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from converge.steps import NothingToDo, Supplant
from facts.fs import stranded, stray_links, trees
from hosts.schema import Inventory
from remediate import fs
from tests.facts.test_fs import target
from tests.remediate import world
from tests.targets import ask
from verify import test_fs as statements

__all__ = ["target"]


def hide(inv: Inventory, **files: str) -> Path:
    """A real folder in a legacy release, where a link should be."""
    folder = Path(inv.legacy_stages[0]) / "releases/20181126000001/public/files"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_stranded_files_are_copied_and_stay_where_they_were(target: Inventory, tmp_path: Path) -> None:
    folder = hide(target, resume="a", odd="x")
    (folder / "deep er").mkdir()
    (folder / "deep er/b").write_text("b")
    world.converge(fs.rescue, target, tmp_path)
    there = Path(target.shared) / "public/files"
    assert (there / "resume").read_text() == "a"
    assert (there / "deep er/b").read_text() == "b"
    assert (folder / "resume").read_text() == "a"
    statements.test_no_data_is_stranded(ask(stranded, target), target, "here")


def test_a_copy_that_was_killed_leaves_one_file_which_the_repeat_makes_whole(
    target: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(target, resume="whole").joinpath("resume").chmod(0o400)
    there = Path(target.shared) / "public/files"
    (step,) = fs.rescue(world.context(target, tmp_path))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/mv").write_text("#!/bin/sh\nkill -KILL $PPID\n")
    (tmp_path / "bin/mv").chmod(0o755)
    with monkeypatch.context() as killed:
        killed.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
        assert world.run(step, target, tmp_path, 1).returncode == 70
    (left,) = there.iterdir()
    assert isinstance(step.undo, str)
    assert left.name == ".resume.cv-part"
    assert ".NAME.cv-part" in step.undo
    left.chmod(0o600)
    left.write_text("who")
    left.chmod(0o400)
    assert world.run(step, target, tmp_path, 2).returncode == 0
    assert [(path.name, path.read_text()) for path in there.iterdir()] == [("resume", "whole")]


def test_what_is_no_copy_of_ours_is_not_written_over(target: Inventory, tmp_path: Path) -> None:
    hide(target, resume="a")
    (tmp_path / "precious").write_text("precious")
    (Path(target.shared) / "public/files/.resume.cv-part").symlink_to(tmp_path / "precious")
    (step,) = fs.rescue(world.context(target, tmp_path))
    done = world.run(step, target, tmp_path, 1)
    assert done.returncode == 70
    assert "is in the way" in done.stderr
    assert (tmp_path / "precious").read_text() == "precious"


def test_what_exists_in_two_versions_is_left_to_a_person(target: Inventory, tmp_path: Path) -> None:
    hide(target, resume="new")
    there = Path(target.shared) / "public/files/resume"
    there.write_text("old")
    with pytest.raises(NothingToDo, match="two versions"):
        world.planned(fs.rescue, target, tmp_path)
    with pytest.raises(AssertionError, match="a person must say"):
        statements.test_no_data_is_stranded(ask(stranded, target), target, "here")
    assert there.read_text() == "old"


def test_a_legacy_shared_folder_becomes_a_link(target: Inventory, tmp_path: Path) -> None:
    shared = Path(target.legacy_stages[0]) / "shared"
    shared.unlink()
    (shared / "private").mkdir(parents=True)
    (shared / "private/resume").write_text("a")
    with pytest.raises(AssertionError):
        statements.test_legacy_shared_is_a_link(ask(trees, target), target, "here")
    assert world.converge(fs.join_shared, target, tmp_path) == ["FS-2/copy-private", "FS-2/link-migrate"]
    statements.test_legacy_shared_is_a_link(ask(trees, target), target, "here")
    assert (Path(target.shared) / "private/resume").read_text() == "a"
    assert list((tmp_path / "attic").rglob("kept/private/resume"))


def test_a_legacy_shared_folder_and_its_link_change_places_in_one_act(target: Inventory, tmp_path: Path) -> None:
    shared = Path(target.legacy_stages[0]) / "shared"
    shared.unlink()
    (shared / "private").mkdir(parents=True)
    *_, last = fs.join_shared(world.context(target, tmp_path))
    assert last.acts == (Supplant(str(shared), target.shared),), "whoever stops it between two acts leaves no shared folder"
    (shared / "private").rmdir()
    shared.rmdir()  # as a host leaves it that died between its renames
    (shared.parent / "current").symlink_to("releases/20181126000001")
    with pytest.raises(AssertionError):
        statements.test_legacy_shared_is_a_link(ask(trees, target), target, "here")
    world.converge(fs.join_shared, target, tmp_path)
    statements.test_legacy_shared_is_a_link(ask(trees, target), target, "here")


def test_an_upload_that_comes_after_the_copy_keeps_the_folder_where_it_is(target: Inventory, tmp_path: Path) -> None:
    shared = Path(target.legacy_stages[0]) / "shared"
    shared.unlink()
    (shared / "private").mkdir(parents=True)
    (shared / "private/resume").write_text("a")
    steps = list(fs.join_shared(world.context(target, tmp_path)))
    assert world.run(steps[0], target, tmp_path, 1).returncode == 0
    (shared / "private/late one").write_text("b")
    late = world.run(steps[-1], target, tmp_path, 2)
    assert late.returncode == 75
    assert f"every file in {shared} is in" in late.stderr
    assert (shared / "private/late one").read_text() == "b"
    (Path(target.shared) / "private/late one").write_text("another")
    assert world.run(steps[-1], target, tmp_path, 3).returncode == 75, "of the same name, and not the same"
    (Path(target.shared) / "private/late one").write_text("b")
    assert world.run(steps[-1], target, tmp_path, 4).returncode == 0


def test_a_link_elsewhere_is_switched(target: Inventory, tmp_path: Path) -> None:
    shared = Path(target.legacy_stages[0]) / "shared"
    shared.unlink()
    shared.symlink_to("/nowhere")
    world.converge(fs.join_shared, target, tmp_path)
    statements.test_legacy_shared_is_a_link(ask(trees, target), target, "here")


def test_links_are_straightened(target: Inventory, tmp_path: Path) -> None:
    link = Path(target.shared) / "public/files/old"
    link.symlink_to(f"{target.legacy_stages[0]}/shared/log")
    world.converge(fs.straighten, target, tmp_path)
    assert str(link.readlink()) == f"{target.shared}/log"
    assert ask(stray_links, target) == ()


def test_missing_folders_are_made(target: Inventory, tmp_path: Path) -> None:
    world.converge(fs.complete_shared, target, tmp_path)
    seen = ask(trees, target)
    assert all(seen.get(f"{target.shared}/{name}") for name in target.stages.linked_dirs)
    with pytest.raises(NothingToDo, match="a person must restore"):
        world.planned(fs.complete_shared, target, tmp_path)


def test_secrets_are_closed(target: Inventory, tmp_path: Path) -> None:
    path = Path(target.shared) / "config/secrets.yml"
    path.write_text("x")
    path.chmod(0o644)
    world.converge(fs.close_secrets, target, tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_legacy_stage_is_moved_aside_and_the_shared_folder_stays(target: Inventory, tmp_path: Path) -> None:
    keep = Path(target.shared) / "private/resume"
    keep.write_text("a")
    assert world.converge(fs.retire_legacy, target, tmp_path) == ["FS-8/unlink-migrate", "FS-8/retire-migrate"]
    statements.test_legacy_stage_is_retired(ask(trees, target), target, "here")
    assert keep.read_text() == "a"
    with pytest.raises(NothingToDo):
        world.planned(fs.retire_legacy, target, tmp_path)


def test_a_legacy_stage_with_a_folder_of_its_own_is_planned_as_it_will_be_and_not_moved_as_it_is(
    target: Inventory, tmp_path: Path
) -> None:
    shared = Path(target.legacy_stages[0]) / "shared"
    shared.unlink()
    (shared / "private").mkdir(parents=True)
    first, second = fs.retire_legacy(world.context(target, tmp_path))
    assert (first.id, second.id) == ("FS-8/unlink-migrate", "FS-8/retire-migrate")
    assert "FS-2 makes it a link" in first.after
    result = world.run(first, target, tmp_path, 1)
    assert result.returncode == 75
    assert f"{shared} is a link" in result.stderr
    assert (shared / "private").is_dir()


def test_a_stage_in_use_is_not_moved(target: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(target.legacy_stages[0]) / "releases/20181126000001")
    steps = list(fs.retire_legacy(world.context(target, tmp_path)))
    result = world.run(steps[0], target, tmp_path, 1)
    assert result.returncode == 75
    assert "no process uses" in result.stderr
    assert (Path(target.legacy_stages[0]) / "shared").is_symlink()
