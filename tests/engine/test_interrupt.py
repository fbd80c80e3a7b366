"""Ctrl-C in a session that acts, as a person types it: a process of its own gets the signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from converge.journal import stories
from converge.transport import LocalLink
from hosts.schema import Inventory
from tests.engine.world import World, build

REMEDY = '''
from converge.steps import Run, Step, Write

def write(ctx):
    root = ctx.inv.stages.root
    place = f"{ctx.workdir}/waited" if HOST == "control" else f"{root}/waited"
    script = f"echo x | put {place}.begun 644; sleep 4; echo done | put {place} 644"
    yield Step("A-1/wait", HOST, "wait", (Run(script),))
    yield Step("A-1/write", "new", "write it", (Write(f"{root}/word", "good"),))
'''


@dataclass
class Site:
    """A project whose one remedy takes its time."""

    top: Path
    world: World

    def begin(self) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "pytest", "verify", "--remediate", "--yes"]
        return subprocess.Popen(
            words, cwd=self.top, env=dict(os.environ), text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def until(self, true: Callable[[], object]) -> None:
        end = time.monotonic() + 60
        while not true():
            assert time.monotonic() < end
            time.sleep(0.05)

    def found(self, name: str) -> list[Path]:
        return [*self.world.root.glob(name), *self.top.glob(f"reports/*/work/{name}")]

    def record(self) -> dict[str, Any]:
        newest = sorted((self.top / "reports").glob("*/run.json"))[-1]
        read: dict[str, Any] = json.loads(newest.read_text())
        return read

    def results(self) -> list[str]:
        """Of the two steps, as planned for the first host."""
        return [step["result"] for step in self.record()["steps"]][:2]


@pytest.fixture(params=["new", "control"])
def site(
    request: pytest.FixtureRequest, project: pytest.Pytester, inventory: Inventory, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Site:  # fmt: skip
    world = build(tmp_path / "host", inventory, monkeypatch)
    web = world.inv.web.model_copy(update={"resolve": {"app.example": "127.0.0.1"}})
    top = Path(str(project.path))
    (top / "inventory.json").write_text(world.inv.model_copy(update={"web": web}).model_dump_json())
    (top / "word").unlink()
    (top / "word").symlink_to(world.root / "word")
    (world.root / "word").write_text("bad")
    (top / "mend").mkdir()
    (top / "mend/__init__.py").touch()
    (top / "mend/words.py").write_text(f"HOST = {request.param!r}\n{REMEDY}")
    return Site(top, world)


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
