"""Parsers of the readings of rubies and gems."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from converge.checking.statement import Fails
from converge.errors import Unobservable
from facts.repo.git import Repository
from facts.ruby import Broken, Bundle, BundleDir, bundle, bundle_check, bundle_dirs, bundles_aside, rubies
from remediate.ruby import unlinked
from tests.targets import ask, inventory, parse
from verify.test_ruby import test_old_gems_are_gone as ruby_5

RUBIES = "/home/h/hk/hkn/.rvm/rubies/ruby-{}/bin/ruby"


def test_rubies() -> None:
    out = (
        f"ruby\t{RUBIES.format('3.1.2')}\t127\terror while loading shared libraries\tlibruby-3.1.so.3.1 \n"
        f"ruby\t{RUBIES.format('3.3.8')}\t0\truby 3.3.8 (2025-04-09) [x86_64-linux]\t\nend\n"
    )
    seen = parse(rubies, out)
    assert not seen["3.1.2"].runs
    assert seen["3.1.2"].missing == ("libruby-3.1.so.3.1",)
    assert seen["3.3.8"].runs


def test_a_folder_named_after_another_version_does_not_run() -> None:
    seen = parse(rubies, f"ruby\t{RUBIES.format('3.3.8')}\t0\truby 3.1.2 (x)\t\nend\n")
    assert not seen["3.3.8"].runs


def test_rubies_on_this_machine(tmp_path: Path) -> None:
    program = tmp_path / "ruby-9.9.9/bin/ruby"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho ruby 9.9.9\n")
    program.chmod(0o755)
    assert ask(rubies, inventory(ruby={"executable": f"{tmp_path}/ruby-{{version}}/bin/ruby"}))["9.9.9"].runs


@pytest.mark.parametrize("out", ["", "ruby\tx\t0\ty\tz\n", "ruby\tx\nend\n"])
def test_rubies_cut_off(out: str) -> None:
    with pytest.raises(Unobservable):
        parse(rubies, out)


BUNDLE = """\
configured\t/shared/bundle
path\t/shared/bundle
ruby\t~> 3.3.8
abi\t3.3.0
broken\t/shared/bundle/ruby/3.3.0/gems/nokogiri-1/lib/nokogiri.so\tlibruby-3.1.so.3.1 => not found
broken\t/shared/bundle/ruby/3.3.0/gems/nokogiri-1/lib/nokogiri.so\tlibx.so => not found
extensions\t12
builder\t2.5.0
end\tend
"""


def test_bundle() -> None:
    seen = parse(bundle, BUNDLE)
    assert (seen.path, seen.ruby, seen.abis, seen.extensions, seen.built_by) == (
        "/shared/bundle",
        "3.3.8",
        ("3.3.0",),
        12,
        ("2.5.0",),
    )
    assert [found.why for found in seen.broken] == ["libruby-3.1.so.3.1 => not found"]


@pytest.mark.parametrize("out", ["", BUNDLE.removesuffix("end\tend\n"), "what\tis\tthis\nend\tend\n"])
def test_bundle_cut_off(out: str) -> None:
    with pytest.raises(Unobservable):
        parse(bundle, out)


def test_what_ldd_cannot_read_is_no_finding(tmp_path: Path) -> None:
    stage = tmp_path / "prod"
    gem = tmp_path / "gems/ruby/3.3.0/gems/a-1/lib"
    gem.mkdir(parents=True)
    (gem / "a.so").write_text("not an object\n")
    (stage / "current/.bundle").mkdir(parents=True)
    (stage / "current/.bundle/config").write_text(f"BUNDLE_PATH: {tmp_path}/gems\n")
    with pytest.raises(Unobservable, match=r"a\.so is nothing that ldd can read"):
        ask(bundle, inventory(stages={"root": str(tmp_path)}))
    (gem / "a.so").write_bytes(Path("/bin/sh").read_bytes())
    data = gem.parent / "test/data"
    data.mkdir(parents=True)
    (data / "b.so").write_text("nothing that Ruby loads\n")
    assert ask(bundle, inventory(stages={"root": str(tmp_path)})).extensions == 2


def test_gems_of_more_entries_than_are_allowed_are_not_read(tmp_path: Path) -> None:
    gem = tmp_path / "gems/ruby/3.3.0/gems/a-1/lib"
    gem.mkdir(parents=True)
    (gem / "a.so").write_bytes(Path("/bin/sh").read_bytes())
    (tmp_path / "prod/current/.bundle").mkdir(parents=True)
    (tmp_path / "prod/current/.bundle/config").write_text(f"BUNDLE_PATH: {tmp_path}/gems\n")
    target = {"stages": {"root": str(tmp_path)}}
    assert ask(bundle, inventory(**target, limits={"entries": 6})).extensions == 1
    with pytest.raises(Unobservable, match="/gems has more than 5 entries"):
        ask(bundle, inventory(**target, limits={"entries": 5}))


def test_gems_that_cannot_be_listed_are_not_all_well() -> None:
    with pytest.raises(Unobservable, match="Permission denied"):
        parse(bundle, BUNDLE.replace("extensions", "unread\tfind: '/x': Permission denied\nextensions"))


def test_bundle_of_no_release(tmp_path: Path) -> None:
    seen = ask(bundle, inventory(stages={"root": str(tmp_path)}))
    assert (seen.path, seen.abis, seen.extensions) == ("", (), 0)


def test_what_must_go_so_that_gems_are_built_anew() -> None:
    top = "/b/ruby/3.3.0"
    broken = [
        f"{top}/gems/nokogiri-1/lib/nokogiri.so",
        f"{top}/extensions/x86_64-linux/3.3.0/nio4r-2/nio4r.so",
        "/b/ruby/3.1.0/gems/bigdecimal-3/lib/bigdecimal.so",
        f"{top}/stray.so",
    ]
    seen = Bundle("/b", "/b", "3.3.8", ("3.1.0", "3.3.0"), 9, tuple(Broken(path, "") for path in broken), ())
    assert unlinked(seen, "3.3.8") == [
        f"{top}/gems/nokogiri-1",
        f"{top}/specifications/nokogiri-1.gemspec",
        f"{top}/gems/nio4r-2",
        f"{top}/extensions/x86_64-linux/3.3.0/nio4r-2",
        f"{top}/specifications/nio4r-2.gemspec",
        "/b/ruby/3.1.0",
        f"{top}/stray.so",
    ]


def test_bundle_check() -> None:
    assert parse(bundle_check, "rc=0\nwords=The Gemfile's dependencies are satisfied\n").is_complete
    assert not parse(bundle_check, "rc=1\nwords=missing: rails = 1\n").is_complete
    with pytest.raises(Unobservable):
        parse(bundle_check, "")


MAPS = """
import mmap, sys
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
    print("mapped", flush=True)
    sys.stdin.read()
"""


@contextmanager
def mapping(library: Path) -> Iterator[int]:
    """A process that has the file mapped, for as long as the context lasts."""
    library.parent.mkdir(parents=True, exist_ok=True)
    library.write_bytes(b"x" * 4096)
    with subprocess.Popen(
        [sys.executable, "-c", MAPS, str(library)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/"
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"mapped\n"
        yield process.pid
        process.communicate()


def test_gems_that_were_moved_aside_are_seen_in_use(tmp_path: Path) -> None:
    inv = inventory(account={"home": str(tmp_path)})
    kept = tmp_path / "attic/20261125-1/007/1/kept"
    assert ask(bundles_aside, inv) == ()
    with mapping(kept / "ruby/2.5.0/gems/mysql2-0.5/lib/mysql2.so") as pid:
        assert ask(bundles_aside, inv) == (BundleDir(str(kept), (pid,)),)
    assert ask(bundles_aside, inv) == ()


def test_a_process_that_works_in_gems_that_were_moved_aside_uses_them(tmp_path: Path) -> None:
    solr = tmp_path / "attic/bundle.old/ruby/2.5.0/gems/sunspot_solr-2.2.7/solr"
    solr.mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"], cwd=solr) as process:
        try:
            seen = ask(bundles_aside, inventory(account={"home": str(tmp_path)}))
        finally:
            process.kill()
    assert seen == (BundleDir(f"{tmp_path}/attic/bundle.old", (process.pid,)),)


def test_single_gems_that_were_moved_aside_are_no_bundle(tmp_path: Path) -> None:
    with mapping(tmp_path / "attic/20261125-1/003/1/kept/lib/unicorn_http.so"):
        assert ask(bundles_aside, inventory(account={"home": str(tmp_path)})) == ()


def test_bundles_in_the_attic_that_are_cut_off() -> None:
    with pytest.raises(Unobservable, match="cut off"):
        parse(bundles_aside, "used\t/a/kept\t12\n")


def test_gems_count_as_gone_when_nothing_uses_what_was_moved_aside() -> None:
    inv = inventory(ruby={"version": "3.3.8"})
    current = Bundle("/s/bundle", "/s/bundle", "3.3.8", ("3.3.0",), 1, (), ())
    repository = Repository("u", "master", "c" * 40, None, None, {}, (), (), ())
    dirs = (BundleDir("/s/bundle", (7,)),)
    ruby_5(dirs, (), current, repository, inv, "vampires")
    with pytest.raises(Fails, match=r"seen: +/a/kept \(used by 12, 13\)"):
        ruby_5(dirs, (BundleDir("/a/kept", (12, 13)),), current, repository, inv, "vampires")


def test_bundle_dirs() -> None:
    seen = parse(bundle_dirs, "dir\t/s/bundle\t12 13 \ndir\t/s/bundle-3.3.8\t\nend\tend\n")
    assert [(found.path, found.pids) for found in seen] == [("/s/bundle", (12, 13)), ("/s/bundle-3.3.8", ())]
    with pytest.raises(Unobservable, match="cut off"):
        parse(bundle_dirs, "dir\t/s/bundle\t12 13 \n")
