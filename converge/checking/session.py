"""One session with a target: links, answers, verdicts and the record. No pytest here."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from converge.checking.application import Application, Situation
from converge.checking.judge import Judge, Policy, instances_of, likely_causes
from converge.checking.record import Record, Verdict
from converge.checking.statement import REGISTRY, Outcome, Statement
from converge.errors import ConvergeError, Exit, HostUnreachable, Unobservable
from converge.readings import Reading
from converge.readings.answers import CONTROL, Store
from converge.text.masking import mask
from converge.transport import Link, LocalLink, connect, terminal
from hosts.command_line import command_line, target_of
from hosts.schema import Host, Inventory

Chosen = list[tuple[Statement, str | None]]

SETTLE = 60.0
"""Seconds that a check waits at most for young processes to be old enough to be judged."""

YOUTH = 30.0
"""Seconds that a proof always allows for that."""


def new_id() -> str:
    """An id for a check or a run that sorts by time, to the millisecond; no two are alike on one machine in practice."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03}Z-{secrets.token_hex(2)}"


def process_began() -> float:
    """When this process was started, on the clock of ``time.monotonic``; now, where the system does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError, AttributeError):
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        return time.monotonic() - max(0.0, age)
    return time.monotonic()


def commands(inv: Inventory, id: str) -> dict[str, str]:
    """What a person types next on a target, and about the run of this id, by verb."""
    words = (("plan",), ("remediate",), ("show", id), ("rollback", id))
    return {line[0]: command_line(*line, target=target_of(inv)) for line in words}


def person() -> str:
    """Who runs this, for journals and locks."""
    with contextlib.suppress(Exception):
        return f"{getpass.getuser()}@{socket.gethostname()}"
    return f"unknown@{socket.gethostname()}"


def needs_standing(chosen: Chosen) -> bool:
    """Whether the verdict on a chosen statement depends on the day of the cutover."""
    return any(statement.soak for statement, _ in chosen)


class Session:
    """A check or a run on one target. `reports` is the folder that gets ``ID/report.html`` and its like.

    `id` is that of the session in which several targets are checked. `ended` says why nothing of a target can be judged.
    """

    def __init__(self, app: Application, inv: Inventory, reports: Path, *, strict: bool = False, id: str = "") -> None:
        self.app, self.inv = app, inv
        self.id = id or new_id()
        self.ended: tuple[Exit, str] | None = None
        self.folder = reports / self.id
        self.links: dict[str, Link] = {}
        self.store = Store(inv, self.links, app.prelude(inv))
        self.policy = Policy(strict=strict)
        self.judge = Judge(self.store, app.readings, self.policy)
        self.situation = Situation("not looked at")
        self.record = Record(self.id, "check", inv.name, app.version, time.time(), commands=commands(inv, self.id))
        self._began = process_began()
        self._found = ""
        self._fresh = False
        self._looked = 0

    def open(self, chosen: Chosen) -> None:
        """Connect to every live host at the same time; what `chosen` asks of this machine is read meanwhile.

        Raises:
            HostUnreachable: one message that names every host which cannot be reached.
        """
        self.links[CONTROL] = LocalLink()
        self.store.begin(self._wanted(chosen))
        self._fresh = True
        problems: dict[str, ConvergeError] = {}
        ask = terminal()

        def dial(host: Host) -> None:
            try:
                self.links[host.name] = connect(self.inv, host, ask=ask)
            except ConvergeError as problem:
                problems[host.name] = problem
            except Exception as problem:  # in a thread of its own: nobody else would hear of it
                problems[host.name] = HostUnreachable(f"{host.name}: {type(problem).__name__}: {problem}")

        threads = [threading.Thread(target=dial, args=(h,), daemon=True) for h in self.inv.live]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.store.tally.connections = len(self.links) - 1
        if problems:
            raise HostUnreachable("\n".join(str(problems[name]) for name in sorted(problems)))

    def close(self) -> None:
        """Close every link."""
        for link in self.links.values():
            with contextlib.suppress(Exception):
                link.close()

    def everything(self) -> Chosen:
        """All instances of all statements that apply to the target."""
        return [(s, at) for s in REGISTRY.values() for at in instances_of(s.on, self.inv)]

    def instances(self, ids: Iterable[str]) -> Chosen:
        """All instances of these statements."""
        wanted = set(ids)
        return [(s, at) for s, at in self.everything() if s.id in wanted]

    def wanted(self, ids: Iterable[str]) -> list[tuple[Reading[object], str | None]]:
        """What ``prove`` will ask for."""
        return list(self._wanted(self.instances(ids), whole=False))

    def read(self, chosen: Chosen, acted: str | None = None, *, whole: bool = True) -> None:
        """Read afresh what the chosen statements ask for and, if `whole`, the situation; for `acted` see ``Store.void``."""
        if not self._fresh:
            self.store.void(acted)
        self._fresh = False
        self.store.prefetch(self._wanted(chosen, whole=whole))
        # What was not asked for would now be asked singly.
        if whole or needs_standing(chosen):
            self._look()

    def read_until_stable(
        self,
        chosen: Chosen,
        say: Callable[[str], None],
        deadline: float = SETTLE,
        *,
        unmoved: bool = False,
        acted: str | None = None,
        whole: bool = True,
    ) -> None:
        """Read, and read again once young processes are old enough; one shared wait, at most `deadline` seconds.

        If nothing acted since the last reading (`unmoved`), first only what is not known yet is read. For the rest see
        ``read``.
        """
        end = time.monotonic() + deadline
        self._fresh |= unmoved
        self.read(chosen, acted, whole=whole)
        while (wait := self.judge.youth(chosen)) and time.monotonic() + wait < end:
            say(f"waiting {wait:.0f} s until the youngest process has run long enough to be judged")
            self._sleep(wait + 0.5)
            self.read(chosen, acted, whole=whole)

    def attend(self, chosen: Chosen, say: Callable[[str], None]) -> None:
        """Connect and read, in a thread of its own: what prevents it is in `ended`, and nothing is raised."""
        try:
            self.open(chosen)
            self.read_until_stable(chosen, say)
        except ConvergeError as problem:
            self.ended = (problem.exit_code, mask(str(problem)))
        except Exception as problem:  # nobody else would hear of it
            self.ended = (Exit.INTERNAL, mask(f"{type(problem).__name__}: {problem}"))

    def rest(self) -> None:
        """Let go of the links and the answers, once everything that they are for has been judged."""
        self.account()
        self.close()
        self.store.void()

    def judge_all(self, chosen: Chosen) -> list[Verdict]:
        """Verdicts of the chosen instances on the answers that are known."""
        verdicts = [self.judge.judge(s, at) for s, at in chosen]
        likely_causes(verdicts)
        return verdicts

    def prove(self, ids: Iterable[str], deadline: float) -> dict[str, Verdict]:
        """Read the statements' instances afresh until all hold or `deadline` seconds are over; the worst verdict each.

        The situation is not looked at: a run tells it before its first step and after its last.
        First only what is not known is asked for, unless anything may have changed since it was read; then all, each time.
        What could not be read by then is asked for once more, also without a deadline: it was a guess to ask for it before.
        """
        # What only this machine's steps change, these have voided.
        acted: str | None = self.inv.app_host.name
        unmoved = not self.store.is_stale
        chosen = self.instances(ids)
        end = time.monotonic() + deadline
        while True:
            # Also without a deadline: a process that has just started is no reason to call what it serves unproven.
            patience, waited = max(YOUTH, end - time.monotonic()), self.record.waited
            self.read_until_stable(chosen, lambda _text: None, patience, unmoved=unmoved, acted=acted, whole=False)
            worst: dict[str, Verdict] = {}
            for verdict in self.judge_all(chosen):
                if verdict.id not in worst or worst[verdict.id].outcome is Outcome.HOLDS:
                    worst[verdict.id] = verdict
            if all(v.outcome is Outcome.HOLDS for v in worst.values()):
                return worst
            unread = any(v.outcome is Outcome.UNOBSERVABLE for v in worst.values())
            # After a wait it was read anew already.
            if unmoved and unread and self.record.waited == waited:
                unmoved = False
                continue
            if time.monotonic() >= end:
                return worst
            acted, unmoved = None, False
            self._sleep(min(1.0, max(0.0, end - time.monotonic())))

    def finish(self, exit_code: int, reason: str) -> None:
        """Complete the record."""
        self.record.exit_code, self.record.exit_reason = exit_code, reason
        self.account()

    def account(self) -> None:
        """Put into the record what it took."""
        tally = self.store.tally
        self.record.seconds = round(time.monotonic() - self._began, 2)
        self.record.connections, self.record.execs = tally.connections, tally.execs
        self.record.asking = round(tally.seconds, 2)
        self.record.readings, self.record.misses = tally.readings, list(dict.fromkeys(tally.late))
        self.record.asked = sorted(tally.asked.values(), key=lambda each: (-each.seconds, -each.times, each.reading))
        if self._found and self._looked < self.store.epoch:
            self.record.situation = f"{self._found}, when it was last looked at: steps were taken since"

    def _sleep(self, seconds: float) -> None:
        self.record.waited = round(self.record.waited + seconds, 2)
        time.sleep(seconds)
        self.store.unsettle()

    def _wanted(self, chosen: Chosen, *, whole: bool = True) -> Iterator[tuple[Reading[object], str | None]]:
        if whole or needs_standing(chosen):
            for reading in self.app.standing:
                yield reading, None
        for statement, at in chosen:
            for reading in self.judge.wanted(statement):
                yield reading, at

    def _look(self) -> None:
        self._looked = self.store.epoch
        try:
            self.policy.cut_over_on = self.app.cut_over_on(self.store)
            self.situation = self.app.situation(self.store)
        except Unobservable as problem:
            self.situation = Situation("could not be read", (str(problem),), refuse=True)
        self._found = self._found or self.situation.name
        moved = self._found != self.situation.name
        self.record.situation = f"{self._found}, now {self.situation.name}" if moved else self._found
        self.record.situation_detail = list(self.situation.detail)
