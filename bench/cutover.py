"""What a cutover costs: the page's order, brief, switch and rename beside each other, under the same load.

``script/bench cutover [--rounds N] [WAY ...]`` on a lab of its own, which needs root. In ``aside`` the application is
booted a second time and ended again without a switch: what that alone costs is the measure for the others.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from converge.checking.statement import REGISTRY, import_statements
from converge.errors import ConvergeError
from facts.units.states import GATE, GATE_SHUT, GRACEFUL
from lab.connection import SITE
from lab.errors import LabError
from lab.lab import Lab
from lab.payload import web
from lab.payload.places import APP_UNIT, MIGRATE_UNIT, PROD, SOCKETS, USER
from lab.states import STATES
from remediate.cutover.phases import HOLD

TOP = Path(__file__).resolve().parent.parent
LAB = "bench-cutover"
BEFORE, AFTER = 3.0, 3.0
"""Seconds of load before and after the cutover."""
FACTOR, SLACK = 2.0, 0.25
"""The longest gap may be so many times, or so many seconds longer than, that of ``aside``."""

DROP_INS = f"$XDG_RUNTIME_DIR/systemd/user/{APP_UNIT}.d"
GO_BACK = f"""
set -e
g="$XDG_RUNTIME_DIR/systemd/user/{APP_UNIT}.d/{GATE}"
rm -f "{DROP_INS}/{HOLD}" "$XDG_RUNTIME_DIR/systemd/user/{MIGRATE_UNIT}.d/{GRACEFUL}"
systemctl --user daemon-reload
systemctl --user stop {APP_UNIT}
mkdir -p "${{g%/*}}"
printf '[Unit]\\n%s\\n' '{GATE_SHUT}' >"$g"
systemctl --user daemon-reload
systemctl --user is-active --quiet {MIGRATE_UNIT} || rm -f {PROD}/shared/tmp/pids/unicorn.pid
systemctl --user start {MIGRATE_UNIT}
ln -sfn prod.sock {SOCKETS}/hkn.sock
for i in $(seq 300); do
  curl -s -i -m 5 --unix-socket {SOCKETS}/prod.sock http://x/ | grep -qi '^x-hkn-stage: migrate' && exit 0
  sleep 0.1
done
exit 1
"""
PAGES_ORDER = f"""
systemctl --user stop {MIGRATE_UNIT}
rm -f "{DROP_INS}/{GATE}"; systemctl --user daemon-reload
systemctl --user start {APP_UNIT}
for i in $(seq 600); do
  curl -s -i -m 5 --unix-socket {SOCKETS}/prod.sock http://x/ | grep -qi '^x-hkn-stage: prod' && exit 0
  sleep 0.1
done
exit 1
"""
ASIDE = f"""
set -e
cat >"$XDG_RUNTIME_DIR/aside.rb" <<'RUBY'
original = '{PROD}/current/config/unicorn/prod.rb'
def self.listen(_address, options = {{}}) = super('{SOCKETS}/.aside.sock', options)
def self.pid(_path) = super('/tmp/aside.pid')
instance_eval(File.read(original), original)
RUBY
systemd-run --user --quiet --collect --unit=aside -p KillSignal=SIGQUIT -p KillMode=mixed /bin/bash -c \\
  ". ~/.rvm/scripts/rvm; cd {PROD}/current; RAILS_ENV=production exec bundle exec unicorn_rails -c $XDG_RUNTIME_DIR/aside.rb"
for i in $(seq 600); do
  ! curl -s -o /dev/null -m 5 --unix-socket {SOCKETS}/.aside.sock http://x/ || break
  sleep 0.1
done
sleep 15
systemctl --user stop aside
rm -f {SOCKETS}/.aside.sock
"""


@dataclass(frozen=True)
class Run:
    """One cutover under load; `gap` is the longest time in seconds between two good pages."""

    way: str
    requests: int
    failed: int
    searches: int
    searches_failed: int
    gap: float
    seconds: float


def counted(way: str, lines: Sequence[str], seconds: float) -> Run:
    """What the record of the load says."""
    samples = [json.loads(line) for line in lines if line]
    pages = [s for s in samples if s["kind"] != "search"]
    searches = [s for s in samples if s["kind"] == "search"]
    good = sorted(s["answered"] for s in pages if s["status"] == 200)
    # A site that does not come back has no good page after its gap: then it lasts until the last answer of any kind.
    end = max((s["answered"] for s in pages), default=0.0)
    gap = max((b - a for a, b in pairwise([*good, end])), default=seconds)
    lost = [sum(s["status"] != 200 for s in some) for some in (pages, searches)]
    return Run(way, len(pages), lost[0], len(searches), lost[1], round(gap, 3), round(seconds, 1))


@contextmanager
def load(lab: Lab, file: Path) -> Iterator[None]:
    """The sixty clients, until the block ends."""
    words = [sys.executable, "-m", "bench.load", lab.app.address, SITE, str(file)]
    with subprocess.Popen(words, cwd=TOP, stdin=subprocess.PIPE) as clients:
        time.sleep(BEFORE)
        try:
            yield
            time.sleep(AFTER)
        finally:
            assert clients.stdin
            clients.stdin.close()
            clients.wait(90)


def remediate(lab: Lab, ids: Sequence[str], *flags: str) -> str:
    """The suite, as a person runs it; its output."""
    words = [sys.executable, "-m", "pytest", "verify/", "--target", f"lab:{lab.name}", "--id", ",".join(ids)]
    done = subprocess.run(
        [*words, "--remediate", "--yes", *flags], cwd=TOP, capture_output=True, text=True, check=False, timeout=900
    )
    return done.stdout


def needed(id: str) -> list[str]:
    """The statements that must hold before this one's remedy may run."""
    import_statements("verify")
    found: list[str] = []
    waiting = list(REGISTRY[id].needs)
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.append(each)
            waiting += REGISTRY[each].needs
    return sorted(found)


def by_the_tool(lab: Lab, *flags: str) -> None:
    """The cutover as the suite does it.

    Raises:
        SystemExit: it was not done.
    """
    said = remediate(lab, ["UNIT-5"], *flags)
    if "proven: UNIT-5 holds" not in said:
        raise SystemExit(f"the cutover was not done:\n{said}")


WAYS: Mapping[str, Callable[[Lab], object]] = {
    "aside": lambda lab: lab.app.run(ASIDE, user=USER, timeout=120),
    "page": lambda lab: lab.app.run(PAGES_ORDER, user=USER, timeout=120),
    "brief": lambda lab: by_the_tool(lab, "--brief"),
    "switch": by_the_tool,
    "rename": by_the_tool,
}


def measure(lab: Lab, way: str, folder: Path) -> Run:
    """One way, once, from the situation before the cutover."""
    web.point(lab, f"{SOCKETS}/{'prod' if way == 'rename' else 'hkn'}.sock")
    lab.app.run(GO_BACK, user=USER, timeout=120)
    file = folder / "requests.jsonl"
    with load(lab, file):
        began = time.monotonic()
        WAYS[way](lab)
        seconds = time.monotonic() - began
    return counted(way, file.read_text().splitlines(), seconds)


def table(runs: Sequence[Run]) -> str:
    """One row a way: sums, and the worst and the middle of the gaps."""
    rows = ["way      runs  requests  failed  searches  failed  longest gap (median / worst)"]
    for way in WAYS:
        mine = [run for run in runs if run.way == way]
        if mine:
            gaps = [run.gap for run in mine]
            names = ("requests", "failed", "searches", "searches_failed")
            sums = [sum(getattr(run, name) for run in mine) for name in names]
            rows.append(
                f"{way:<8} {len(mine):>4} {sums[0]:>9,} {sums[1]:>7,} {sums[2]:>9,} {sums[3]:>7,}"
                f"  {statistics.median(gaps):.2f} s / {max(gaps):.2f} s"
            )
    return "\n".join(rows)


def complaints(runs: Sequence[Run]) -> list[str]:
    """What a way without loss lost all the same."""
    quiet = [run.gap for run in runs if run.way == "aside"]
    found = []
    for run in runs:
        if run.way in {"switch", "rename"}:
            if run.failed:
                found.append(f"{run.way} lost {run.failed} of {run.requests} pages")
            if quiet and run.gap > max(FACTOR * max(quiet), max(quiet) + SLACK):
                found.append(f"{run.way} had a gap of {run.gap:.2f} s, where booting aside alone had {max(quiet):.2f} s")
    return found


def asked(words: Sequence[str]) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="script/bench cutover", description="What a cutover costs.")
    parser.add_argument("ways", nargs="*", metavar="WAY", help=f"of {', '.join(WAYS)}; all")
    parser.add_argument("--rounds", type=int, default=5, help="cutovers of each way (default: 5)")
    parser.add_argument("--lab", default=LAB, metavar="NAME", help=f"name of the bench's own lab (default: {LAB})")
    options = parser.parse_args(words)
    if strange := [way for way in options.ways if way not in WAYS]:
        parser.error(f"no way {', '.join(strange)}; there are {', '.join(WAYS)}")
    if options.rounds < 1:
        parser.error("--rounds: at least 1")
    options.ways = options.ways or list(WAYS)
    return options


def main(words: Sequence[str]) -> int:
    """Measure, print the table, write ``reports/bench-cutover/cutover.json``; 1 where a way without loss lost something.

    Raises:
        LabError: the lab could not be brought up, or into the situation before a cutover.
    """
    options = asked(words)
    if os.geteuid():
        print("bench: its lab boots real hosts and needs root: run it with sudo", file=sys.stderr)
        return 4
    # However it ends, its lab is taken down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    lab = Lab.open(options.lab, STATES, lambda text: print(f"lab: {text}", flush=True))
    folder = TOP / "reports" / LAB
    folder.mkdir(parents=True, exist_ok=True)
    runs: list[Run] = []
    try:
        lab.up("migrated")
        print("preparing everything that a cutover needs", flush=True)
        remediate(lab, needed("UNIT-5"))
        for _ in range(options.rounds):
            for way in options.ways:
                runs.append(measure(lab, way, folder))
                print(runs[-1], flush=True)
                (folder / "cutover.json").write_text(json.dumps([asdict(run) for run in runs], indent=1))
    finally:
        lab.down()
    print(table(runs))
    wrong = complaints(runs)
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (ConvergeError, LabError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        sys.exit(4)
