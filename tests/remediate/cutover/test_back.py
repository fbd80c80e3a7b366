"""The way back from an application that does not even listen any more: nothing can be handed over, the old one starts."""

from __future__ import annotations

import shutil
import signal

import pytest

from tests.remediate.cutover.site import NEW, OLD, UNDER_LOCK, Site
from tests.remediate.cutover.test_again import goes_through, pytestmark, site, stands_alone, way

__all__ = ["pytestmark", "site"]


def broken(site: Site) -> None:
    """The new application serves, and is gone: nobody serves."""
    site.begin(way(site))
    goes_through(site)
    site.kill(NEW)
    assert site.ask() == ""


def test_the_old_application_is_started(site: Site) -> None:
    broken(site)
    site.again(way(site), back=True)
    goes_through(site)
    stands_alone(site, OLD)


def test_one_that_starts_again_and_again_is_ended_first(site: Site) -> None:
    broken(site)
    # It boots, and does not come to the point at which it binds its path.
    site.env["BOOT"] = "60"
    site.systemctl("start", NEW)
    del site.env["BOOT"]
    site.again(way(site), back=True)
    goes_through(site)
    stands_alone(site, OLD)


def test_one_that_serves_again_by_then_hands_over_at_once(site: Site) -> None:
    broken(site)
    site.systemctl("start", NEW)
    site.until(lambda: site.ask() == "new")
    with site.watched():
        site.again(way(site), back=True)
        goes_through(site)
    assert site.seen == ["new", "old"]
    stands_alone(site, OLD)


def test_one_that_was_not_confirmed_can_be_tried_again_after_a_boot(site: Site) -> None:
    site.begin(way(site))
    goes_through(site)
    site.confirm = 1.0
    site.again(way(site), back=True)
    assert site.end() == 81, site.log()
    for name in (".attic", "hkn-migration-R1-2.phase"):
        left = site.top / "run" / name
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    (site.top / "2.asked").unlink()
    site.go(UNDER_LOCK)
    goes_through(site)
    stands_alone(site, OLD)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_what_is_broken_off_is_put_back_by_the_program_that_was_begun(site: Site, how: signal.Signals) -> None:
    broken(site)
    site.again(way(site), back=True)
    site.until(site.asks, 40)
    site.signal(how)
    code = site.end()
    if how is signal.SIGKILL:
        code = site.after()
    assert code == 81, site.log()
    assert site.ask() == "new", "here it can start again"
    assert site.main(OLD) == 0
    assert site.phase() == ""
