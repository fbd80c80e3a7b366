"""A target for tests that speak to no host: the lab's inventory, with what a test wants otherwise."""

from __future__ import annotations

import os
import subprocess
from typing import Any, TypeVar

from converge.readings import Context, Raw, Reading
from facts.prelude import prelude
from hosts.loader import load
from hosts.schema import Inventory

T = TypeVar("T")


def inventory(**changes: dict[str, Any]) -> Inventory:
    """The lab's inventory; ``stages={"root": "/x"}`` changes single values of a section."""
    inv = load("lab", offline=True)
    sections = {name: getattr(inv, name).changed(values) for name, values in changes.items()}
    return inv.changed(sections)


def at_app(inv: Inventory) -> Context:
    """The app host's context."""
    return Context(inv, inv.app_host)


def at_control(inv: Inventory) -> Context:
    """The control machine's context."""
    return Context(inv, None)


def parse(reading: Reading[T], out: str, err: str = "", rc: int = 0, inv: Inventory | None = None) -> T:
    """What a reading makes of a recorded answer."""
    inv = inv or inventory()
    assert reading.parse
    return reading.parse(Raw(rc, out, err), at_control(inv) if reading.on == "control" else at_app(inv))


def ask(reading: Reading[T], inv: Inventory) -> T:
    """Run a reading's script on this machine, as a host's shell would, and parse its answer."""
    context = at_control(inv) if reading.on == "control" else at_app(inv)
    assert reading.script
    assert reading.parse
    script = f"{prelude(inv)}\n(\n{reading.script(context)}\n) </dev/null"
    done = subprocess.run(
        ["/bin/sh", "-c", script], capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}, timeout=60
    )
    return reading.parse(Raw(done.returncode, done.stdout, done.stderr), context)
