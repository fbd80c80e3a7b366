"""The payload's texts and files, without a host."""

from __future__ import annotations

import stat
import subprocess
import zipfile
from pathlib import Path

import pytest

from lab.faults import FAULTS
from lab.payload import solr, source, units
from lab.payload.render import HERE, fill, fill_tree, tree_key
from lab.payload.ruby import Ruby
from lab.states import STATES

OLD, NEW = Ruby("3.1.7", "3.1.0"), Ruby("3.3.14", "3.3.0")


def edition(tmp_path: Path, which: source.Edition) -> Path:
    gems = tmp_path / "gems"
    (gems / "cache").mkdir(parents=True)
    (gems / "Gemfile.lock").write_text("RUBY VERSION\n")
    tree = tmp_path / "tree"
    which.write(tree, gems)
    return tree


def test_a_placeholder_without_a_value_is_named() -> None:
    with pytest.raises(KeyError, match="HOST"):
        fill("ConditionHost=@HOST@", {})


def test_a_tree_keeps_modes_and_gets_its_dot_files(tmp_path: Path) -> None:
    fill_tree(HERE / "app", tmp_path, source.after(NEW).values)
    assert (tmp_path / ".gitignore").exists()
    assert (tmp_path / "run").stat().st_mode & stat.S_IXUSR
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and "@RUBY@" in path.read_text()]


def test_a_key_changes_with_what_is_in_a_tree(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = tree_key(tmp_path)
    (tmp_path / "a").write_text("2")
    assert tree_key(tmp_path) != first


def test_each_time_names_its_own_unit_three_times(tmp_path: Path) -> None:
    for which, unit in (
        (source.before(OLD), "hkn-rails.service'"),
        (source.during(OLD, NEW), "hkn-rails-migrate.service'"),
        (source.after(NEW), "hkn-rails.service'"),
    ):
        text = (edition(tmp_path / unit / which.host, which) / "config/deploy.rb").read_text()
        assert text.count(unit) == 3


def test_the_branch_migrate_forgot_the_stage_production(tmp_path: Path) -> None:
    tree = edition(tmp_path, source.during(OLD, NEW))
    assert f"ruby '{NEW.version}'" in (tree / "Gemfile").read_text()
    assert f"'{OLD.version}'" in (tree / "config/deploy/production.rb").read_text()
    assert "/migrate/current" in (tree / "config/unicorn/prod.rb").read_text()


def test_the_units_on_the_server_are_those_of_the_page() -> None:
    assert "/prod/" not in units.migrate_unit()
    assert "restart --user hkn-rails-migrate.service" in units.edited_logrotate()


def test_start_jar_has_no_line_that_java_would_refuse(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    for number in range(70):
        (tmp_path / f"lib/some-long-name-of-a-jar-{number}.jar").touch()
    solr.write_start_jar(tmp_path)
    with zipfile.ZipFile(tmp_path / "start.jar") as archive:
        lines = archive.read("META-INF/MANIFEST.MF").split(b"\r\n")
    assert max(map(len, lines)) <= 72
    assert b"lib/some-long-name-of-a-jar-69.jar" in b"".join(line.removeprefix(b" ") for line in lines)


def test_a_jar_that_is_not_the_pinned_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "stranger.jar").write_text("not a jar")
    with pytest.raises(solr.SolrFilesDiffer, match=r"stranger\.jar"):
        solr.check_jars(tmp_path)


def test_rvm_says_which_ruby_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "Gemfile").write_text("ruby '2.5.1'\n")
    script = f". {HERE / 'rvm/scripts-rvm'}; cd {tmp_path}"
    done = subprocess.run(
        ["bash", "-c", script],
        check=False,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert "Required ruby-2.5.1 is not installed." in done.stderr


def test_each_fault_belongs_to_a_state_and_must_be_seen() -> None:
    assert all(fault.statements and fault.state in STATES for fault in FAULTS.values())
