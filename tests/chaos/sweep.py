"""Every blow at every boundary of a run's journal; what was tried before an interruption is not tried again.

Used by script/chaos: ``python -m tests.chaos.sweep [--course full] [--blow kill] [--draw N] [--again]``.
"""

from __future__ import annotations

import argparse
import fcntl
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from rich.table import Table

from tests.chaos.blows import BLOWS, SIZES
from tests.chaos.trial import COURSES, Trial, attempt
from tests.live.rig import TOP, Rig
from tests.live.sweeping import load, rig_of, save, swept

RESULTS = TOP / "reports/chaos.json"
LOGS = TOP / "reports/chaos"
Key = tuple[str, str, int]


def main(words: Sequence[str]) -> int:
    """Try what is left to try; 0 if every run that was struck ended well."""
    parser = argparse.ArgumentParser(prog="script/chaos", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--course", choices=COURSES, action="append", help="only this run (default: all)")
    parser.add_argument("--blow", choices=BLOWS, action="append", help="only this blow (default: all)")
    parser.add_argument("--boundary", type=int, action="append", metavar="N", help="only this one, whatever is known of it")
    parser.add_argument("--draw", type=int, metavar="K", help="K boundaries of each run, drawn, instead of all")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="what is drawn (default: by the clock)")
    parser.add_argument("--again", action="store_true", help="forget earlier results of these runs and blows")
    parser.add_argument("--name", default="chaos", help="the lab's name (default: %(default)s)")
    given = parser.parse_args(words)
    given.course, given.blow = given.course or list(COURSES), given.blow or list(BLOWS)
    if given.again:
        with kept() as known:
            for key in [key for key in known if key[0] in given.course and key[1] in given.blow]:
                del known[key]
    failed = swept("chaos", lambda: try_all(given), lambda: table(recalled()))
    return failed or int(any(trial.problems for trial in recalled().values()))


def try_all(given: argparse.Namespace) -> None:
    """Strike wherever it is left to strike; each result is kept at once."""
    with rig_of(given.name, LOGS / "runs.log", SIZES) as rig:
        for course in given.course:
            for blow in given.blow:
                for n in boundaries(course, blow, given):
                    trial = tried(rig, course, blow, n)
                    with kept() as known:
                        known[course, blow, n] = trial


def recalled() -> dict[Key, Trial]:
    """What is known by now."""
    trials = (Trial(**data) for data in load(RESULTS) or ())
    return {(trial.course, trial.blow, trial.boundary): trial for trial in trials}


@contextmanager
def kept() -> Iterator[dict[Key, Trial]]:
    """What is known by now, kept as it is left: another sweep, on a lab of another name, may find out more meanwhile."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = recalled()
        yield known
        save(RESULTS, [asdict(known[key]) for key in sorted(known)])


def boundaries(course: str, blow: str, given: argparse.Namespace) -> Iterator[int]:
    """The boundaries to strike at: those asked for, some drawn, or one after the other until a run has no more."""
    if given.boundary:
        yield from given.boundary
        return
    if given.draw:
        most = max((n for (c, _, n), trial in recalled().items() if c == course and trial.struck), default=0)
        if most == 0:
            print(f"nothing is known of how many boundaries {course} has: a number is drawn up to {GUESS}")
        print(f"drawn with --seed {given.seed}", flush=True)
        yield from sorted(random.Random(f"{given.seed} {course} {blow}").sample(range(1, (most or GUESS) + 1), given.draw))
        return
    n = 1
    while True:
        trial = recalled().get((course, blow, n))
        if trial is None or trial.problems:
            yield n
            trial = recalled()[course, blow, n]
        if not trial.struck and not trial.problems:
            return
        n += 1


GUESS = 40


def tried(rig: Rig, course: str, blow: str, n: int) -> Trial:
    """One trial; a lab that fails in the middle is a problem of it, not the end of the sweep."""
    print(f"{course} {blow} at {n} ... ", end="", flush=True)
    began = time.monotonic()
    try:
        trial = attempt(rig, COURSES[course], BLOWS[blow], n, LOGS)
    except Exception as problem:  # of the harness: the next trial begins with a fresh state
        spent = round(time.monotonic() - began, 1)
        trial = Trial(course, blow, n, "?", problems=[f"{type(problem).__name__}: {problem}"], seconds=spent)
        rig.spoil()
    where = f" ({trial.struck})" if trial.struck else " (the run ended before)"
    codes = ", then ".join(str(code) for code in (trial.ended, *trial.next))
    print(f"{'; '.join(trial.problems) or 'ok'}{where}; exit {codes} ({trial.seconds:.0f} s)", flush=True)
    return trial


def table(known: dict[Key, Trial]) -> Table:
    """All results, a line for each run and blow."""
    drawn = Table("run", "blow", "boundaries", "ended well", "pages asked", "lost", "problems", title="struck runs")
    for course in COURSES:
        for blow in BLOWS:
            rows = [t for (c, b, _), t in sorted(known.items()) if (c, b) == (course, blow) and t.struck]
            bad = [f"{t.boundary} ({t.struck}): {'; '.join(t.problems)}" for t in rows if t.problems]
            lost = sum("pages lost" in text for t in rows for text in t.problems)
            counts = (len(rows), len(rows) - len(bad), sum(t.asked for t in rows), lost)
            drawn.add_row(course, blow, *(str(count) for count in counts), "\n".join(bad))
    return drawn


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
