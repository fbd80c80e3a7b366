"""The programs of a cutover where the home is full, or over its quota, before they come to their end."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.remediate.cutover.site import NEW, OLD, Site
from tests.remediate.cutover.test_killed import is_as_before

pytestmark = pytest.mark.skipif(
    not all(shutil.which(name) for name in ("ss", "curl", "flock")), reason="needs ss, curl and flock"
)
Make = Callable[[str], Site]

NO_ROOM = r"""#!/bin/sh
if [ -e "$SITE/full" ]; then
  to=$(readlink "/proc/$$/fd/1")
  case "${0##*/}" in
    mkdir) for to; do :; done; [ ! -d "$to" ] || exit 0 ;;
    cp|ln) for to; do :; done ;;
  esac
  case "$to" in
    "$SITE/attic/"*|"$SITE/pids/"*|"$SITE/sockets/.attic"*) echo "${0##*/}: $to: No space left on device" >&2; exit 1 ;;
  esac
fi
exec "TOOL" "$@"
"""
"""Stands for a tool that writes: on a home that is full it makes no folder and no file, and can still rename."""


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Site] = []

    def site(strategy: str) -> Site:
        made.append(Site(tmp_path, strategy == "switch"))
        for tool in ("cat", "cp", "ln", "mkdir"):
            stand_in = tmp_path / "bin" / tool
            stand_in.write_text(NO_ROOM.replace("TOOL", str(shutil.which(tool))))
            stand_in.chmod(0o755)
        return made[-1]

    yield site
    for each in made:
        each.close()


def step_folder(site: Site) -> Path:
    return site.top / f"attic/R1/{site.n:03}"


def fill(site: Site) -> None:
    """From now on the home takes nothing: no folder, no byte; the runtime directory is another file system."""
    (site.top / "full").write_text("")
    ended = step_folder(site) / "ended"
    if site.top / "attic" in ended.resolve().parents:
        ended.unlink()
        ended.symlink_to("/dev/full")


def timer(site: Site) -> str:
    return site.systemctl("show", "rotation.timer", "-p", "ActiveState").removeprefix("ActiveState=")


MOMENTS = {
    "beside": lambda site: site.phase() == "beside" and site.main(NEW) != 0,
    "proven": lambda site: site.phase() == "beside" and site.ask(site.sockets / ".prod.next") == "new",
    "over": Site.asks,
}


def put_back(site: Site, how: str) -> int:
    """End it, and tell the status of whoever put back: it, or the second script after it."""
    if how == "failed":
        (site.top / f"{site.n}.no").write_text("status 502\n")
        status = site.end()
        assert site.after() == 0, "nothing is left for the second script"
        return status
    site.signal(signal.SIGTERM if how == "stopped" else signal.SIGKILL)
    status = site.end()
    again = site.after()
    return again if how == "killed" else status


@pytest.mark.parametrize(
    ("way", "moment", "how"),
    [
        ("rename", "beside", "stopped"),
        ("switch", "proven", "killed"),
        ("switch", "over", "failed"),
        ("rename", "over", "stopped"),
        ("rename", "over", "killed"),
    ],
)
def test_all_is_put_back_on_a_home_that_is_full(make: Make, way: str, moment: str, how: str) -> None:
    site = make(way)
    site.begin(way)
    with site.watched():
        site.until(lambda: MOMENTS[moment](site))
        fill(site)
        status = put_back(site, how)
    assert status == 81, site.log()
    assert "" not in site.seen
    is_as_before(site)
    assert site.restart(OLD) == 0, "nothing refuses it any more"


@pytest.mark.parametrize("how", ["failed", "stopped", "killed"])
def test_a_brief_cutover_is_put_back_on_a_home_that_is_full(make: Make, how: str) -> None:
    site = make("rename")
    site.begin("brief")
    site.until(site.asks)
    fill(site)
    assert put_back(site, how) == 81, site.log()
    is_as_before(site)


def test_what_is_done_on_a_home_that_is_full_is_noted_in_the_runtime_directory(make: Make) -> None:
    site = make("rename")
    site.begin("rename")
    site.until(site.asks)
    log = step_folder(site) / "log"
    forth, file = log.read_text(), (site.top / "pids/unicorn.pid").resolve()
    parked = step_folder(site) / str(forth.splitlines().index(f"aside {file}") + 1) / "kept"
    assert parked.exists()
    fill(site)
    assert put_back(site, "failed") == 81, site.log()
    back = (site.top / "run/.attic/R1/001/back/log").read_text()
    assert log.read_text() == forth
    assert f"put {site.top}/run/systemd/user/{NEW}.d/90-migration-gate.conf\n" in back
    assert back.endswith("start rotation.timer\n")
    assert not parked.exists(), "the log says that it lies there, and an undo would put it in the place of what is newer"


def test_what_is_in_the_place_of_the_parked_pid_file_is_kept(make: Make) -> None:
    site = make("rename")
    site.begin("rename")
    site.until(site.asks)
    fill(site)
    left = f"{site.main(NEW)}\n"
    site.kill(NEW)
    assert site.end() == 81, site.log()
    is_as_before(site)
    assert [kept.read_text() for kept in step_folder(site).glob("*/kept.last")] == [left]


def test_a_pid_file_that_somebody_has_made_a_link_meanwhile_is_left_and_said(make: Make) -> None:
    site = make("rename")
    site.begin("rename")
    site.until(site.asks)
    fill(site)
    link = site.top / "pids/unicorn.pid"
    (site.top / "theirs").write_text("1\n")
    link.unlink()
    link.symlink_to(site.top / "theirs")
    served = site.main(OLD)
    assert put_back(site, "failed") == 70, site.log()
    assert f"unicorn.pid does not name process {served}, which serves" in (site.top / "N.err").read_text()
    assert (link.is_symlink(), link.read_text()) == (True, "1\n")
    assert (site.ask(), site.main(NEW), timer(site)) == ("old", 0, "active")
    assert [p.name for p in (site.top / "run/systemd/user").rglob("*.conf")] == ["90-migration-gate.conf"]


def test_a_gate_that_cannot_be_closed_is_said_beside_what_else_is_wrong(make: Make) -> None:
    site = make("rename")
    site.begin("rename")
    site.until(site.asks)
    fill(site)
    gate = site.top / f"run/systemd/user/{NEW}.d/90-migration-gate.conf"
    gate.mkdir()
    (site.top / "pids/unicorn.pid").unlink()
    (site.top / "pids/unicorn.pid").mkdir()
    assert put_back(site, "failed") == 70, site.log()
    said = (site.top / "N.err").read_text()
    assert "which serves; the gate before new.service could not be closed" in said
    assert (site.ask(), timer(site)) == ("old", "active")


def test_who_is_alone_is_let_go_on_a_home_that_is_full(make: Make) -> None:
    site = make("switch")
    site.begin("switch")
    site.until(site.asks)
    fill(site)
    site.kill(OLD)
    assert put_back(site, "failed") == 70, site.log()
    assert (site.ask(), timer(site)) == ("new", "active")
    assert site.restart(NEW) == 0, "nothing refuses it any more"


@pytest.mark.parametrize("way", ["switch", "brief"])
def test_what_was_confirmed_is_let_go_on_a_home_that_is_full(make: Make, way: str) -> None:
    site = make(way)
    site.begin(way)
    site.until(site.asks)
    fill(site)
    site.answer()
    assert site.end() == 70, site.log()
    assert (site.ask(), timer(site), site.after()) == ("new", "active", 0)
    assert [site.restart(unit) for unit in (OLD, NEW)] == [0, 0], "nothing refuses it any more"
