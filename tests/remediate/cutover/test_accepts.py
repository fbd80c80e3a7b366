"""By what a cutover accepts the new application: whoever lacks one of these is ended, and the old one goes on serving."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

import pytest

from tests.remediate.cutover.site import NEW, Site
from tests.remediate.cutover.test_killed import Make, asked, is_as_before, make

__all__ = ["make"]

pytestmark = pytest.mark.skipif(
    not all(shutil.which(name) for name in ("ss", "curl", "flock")), reason="needs ss, curl and flock"
)
LOOKS = 1.5
"""Seconds in which the program looks several times."""


def beside(site: Site) -> str:
    """Who answers where the new application binds before it is let in."""
    return site.ask(site.sockets / ".prod.next")


def adopted(site: Site) -> None:
    """The unit's main process belongs to another unit: the manager believed a PID file."""
    (site.top / "adopted").write_text("")


def other_tree(site: Site) -> None:
    """It works in the other stage, as `working_directory` had it twice."""
    run = site.top / "new/run"
    run.write_text(run.read_text().replace('cd "$(dirname "$0")"', 'cd "$(dirname "$0")/../old"'))


def other_process(site: Site) -> None:
    """It is not the unit's main process that listens."""
    (site.top / "new/forks.new").write_text("")


def sick(site: Site) -> None:
    """It answers with an error."""
    (site.top / "new/sick.new").write_text("")


FLAWS: list[Callable[[Site], None]] = [adopted, other_tree, other_process, sick]


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.__name__)
def test_one_that_answers_beside_but_is_not_the_units_own_from_the_current_release_is_never_let_in(
    make: Make, flaw: Callable[[Site], None]
) -> None:
    site = make("rename")
    flaw(site)
    site.begin("rename")
    with site.watched():
        site.until(lambda: beside(site) == "new")
        time.sleep(LOOKS)
        assert (site.phase(), asked(site)) == ("beside", False)
        (site.top / f"units/{NEW}.restarts").write_text("3\n")
        assert site.end() == 81, site.log()
    assert site.seen == ["old"]
    assert not asked(site)
    said = (site.top / "N.err").read_text()
    works_elsewhere = f"{NEW} works in {site.top}/old, and {site.top}/new is the release that is current"
    assert (works_elsewhere if flaw is other_tree else f"{NEW} does not answer on ") in said
    (site.top / "adopted").unlink(missing_ok=True)
    is_as_before(site)


def test_one_whose_release_is_not_current_any_more_is_not_let_in(make: Make) -> None:
    site = make("rename", stable=3.0)
    releases(site)
    site.begin("rename")
    with site.watched():
        site.until(lambda: beside(site) == "new" and "RefuseManualStop" in drop_ins(site))
        deploy(site)
        assert site.end() == 81, site.log()
    assert site.seen == ["old"]
    assert not asked(site)
    said = (site.top / "N.err").read_text()
    assert f"{NEW} works in {site.top}/first, and {site.top}/second is the release that is current" in said
    is_as_before(site)


@pytest.mark.parametrize("way", ["rename", "brief"])
def test_one_whose_release_is_not_current_any_more_while_it_waits_to_be_confirmed_is_put_back(make: Make, way: str) -> None:
    """As by a deploy that falls into the cutover: its restart was refused, and what serves is not what it deployed."""
    site = make("rename", confirm=10.0)
    releases(site)
    site.begin(way)
    site.until(lambda: asked(site))
    deploy(site)
    assert site.end() == 81, site.log()
    said = (site.top / "N.err").read_text()
    assert f"{NEW} works in {site.top}/first, and {site.top}/second is the release that is current" in said
    is_as_before(site)


def releases(site: Site) -> None:
    """Two releases of the new application, of which the first is current."""
    (site.top / "new").rename(site.top / "first")
    shutil.copytree(site.top / "first", site.top / "second", symlinks=True)
    (site.top / "new").symlink_to("first")


def deploy(site: Site) -> None:
    """Make the second release current."""
    (site.top / "link").symlink_to("second")
    (site.top / "link").rename(site.top / "new")


def drop_ins(site: Site) -> str:
    """What holds the new unit back."""
    return "".join(file.read_text() for file in (site.top / f"run/systemd/user/{NEW}.d").glob("*.conf"))


@pytest.mark.parametrize(
    ("flaw", "said"),
    [
        ("lame", "a search by the new application was answered with 200, 1 times without Solr"),
        ("fails", "a search by the new application was answered with 500, 0 times without Solr"),
        ("", "whether Solr answers searches is not known: {log} cannot be read"),
    ],
)
def test_one_whose_searches_solr_does_not_answer_is_not_let_in(make: Make, flaw: str, said: str) -> None:
    site = make("rename")
    site.search, log = "/search", site.top / "new/production.log"
    if flaw:
        log.write_text("falling back to lame search, long ago\n")
        (site.top / f"new/{flaw}.new").write_text("")
    site.begin("rename")
    with site.watched():
        assert site.end() == 81, site.log()
    assert site.seen == ["old"]
    assert not asked(site)
    assert said.format(log=log) in (site.top / "N.err").read_text()
    is_as_before(site)


def test_one_whose_searches_solr_answers_is_let_in(make: Make) -> None:
    site = make("rename")
    site.search = "/search"
    (site.top / "new/production.log").write_text("falling back to lame search, long ago\n")
    site.begin("rename")
    site.until(lambda: asked(site))
    (site.top / "1.yes").write_text("yes\n")
    assert site.end() == 0, site.log()
    assert site.ask() == "new"


@pytest.mark.parametrize("confirming", [False, True], ids=["stabilising", "confirming"])
def test_one_that_was_started_anew_meanwhile_is_put_back_however_well_it_answers(make: Make, confirming: bool) -> None:
    """A process that crashes and is started again binds the path itself, and answers as before."""
    site = make("rename", stable=0.0 if confirming else 4.0, confirm=5.0)
    site.begin("brief")
    site.until(lambda: site.ask() == "new" and "RefuseManualStop" in drop_ins(site))
    if confirming:
        site.until(lambda: asked(site))
    site.crash(NEW)
    assert site.end() == 81, site.log()
    assert asked(site) == confirming
    said = "was restarted while it waited to be confirmed" if confirming else "and its process did not stay for 4 s"
    assert said in (site.top / "N.err").read_text()
    is_as_before(site)


def test_one_that_was_started_anew_after_it_was_led_over_is_put_back(make: Make) -> None:
    site = make("rename", confirm=5.0)
    site.begin("rename")
    with site.watched():
        site.until(lambda: asked(site))
        site.crash(NEW)
        assert site.end() == 81, site.log()
    assert "was restarted while it waited to be confirmed" in (site.top / "N.err").read_text()
    is_as_before(site)
