"""One blow at one boundary: what it did to the run, and whether the next run ends well with nothing lost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from converge.checking.record import Probe
from converge.checking.statement import Outcome
from converge.errors import Exit
from converge.journal.journal import parse
from converge.probe.prober import Prober
from converge.probe.worker import TIMEOUT
from hosts.loader import load
from hosts.tool import NAME
from lab.faults import FAULTS
from lab.lab import Lab
from lab.payload.places import HOME, USER
from tests.chaos.blows import Blow, answers
from tests.chaos.going import Going, lines_of, runs_of
from tests.live.rig import Answer, Rig
from tests.live.snapshots import Snapshot, changes, kept_data, neighbours

TRIES = 6
"""So many runs may say that a step of the struck one still acts, or that its lock is still held."""
LATER = {Exit.LOCK_HELD, Exit.STATE_MOVED, Exit.UNREACHABLE}
Window = tuple[float, float]
PASSING = ("process ", "socket ", "listener ")
"""What a reboot renews of the neighbours."""


@dataclass(frozen=True)
class Course:
    """A run that is struck: the state it begins in, the faults laid in it, its arguments."""

    name: str
    state: str
    faults: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


COURSES = {
    course.name: course
    for course in (
        Course("full", "migrated"),
        # One real step, on a unit.
        Course("short", "prod", ("timer-stopped",), ("--id", "UNIT-9")),
        # The whole migration starts Solr where none is; here its port changes hands. On a full disk no Solr starts: where
        # the former one has ended by then, it is the next run that starts one.
        Course("solr", "prod", ("solr-old-home",), ("--id", "SOLR-1,SOLR-2,SOLR-3,SOLR-4,SOLR-5")),
    )
}


@dataclass(frozen=True)
class Trial:
    """What became of one blow; `problems` is empty if all was as it must be, `struck` if the run ended before."""

    course: str
    blow: str
    boundary: int
    struck: str = ""
    ended: int = 0
    next: list[int] = field(default_factory=list)
    asked: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class Found:
    """The problems of a trial, as they are found."""

    problems: list[str] = field(default_factory=list)

    def unless(self, holds: object, text: str) -> None:
        """Note a problem."""
        if not holds:
            self.problems.append(text)


def prepare(rig: Rig, course: Course) -> None:
    """The lab in the state in which the run begins."""
    # Where the last run mended all, what it mended is broken again.
    if not (course.faults and rig.stands == course.name and rig.lab.running()):
        rig.spoil()
        rig.enter(course.state)
    rig.spoil()
    for name in course.faults:
        FAULTS[name].apply(rig.lab)


def attempt(rig: Rig, course: Course, blow: Blow, boundary: int, folder: Path) -> Trial:
    """Strike a run once, mend what the blow left, and run again until a run says how it ended."""
    began = time.monotonic()
    prepare(rig, course)
    before = (neighbours(rig.lab), kept_data(rig.lab))
    found, struck, code = Found(), None, 0
    windows, answers = list[Window](), list[Answer]()
    with asked(rig, folder) as probe:
        log = folder / f"{course.name}-{blow.name}-{boundary:03}.log"
        going = Going(rig, log, course.arguments, boundary if blow.is_act else 0)
        going.begin()
        when = time.time()
        try:
            struck = going.fails() if blow.is_act else going.reaches(boundary)
            if struck is not None:
                when = time.time()
                blow.strike(going)
            code = going.wait()
        finally:
            going.kill()
            blow.mend(rig.lab)
        windows += [(when, time.time())] if blow.outage else []
        found.unless("Traceback (most recent" not in going.said(), "the struck run ended with a traceback")
        found.unless(code != Exit.INTERNAL, "the struck run called it a defect of its own")
        if struck is not None and blow.is_act:
            found.problems += left_of(rig.lab, struck.rpartition(" act ")[0])
        if struck is not None:
            answers = run_again(rig, course, found)
    # A host that was rebooted has no Solr, and an application that came up without it must be restarted: as the plan says.
    windows += [window for answer in answers for window in announced(answer)] if blow.outage else []
    found.problems += lost(probe[0], windows)
    found.problems += damage(rig.lab, before, renewed=blow.outage)
    rig.stands = "" if found.problems else course.name
    spent = round(time.monotonic() - began, 1)
    codes = [answer.code for answer in answers]
    return Trial(course.name, blow.name, boundary, struck or "", code, codes, probe[0].sent, found.problems, spent)


@contextmanager
def asked(rig: Rig, folder: Path) -> Iterator[list[Probe]]:
    """Ask the site all the while, from a process of our own; the list gets what was seen in the end."""
    prober, seen = Prober(load(rig.target), folder / f"requests-{rig.lab.name}.jsonl"), list[Probe]()
    trouble = prober.start()
    assert not trouble, trouble
    try:
        yield seen
    finally:
        seen.append(prober.stop())


def left_of(lab: Lab, step: str) -> list[str]:
    """What a step of which an act failed did not put back."""
    folder = lab.home / HOME.removeprefix("/home/") / "attic" / step
    done = (folder / "log").read_text().splitlines() if (folder / "log").exists() else []
    left = [line for n, line in enumerate(done, 1) if not (folder / str(n) / "undone").exists()]
    return [f"{step} failed and did not put back: {line}" for line in left]


def run_again(rig: Rig, course: Course, found: Found) -> list[Answer]:
    """Run until it is no longer too early; what all that were needed said."""
    answers = list[Answer]()
    for _ in range(TRIES):
        answers.append(rig.remediate(*course.arguments))
        if answers[-1].code not in LATER:
            break
        idle(rig.lab)
    if answers[-1].code == Exit.ROLLED_BACK:
        answers.append(rig.remediate(*course.arguments))
    answer = answers[-1]
    found.unless(answer.code == Exit.HOLDS, f"the next run ended with {answer.code}: {ending(answer)}")
    found.unless("Traceback (most recent" not in answer.out, "the next run ended with a traceback")
    if answer.record:
        left = answer.ids(*(o for o in Outcome if not o.is_well))
        found.unless(not left, f"does not hold after the next run: {', '.join(sorted(left))}")
    return answers


def announced(answer: Answer) -> list[Window]:
    """When steps were at work of which the plan had said that they interrupt service."""
    steps = answer.record.steps if answer.record else []
    return [(step.started, step.started + step.seconds) for step in steps if step.interrupts and step.result == "done"]


def ending(answer: Answer) -> str:
    """The last words of a session."""
    return " | ".join(answer.out.strip().splitlines()[-4:])[-600:]


def idle(lab: Lab) -> None:
    """Return when no step acts on the app host any more."""
    lock = f"${{XDG_RUNTIME_DIR:-/run/user/$(id -u)}}/{NAME}.act"
    lab.app.run(f'[ ! -e "{lock}" ] || flock -w 300 "{lock}" true', user=USER, timeout=310)


def lost(probe: Probe, windows: Sequence[Window]) -> list[str]:
    """Pages that were lost, those aside that failed between the ends of a window: they may have been asked for before it."""
    found = []
    for outage in probe.outages:
        noticed = max(outage.start, outage.noticed)
        # Who asked at the end of a window may have waited for a busy application until the limit.
        if not any(begin <= noticed and outage.end <= end + TIMEOUT for begin, end in windows):
            found.append(f"{outage.failed} pages lost in {outage.end - outage.start:.2f} s: {outage.first_error}")
    return found


def damage(lab: Lab, before: tuple[Snapshot, Snapshot], *, renewed: bool) -> list[str]:
    """What is not as it was: neighbours, the group's data, a journal without an end. A reboot renews processes."""
    others, data = before
    seen = neighbours(lab)
    if renewed:
        answers(lab)
        others, seen = (
            {name: text for name, text in snapshot.items() if not name.startswith(PASSING)} for snapshot in (others, seen)
        )
    found = [f"a neighbour changed: {line}" for line in changes(others, seen)]
    kept = kept_data(lab)
    found += [f"data is lost: {line}" for line in changes(data, {name: kept.get(name, "is gone") for name in data})]
    for journal in sorted(runs_of(lab).glob("*/journal.jsonl")):
        if parse(journal.parent.name, "\n".join(lines_of(journal))).is_open:
            found.append(f"the journal of {journal.parent.name} is still open")
    return found
