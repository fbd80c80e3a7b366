"""Ctrl-C in a session that acts, as a person types it: a process of its own gets the signals."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from converge.journal.journal import stories
from converge.transport import LocalLink
from hosts.schema import Inventory
from tests.converge.site import Site, mending
from tests.converge.world import build


@pytest.fixture(params=["new", "control"])
def site(
    request: pytest.FixtureRequest, project: pytest.Pytester, inventory: Inventory, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Site:  # fmt: skip
    return mending(project, build(tmp_path / "host", inventory, monkeypatch), request.param, seconds=4)


def test_once_finishes_the_step_stops_and_reports(site: Site) -> None:
    session = site.begin()
    site.until(lambda: site.found("waited.begun"))
    session.send_signal(signal.SIGINT)
    out, _ = session.communicate(timeout=90)
    assert session.returncode == 2, out
    assert "stopping after this step" in out
    assert site.found("waited"), "the step came to its end"
    assert (site.world.root / "word").read_text() == "bad", "the next one was not begun"
    assert site.results() == ["done", "not reached"]
    (story,) = stories(LocalLink())
    assert story.end is not None
    assert story.end["exit_code"] == 2


def test_twice_stops_now_and_the_next_run_finds_out_what_became_of_it(site: Site) -> None:
    session = site.begin()
    site.until(lambda: site.found("waited.begun"))
    began = time.monotonic()
    session.send_signal(signal.SIGINT)
    assert session.stdout is not None
    while "stopping after" not in session.stdout.readline():
        pass
    session.send_signal(signal.SIGINT)
    out, _ = session.communicate(timeout=90)
    assert session.returncode == 2, out
    assert "INTERNALERROR" not in out
    assert time.monotonic() - began < 60
    (story,) = stories(LocalLink())
    assert story.is_open
    assert site.results() == ["unknown", "not reached"]
    early = site.begin()
    out, _ = early.communicate(timeout=90)
    assert early.returncode == 10 or site.found("waited"), out
    site.until(lambda: site.found("waited"))
    time.sleep(0.5)
    again = site.begin()
    out, _ = again.communicate(timeout=90)
    assert again.returncode == 0, out
    assert any("ended without an end" in file.read_text() for file in (site.top / "reports").glob("*/run.json"))


APART = """
class Apart(LocalLink):
    def exec(self, script, *, limit, stdin=b""):
        return super().exec(f"XDG_RUNTIME_DIR={HERE}/apart; export XDG_RUNTIME_DIR; {script}", limit=limit, stdin=stdin)

    def talk(self, script):
        return super().talk(f"XDG_RUNTIME_DIR={HERE}/apart; export XDG_RUNTIME_DIR; {script}")

converge.checking.session.connect = lambda inv, host, ask=None: Apart()
"""
"""Hosts whose locks are not this machine's: there a step on this machine is not seen by the lock."""


@pytest.mark.parametrize("site", ["control"], indirect=True)
def test_twice_in_a_step_on_this_machine_keeps_the_next_run_out_until_its_end(site: Site) -> None:
    conftest = site.top / "conftest.py"
    conftest.write_text(conftest.read_text() + APART)
    (site.top / "apart").mkdir()
    remedy = site.top / "mend/words.py"
    remedy.write_text(remedy.read_text().replace("SECONDS = 'control', 4", "SECONDS = 'control', 7"))
    session = site.begin()
    site.until(lambda: site.found("waited.begun"))
    session.send_signal(signal.SIGINT)
    assert session.stdout is not None
    while "stopping after" not in session.stdout.readline():
        pass
    session.send_signal(signal.SIGINT)
    out, _ = session.communicate(timeout=90)
    assert session.returncode == 2, out
    assert "step 1 (A-1/wait at control: wait) was left while it acted, and may still be going on, by itself" in out
    assert "no other run begins before the end of that step" in site.record()["notes"][-1]
    (story,) = stories(LocalLink())
    assert story.is_open
    early = site.begin()
    out, _ = early.communicate(timeout=90)
    assert not site.found("waited"), "the step must outlast this run for it to prove anything"
    assert early.returncode == 10, out
    assert f"control: step 1 (A-1/wait at control) of run {story.id} still acts: run again after its end" in out
    assert len(stories(LocalLink())) == 1, "the next run left nothing"
    site.until(lambda: site.found("waited"))
    time.sleep(0.5)
    remedy.write_text(remedy.read_text().replace("SECONDS = 'control', 7", "SECONDS = 'control', 0"))
    again = site.begin()
    out, _ = again.communicate(timeout=90)
    assert again.returncode == 0, out
    assert (site.world.root / "word").read_text() == "good"
