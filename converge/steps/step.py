"""Steps: one act on one host, as data. Remedies yield them; only the executor runs them.

An act is typed wherever its guard can be, so that no remedy's author has to remember the guard: `Write`, `Link`,
`Supplant`, `Aside`, `Unit` and `Signal` compile to shell that checks itself; `Run` is for programs of the application
(its deploys, its tasks, git) and is refused if it deletes, signals, writes over files, drives others' units or escapes, as
far as its text tells (``converge/steps/lint.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from converge.readings import Reader
from hosts.schema import Inventory


@dataclass(frozen=True, slots=True)
class Write:
    """Write a file beside its place and rename it over; the old one is kept in the run's attic."""

    path: str
    content: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Link:
    """Make `path` a symlink to `target` by rename; a link that was there before is recorded for the undo."""

    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Aside:
    """Move a path into the run's attic on the same file system. This is the only way in which anything goes away."""

    path: str


@dataclass(frozen=True, slots=True)
class Supplant:
    """Let a folder give way to a symlink to `target`: it goes into the attic, and the link, made before, into its place.

    Between the two renames, which no signal but KILL divides, the path leads nowhere.
    """

    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Mode:
    """Change a path's permission bits."""

    path: str
    mode: int


@dataclass(frozen=True, slots=True)
class Unit:
    """``systemctl --user VERB UNIT`` on the step's host."""

    verb: Literal["start", "stop", "restart", "enable", "disable", "daemon-reload", "reset-failed"]
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Signal:
    """Signal a process, only if uid, command line, cwd, cgroup and start time are the expected ones.

    `started` is field 22 of /proc/PID/stat (ticks since boot, proc(5)); `cmdline`, `cwd` and `cgroup` are fixed
    strings that must occur in the process's own.
    """

    pid: int
    signal: Literal["TERM", "QUIT", "USR1"]
    started: int
    cmdline: str
    cwd: str = ""
    cgroup: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """A program of the application, as POSIX sh with the prelude's functions and variables; must be safe to be cut off.

    It may change things by the guarded functions of ``converge/shell/library.py`` alone: ``aside PATH``,
    ``put PATH MODE <content``, ``relink PATH TARGET``, ``supplant FOLDER TARGET``, ``chmode PATH MODE``,
    ``unit VERB NAME``; what it did by them is undone with the step. It writes by itself only below ``$CV_...`` and
    ``$XDG_RUNTIME_DIR``, and names units so that the text tells which: outright, or by variables that it sets. Where a
    signal must not be apart from what follows it may give one by ``cv_signal``, which makes sure of it as ``Signal`` does.
    """

    script: str


Act: TypeAlias = Write | Link | Supplant | Aside | Mode | Unit | Signal | Run


@dataclass(frozen=True, slots=True)
class Condition:
    """A fingerprint of what the plan saw: `test` is sh that exits 0 while it still is so.

    What `passes` comes and goes by itself: it keeps the act from beginning, but does not end the wait for a person.
    """

    sentence: str
    test: str
    passes: bool = False


@dataclass(frozen=True, slots=True)
class Sign:
    """How to see that a person did a step: `test` is sh for `host` that exits 0 once it is done, and prints what it sees."""

    host: str
    test: str


class Needless(str):
    """The reason why nothing of a step need be taken back: it does no harm, and nobody misses what was before."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One act on one host.

    `undo` is the acts that take it back, or a string with the reason why there is none (``Needless``: nor need be); None
    asks for the acts' own undo (Write, Link, Supplant, Aside, Mode and enable/disable know theirs). `limit` is seconds;
    `interrupts` is how many seconds of service it is expected to cost, None for none, and `search_gap` the same of searches
    and saves alone. `may` names the inventory's permission without which it is left to a person; `person` says why it always
    is. `typed` is the line that a person types then (empty: the step is laid ready on its host as one), and `sign` tells
    that it was done, also in another way than by that line. `serves` says that the site is served since. `after` says what
    it depends on that only an earlier step will produce. A program that `puts_back` what it interrupted, unless it comes to
    its end, does so when it is killed, too: it runs in a unit of its own, and keeps in ``CV_PHASE`` what it would put back.
    `confirm` is the seconds within which such a program must hear from outside, over a new connection, that all is well.
    """

    id: str
    host: str
    sentence: str
    acts: tuple[Act, ...]
    when: tuple[Condition, ...] = ()
    undo: tuple[Act, ...] | str | None = None
    limit: float = 60.0
    interrupts: float | None = None
    search_gap: float | None = None
    may: str | None = None
    person: str = ""
    typed: str = ""
    sign: Sign | None = None
    serves: bool = False
    after: str = ""
    puts_back: bool = False
    confirm: float | None = None

    @property
    def in_unit(self) -> bool:
        """Whether it runs in a transient unit of its own, and is run again (``CV_AFTER``) to put back when it was killed."""
        return self.puts_back or self.confirm is not None

    @property
    def carries_the_site(self) -> bool:
        """Whether what serves afterwards rests on it, and it on the steps before: while it stays, they do."""
        # What only costs service does not tell: nothing rests on a stray's end, which no tool takes back either.
        return self.serves or self.confirm is not None


@dataclass(frozen=True, slots=True)
class RemedyContext:
    """What a remedy gets: the inventory, the reader, the failing instance's host, the run's id and its folders."""

    inv: Inventory
    read: Reader
    at: str
    run_id: str
    attic: str
    workdir: str
    flags: frozenset[str] = frozenset()


Remedy: TypeAlias = Callable[[RemedyContext], Iterator[Step]]
"""Reads, and yields steps; runs nothing itself. Yielding none means nothing to do (or raise ``NothingToDo`` and say why)."""


class NothingToDo(Exception):
    """A remedy found nothing that it may or must do; the message says why."""


class ByHand(NothingToDo):
    """Only a person can mend what the remedy is for; the message says what to do, and becomes the statement's `do:`."""
