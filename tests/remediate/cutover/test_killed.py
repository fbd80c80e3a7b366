"""The programs of a cutover on a site of real sockets: what serves when they are stopped, killed, left with one server."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.remediate.cutover.site import NEW, OLD, Site

pytestmark = pytest.mark.skipif(
    not all(shutil.which(name) for name in ("ss", "curl", "flock")), reason="needs ss, curl and flock"
)
Make = Callable[..., Site]
TOP = Path(__file__).resolve().parents[3]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Site] = []

    def site(strategy: str, stable: float = 1.0, confirm: float = 20.0) -> Site:
        made.append(Site(tmp_path, strategy == "switch", stable, confirm))
        return made[-1]

    yield site
    for each in made:
        each.close()


def asked(site: Site) -> bool:
    return (site.top / "1.asked").exists()


SERVED, SERVES = f"{OLD}, release old", f"{NEW}, release new"
WAYS = pytest.mark.parametrize("way", ["switch", "rename"])


@WAYS
def test_the_web_servers_path_leads_at_every_instant_to_what_whoever_starts_next_will_bind(make: Make, way: str) -> None:
    site = make(way)
    site.begin(way)
    with site.watched():
        site.until(lambda: asked(site))
        (site.top / "1.yes").write_text("yes\n")
        assert site.end() == 0, site.log()
    assert site.seen == ["old", "new"]
    assert site.astray == []
    assert site.main(OLD) == 0
    assert (site.top / "pids/unicorn.pid").read_text() == f"{site.main(NEW)}\n"
    assert [p.name for p in site.sockets.iterdir() if p.name.startswith(".prod")] == []
    assert site.phase() == ""
    assert site.after() == 0
    assert site.led() == [SERVED, SERVES]


def test_a_restart_by_somebody_in_the_middle_is_refused_with_a_word_on_why_and_changes_nothing(make: Make) -> None:
    site = make("rename")
    site.begin("rename")
    with site.watched():
        site.until(lambda: asked(site))
        assert [site.restart(unit) for unit in (OLD, NEW)] == [4, 4]
        why = site.systemctl("show", NEW, "-p", "Description")
        (site.top / "1.yes").write_text("yes\n")
        assert site.end() == 0, site.log()
    assert site.seen == ["old", "new"]
    assert "Held by hkn-migration (run R1)" in why
    assert why.endswith("then do again what was refused, of a deploy all of it")
    assert site.systemctl("show", NEW, "-p", "Description") == "Description="


def is_as_before(site: Site) -> None:
    """The old application serves, under the names that it had, and nothing of the new one is left."""
    assert site.ask() == "old", site.log()
    assert (site.main(NEW), site.phase()) == (0, "")
    assert site.main(OLD)
    assert (site.top / "pids/unicorn.pid").read_text() == f"{site.main(OLD)}\n"
    assert site.systemctl("show", "rotation.timer", "-p", "ActiveState") == "ActiveState=active"
    assert [p.name for p in site.sockets.iterdir() if p.name.startswith(".prod")] == [], site.log()
    drop_ins = [p.name for p in (site.top / "run/systemd/user").rglob("*.conf")]
    assert drop_ins == ["90-migration-gate.conf"]


MOMENTS = {
    "beside": lambda site: site.phase() == "beside" and site.main(NEW) != 0,
    "proven": lambda site: site.phase() == "beside" and site.ask(site.sockets / ".prod.next") == "new",
    "over": asked,
}


@pytest.mark.parametrize(
    ("way", "moment"), [("switch", "beside"), ("rename", "proven"), ("switch", "over"), ("rename", "over")]
)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_it_leaves_the_old_application_serving(make: Make, way: str, moment: str, how: signal.Signals) -> None:
    site = make(way)
    site.begin(way)
    with site.watched():
        site.until(lambda: MOMENTS[moment](site))
        site.signal(how)
        site.end()
        put_back = site.after()
    assert put_back == (81 if how is signal.SIGKILL else 0), site.log()
    assert "" not in site.seen
    assert site.astray == []
    assert site.led() == ([SERVED, SERVES, SERVED] if moment == "over" else [SERVED])
    is_as_before(site)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_brief_cutover_that_ends_between_stop_and_start_starts_the_old_application_again(
    make: Make, how: signal.Signals
) -> None:
    site = make("rename")
    site.env["BOOT"] = "1"
    site.begin("brief")
    site.until(lambda: site.phase() == "over" and site.main(OLD) == 0)
    site.signal(how)
    site.end()
    assert site.after() == (81 if how is signal.SIGKILL else 0), site.log()
    assert site.led()[-1] == SERVED
    is_as_before(site)


def test_a_new_application_that_boots_and_hears_no_signal_is_not_waited_for_while_nobody_serves(make: Make) -> None:
    site = make("rename")
    site.env |= {"BOOT": "3", "DEAF": "yes"}
    site.begin("brief")
    site.until(lambda: site.phase() == "over" and site.main(NEW) != 0)
    site.signal(signal.SIGTERM)
    began = time.monotonic()
    site.until(lambda: site.main(NEW) == 0 and site.main(OLD) != 0)
    assert time.monotonic() - began < 10, "without a site for as long as a graceful stop may take"
    site.end()
    is_as_before(site)


def test_a_brief_cutover_notes_from_when_nobody_served(make: Make) -> None:
    site = make("rename")
    site.begin("brief")
    site.until(lambda: asked(site))
    (site.top / "1.yes").write_text("yes\n")
    assert site.end() == 0, site.log()
    assert site.led() == [SERVED, "nobody", SERVES]


def test_a_part_of_the_program_that_outlives_its_shell_is_waited_for(make: Make) -> None:
    site = make("rename", confirm=3.0)
    site.begin("rename")
    site.until(lambda: asked(site))
    assert site.process
    site.process.kill()
    site.end()
    assert site.after() == 0, "it put back by itself, as nobody confirmed"
    is_as_before(site)


@pytest.mark.parametrize("ss", [True, False], ids=["ss tells", "ss fails"])
def test_the_only_server_is_never_ended(make: Make, ss: bool) -> None:
    """The old one is killed while the new one waits to be confirmed, and nobody confirms it."""
    site = make("switch", confirm=2.0)
    site.begin("switch")
    with site.watched():
        site.until(lambda: asked(site))
        site.kill(OLD)
        if not ss:
            (site.top / "no-ss").write_text("")
        assert site.end() == 70, site.log()
    assert site.seen == ["old", "new"]
    assert "does not listen any more" in (site.top / "N.err").read_text()
    assert site.main(NEW)
    site.systemctl("stop", NEW)
    assert site.main(NEW) == 0, "nothing refuses it any more"
    assert site.after() == 0


def test_ss_that_fails_does_not_make_the_old_application_nobody(make: Make) -> None:
    site = make("rename")
    site.begin("rename")
    with site.watched():
        site.until(lambda: asked(site))
        (site.top / "no-ss").write_text("")
        (site.top / "1.no").write_text("status 502\n")
        site.end()
    assert "" not in site.seen, site.log()
    assert site.ask() == "old"
    assert site.main(NEW) == 0
    assert site.led() == [SERVED, SERVES], "without ss nobody can tell, and nothing is noted"


@pytest.mark.parametrize("sick", [True, False])
def test_an_old_application_that_died_is_started_again_where_the_new_one_does_not_answer(make: Make, sick: bool) -> None:
    site = make("switch", stable=30.0)
    site.begin("switch")
    site.until(lambda: MOMENTS["proven"](site))
    site.kill(OLD)
    if sick:
        (site.top / "new/sick.new").write_text("")
        site.kill(NEW)
    else:
        site.signal(signal.SIGTERM)
    site.end()
    is_as_before(site)


def test_after_a_restart_of_the_host_the_old_unit_binds_what_the_web_server_asks(make: Make) -> None:
    site = make("switch")
    site.begin("switch")
    site.until(lambda: MOMENTS["proven"](site))
    site.signal(signal.SIGKILL)
    site.end()
    site.kill(NEW)
    site.kill(OLD)
    shutil.rmtree(site.top / "run/systemd")
    site.systemctl("start", OLD)
    site.until(lambda: site.ask() == "old")


MAKER = """
import os, signal, sys
from pathlib import Path
from tests.remediate.cutover.site import OLD, Site

site = Site(Path(sys.argv[1]), linked=False)
site.systemctl("start", OLD)
site.until(lambda: site.ask() == "old")
print(site.main(OLD), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_stand_ins_end_with_whoever_started_them(tmp_path: Path) -> None:
    words = [sys.executable, "-c", MAKER, str(tmp_path)]
    done = subprocess.run(words, cwd=TOP, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    stand_in, limit = Path(f"/proc/{int(done.stdout)}"), time.monotonic() + 10
    while stand_in.exists():
        assert time.monotonic() < limit, "it outlives its site"
        time.sleep(0.05)
