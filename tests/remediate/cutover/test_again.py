"""The programs of a cutover on a site of real sockets, begun where an earlier one ended half-way: on again, or back."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.remediate.cutover.site import NEW, OLD, Site

pytestmark = pytest.mark.skipif(
    not all(shutil.which(name) for name in ("ss", "curl", "flock")), reason="needs ss, curl and flock"
)
BREAKS = pytest.mark.parametrize("how", ["drain", "kill"])


@pytest.fixture(params=["switch", "rename"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, request.param == "switch")
    yield made
    made.close()


def way(site: Site) -> str:
    return "switch" if site.linked else "rename"


def confirmed_and_broken_off(site: Site, how: str) -> None:
    """The program that waits to be confirmed is, and cannot end what served before, or is killed before it does."""
    site.until(site.asks, 40)
    if how == "drain":
        (site.top / "no-ss").write_text("")
    site.answer()
    if how == "drain":
        assert site.end() == 70, site.log()
        (site.top / "no-ss").unlink()
    else:
        site.until(lambda: "is ended as soon as" in site.said())
        site.signal(signal.SIGKILL)
        site.end()
        assert site.after() == 70, site.log()
    assert "and what served before is still there" in site.said()
    assert site.phase() == ""


def goes_through(site: Site) -> None:
    site.until(site.asks, 40)
    site.answer()
    assert site.end() == 0, site.log()


def stands_alone(site: Site, unit: str) -> None:
    """It serves under the one name there is, the other has ended, and nothing is held."""
    name, other = unit.removesuffix(".service"), OLD if unit == NEW else NEW
    assert site.ask() == name, site.log()
    assert site.main(other) == 0
    assert (site.top / "pids/unicorn.pid").read_text() == f"{site.main(unit)}\n"
    assert [p.name for p in site.sockets.iterdir() if p.name.startswith(".prod")] == [], site.log()
    assert site.systemctl("show", "rotation.timer", "-p", "ActiveState") == "ActiveState=active"
    drop_ins = [p.name for p in (site.top / "run/systemd/user").rglob("*.conf")]
    assert drop_ins == ([] if unit == NEW else ["90-migration-gate.conf"])


@BREAKS
def test_what_serves_after_one_that_was_broken_off_is_held_by_nobody(site: Site, how: str) -> None:
    site.begin(way(site))
    confirmed_and_broken_off(site, how)
    assert site.ask() == "new"
    assert site.systemctl("show", "rotation.timer", "-p", "ActiveState") == "ActiveState=active"
    texts = [p.read_text() for p in (site.top / "run/systemd/user").rglob("*.conf")]
    assert not [text for text in texts if "Refuse" in text]


@BREAKS
def test_the_way_back_from_one_that_was_broken_off_loses_nothing(site: Site, how: str) -> None:
    site.begin(way(site))
    confirmed_and_broken_off(site, how)
    site.again(way(site), back=True)
    with site.watched():
        goes_through(site)
    assert site.seen == ["new", "old"]
    assert site.astray == []
    stands_alone(site, OLD)


def test_the_next_one_ends_what_was_left(site: Site) -> None:
    site.begin(way(site))
    confirmed_and_broken_off(site, "kill")
    site.again(way(site), back=False)
    with site.watched():
        goes_through(site)
    assert site.seen == ["new"]
    stands_alone(site, NEW)


def test_the_way_on_from_a_way_back_that_was_broken_off_loses_nothing(site: Site) -> None:
    site.begin(way(site))
    goes_through(site)
    site.again(way(site), back=True)
    confirmed_and_broken_off(site, "drain")
    assert site.ask() == "old"
    site.again(way(site), back=False)
    with site.watched():
        goes_through(site)
    assert site.seen == ["old", "new"]
    stands_alone(site, NEW)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("moment", ["beside", "over"])
def test_a_way_back_that_ends_half_way_too_leaves_what_serves(site: Site, moment: str, how: signal.Signals) -> None:
    site.begin(way(site))
    confirmed_and_broken_off(site, "drain")
    site.again(way(site), back=True)
    with site.watched():
        site.until(lambda: site.asks() if moment == "over" else site.phase() == moment, 40)
        site.signal(how)
        site.end()
        site.after()
    assert site.seen == (["new", "old", "new"] if moment == "over" else ["new"])
    stands_alone(site, NEW)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_one_that_ends_before_it_began_anything_changes_nothing(site: Site, how: signal.Signals) -> None:
    (site.top / "slow").write_text("")
    site.begin(way(site))
    with site.watched():
        site.until(lambda: site.phase() == "quiet")
        site.signal(how)
        site.end()
        site.after()
    assert site.seen == ["old"]
    stands_alone(site, OLD)


def test_one_that_is_killed_while_it_clears_up_is_told_as_through_and_holds_nothing(site: Site) -> None:
    site.begin(way(site))
    site.until(site.asks, 40)
    (site.top / "slow").write_text("")
    site.answer()
    with site.watched():
        site.until(lambda: site.phase() == "tidy", 40)
        site.signal(signal.SIGKILL)
        site.end()
        assert site.after() == 70
    assert site.seen == ["new"]
    assert "new.service serves; left: it was killed" in site.said()
    assert not list((site.top / f"run/systemd/user/{NEW}.d").glob("90-migration-hold.conf"))
    site.again(way(site), back=True)
    with site.watched():
        goes_through(site)
    assert site.seen == ["new", "old"]
