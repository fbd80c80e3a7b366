"""The bench's command line."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import plot, show, venvs
from bench.measure import BenchError
from bench.place import lab_in, settle
from bench.sections import Bench, Table, convergence
from lab.errors import LabError

SECTIONS = ("one", "many", "growth", "convergence")
ENVIRONMENTS = ("testinfra", "bundlewrap", "pyinfra", "ansible", "asyncssh")
REPORTS = venvs.TOP / "reports"
BEGAN = time.monotonic()


def say(text: str) -> None:
    """A line of progress."""
    print(f"bench: {time.monotonic() - BEGAN:5.0f} s  {text}", flush=True)


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="script/bench", description="How fast the check is, beside a floor and its peers.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that count, after one that warms up (default: 7)")
    parser.add_argument("--lab", default="bench", metavar="NAME", help="name of the bench's own lab (default: bench)")
    parser.add_argument("--keep", action="store_true", help="leave the lab running")
    chosen = parser.parse_args(words)
    if strange := [name for name in chosen.sections if name not in SECTIONS]:
        parser.error(f"no section {', '.join(strange)}; there are {', '.join(SECTIONS)}")
    if chosen.rounds < 1:
        parser.error("--rounds: at least 1")
    chosen.sections = [name for name in SECTIONS if not chosen.sections or name in chosen.sections]
    return chosen


def measured(chosen: argparse.Namespace) -> list[Table]:
    """Run the chosen sections, the last on a lab in another state."""
    tables: list[Table] = []
    with tempfile.TemporaryDirectory(prefix="bench_") as name:
        work = Path(name)
        steady = [section for section in chosen.sections if section != "convergence"]
        if steady:
            with lab_in(chosen.lab, "prod", say, keep=chosen.keep) as lab:
                settle(say)
                bench = Bench(lab, work, chosen.rounds, say)
                for section in steady:
                    for table in getattr(bench, section)():
                        tables.append(table)
                        print(show.terminal(table), flush=True)
        if "convergence" in chosen.sections:
            with lab_in(chosen.lab, "migrated", say, keep=chosen.keep) as lab:
                settle(say)
                tables.append(convergence(lab, REPORTS, say))
                print(show.terminal(tables[-1]), flush=True)
    return tables


def write(tables: Sequence[Table], about: dict[str, Any]) -> Path:
    """Put JSON, Markdown and the plot into a folder below reports/."""
    folder = REPORTS / f"bench-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(show.data(tables, about))
    (folder / "results.md").write_text(show.markdown(tables, about))
    (folder / "results.svg").write_text(plot.svg([table for table in tables if table.section != "convergence"]))
    return folder


def main(words: Sequence[str]) -> int:
    """Measure; 0 even where a target is missed, 2 if interrupted, 4 where nothing could be measured."""
    chosen = arguments(words)
    if os.geteuid():
        print("bench: its lab boots real hosts and needs root: run it with sudo", file=sys.stderr)
        return 4
    about = {
        "when": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} cores shared by client and hosts, Python {platform.python_version()}",
        "rounds": chosen.rounds,
        "sections": chosen.sections,
    }
    # However it ends, its lab is taken down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    try:
        for name in ENVIRONMENTS:
            venvs.ensure(name, say)
        tables = measured(chosen)
        for file in sorted(write(tables, about).iterdir()):
            print(f"bench: {file.relative_to(venvs.TOP)}", flush=True)
    except (BenchError, LabError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
