"""What script/faults and script/chaos share: a lab for many trials, results that outlive an interruption, and the end."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lab.errors import LabError
from lab.lab import Lab
from lab.states import STATES
from tests.live.rig import Rig


@contextmanager
def rig_of(lab: str, log: Path, sizes: Mapping[str, str] | None = None) -> Iterator[Rig]:
    """A rig on a lab of that name, which is down before and after; what sessions say is added to the `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        rig = Rig(Lab.open(lab, STATES), lambda text: print(text, file=file, flush=True))
        if sizes:
            rig.lab.sizes = dict(sizes)
        rig.lab.down()
        try:
            yield rig
        finally:
            rig.lab.down()


def swept(script: str, tries: Callable[[], None], table: Callable[[], Table]) -> int:
    """Try what is to be tried, and show the results whatever ended it; 0, 130 if it was interrupted, 1 if the lab failed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        tries()
    except KeyboardInterrupt:
        print(f"interrupted: the next script/{script} goes on from here", file=sys.stderr)
        return 130
    except LabError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    finally:
        Console().print(table())
    return 0


def load(file: Path) -> Any:
    """What earlier sweeps kept, None if there was none."""
    return json.loads(file.read_text()) if file.exists() else None


def save(file: Path, results: Any) -> None:
    """Keep the results, whole or not at all."""
    beside = file.with_suffix(".new")
    beside.write_text(json.dumps(results, indent=1))
    beside.replace(file)
