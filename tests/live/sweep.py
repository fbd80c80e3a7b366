"""All faults, one after the other; what was tried before an interruption is not tried again.

Used by script/faults: ``python -m tests.live.sweep [--again] [FAULT...]``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.markup import escape
from rich.table import Table

from hosts.command_line import command_line
from lab.errors import LabError
from lab.faults import FAULTS
from tests.live.faulting import Trial, attempt
from tests.live.rig import TOP, Rig
from tests.live.sweeping import load, rig_of, save, swept

RESULTS = TOP / "reports/faults.json"
LOG = TOP / "reports/faults.log"


def main(words: Sequence[str]) -> int:
    """Try what is left to try; 0 if every fault behaved."""
    parser = argparse.ArgumentParser(prog="script/faults", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="only these, whatever is known of them")
    parser.add_argument("--again", action="store_true", help="forget earlier results and try all")
    parser.add_argument("--name", default="faults", help="the lab's name (default: %(default)s)")
    given = parser.parse_args(words)
    if strange := [name for name in given.faults if name not in FAULTS]:
        parser.error(f"there is no fault {', '.join(strange)}; `{command_line('lab', 'faults')}` lists them")
    known = {} if given.again else {name: Trial(**data) for name, data in (load(RESULTS) or {}).items()}
    todo = given.faults or [name for name in FAULTS if name not in known or known[name].problems]
    print(f"{len(FAULTS)} faults, {len(todo)} to try; what the sessions say goes to {LOG.relative_to(TOP)}", flush=True)
    failed = swept("faults", lambda: try_all(todo, known, given.name), lambda: table(known))
    return failed or int(any(known[name].problems for name in FAULTS if name in known))


def try_all(names: Sequence[str], known: dict[str, Trial], lab: str) -> None:
    """Try the faults on a lab of that name, which is taken down in the end; each result is kept at once."""
    if not names:
        return
    with rig_of(lab, LOG) as rig:
        for n, name in enumerate(names, 1):
            print(f"{n:3}/{len(names)} {name} ... ", end="", flush=True)
            rig.say(f"\n=== {name}")
            known[name] = tried(rig, name)
            save(RESULTS, {name: asdict(trial) for name, trial in known.items()})
            print(f"{'; '.join(known[name].problems) or 'ok'} ({known[name].seconds:.0f} s)", flush=True)


def tried(rig: Rig, name: str) -> Trial:
    """The fault's trial; a lab that fails in the middle is a problem of this fault, not the end of the sweep."""
    began = time.monotonic()
    try:
        return attempt(rig, FAULTS[name])
    except (LabError, AssertionError) as problem:
        return Trial(name, [], [], [f"{type(problem).__name__}: {problem}"], round(time.monotonic() - began, 1))


def table(known: Mapping[str, Trial]) -> Table:
    """All results as a table for the terminal."""
    good = sum(not known[name].problems for name in FAULTS if name in known)
    title = f"{good} of {len(FAULTS)} faults behave as they must"
    drawn = Table("fault", "seen by", "left to a person", "s", "result", title=title)
    for name in FAULTS:
        if trial := known.get(name):
            ids = (", ".join(trial.seen), ", ".join(trial.by_hand))
            drawn.add_row(name, *ids, f"{trial.seconds:.0f}", escape("\n".join(trial.problems) or "ok"))
        else:
            drawn.add_row(name, "", "", "", "not tried")
    return drawn


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
