"""A project of two statements whose remedy takes two steps, the first of which takes its time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.converge.world import World

REMEDY = '''
from converge.steps import Run, Step, Write

def write(ctx):
    root = ctx.inv.stages.root
    place = f"{ctx.workdir}/waited" if HOST == "control" else f"{root}/waited"
    script = f"echo x | put {place}.begun 644; sleep {SECONDS}; echo done | put {place} 644"
    yield Step("A-1/wait", HOST, "wait", (Run(script),))
    yield Step("A-1/write", "new", "write it", (Write(f"{root}/word", "good"),))
'''


@dataclass
class Site:
    """A project whose one remedy takes its time."""

    top: Path
    world: World

    def begin(self, *more: str) -> subprocess.Popen[str]:
        # Under nohup, or in a shell's background, the tests and all that they start ignore these signals.
        words = ["env", "--default-signal=HUP,INT", sys.executable, "-m", "pytest", "verify", "--remediate", "--yes", *more]
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
        read: dict[str, Any] = json.loads((self.newest() / "run.json").read_text())
        return read

    def newest(self) -> Path:
        """The folder of the last session."""
        return sorted((self.top / "reports").glob("*/run.json"))[-1].parent

    def results(self) -> list[str]:
        """Of the two steps, as planned for the first host."""
        return [step["result"] for step in self.record()["steps"]][:2]


def mending(project: pytest.Pytester, world: World, host: str, seconds: int) -> Site:
    """The project, its statements about a word that is bad; the remedy's first step takes `seconds` on `host`."""
    web = world.inv.web.changed({"resolve": {"app.example": "127.0.0.1"}})
    top = Path(str(project.path))
    (top / "inventory.json").write_bytes(msgspec.json.encode(world.inv.changed({"web": web})))
    (top / "word").unlink()
    (top / "word").symlink_to(world.root / "word")
    (world.root / "word").write_text("bad")
    (top / "mend").mkdir()
    (top / "mend/__init__.py").touch()
    (top / "mend/words.py").write_text(f"HOST, SECONDS = {host!r}, {seconds}\n{REMEDY}")
    return Site(top, world)
