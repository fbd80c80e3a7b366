"""Ctrl-C in a session that acts, as a person types it: a process of its own gets the signals."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from converge.journal import stories
from converge.transport import LocalLink
from hosts.schema import Inventory
from tests.engine.site import Site, mending
from tests.engine.world import build


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
