"""The executor: the only thing that changes a host. One step is one exec, which outlives the connection it came over."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from converge.acting import announce
from converge.acting.attempt import GRACE, Attempt, facts_of
from converge.acting.confirmation import Confirmation
from converge.acting.launch import launch_script
from converge.acting.manual import by_hand, hand_script, is_a_persons, lay_script
from converge.acting.result import is_unheard, settle
from converge.acting.transient_unit import RolledBack, outcome_script
from converge.checking.record import StepRecord
from converge.errors import ConnectionLost, ConvergeError, UsageError
from converge.journal.journal import Journal, JournalError, line
from converge.journal.lock import Lock, mine_script
from converge.readings.answers import CONTROL
from converge.shell.library import Rc
from converge.steps import Needless, Step
from converge.steps.compile import compile_step, compile_undo
from converge.steps.describe import render
from converge.steps.fence import Fence
from converge.transport import Completed, Link
from hosts.schema import Inventory


def host_fence(inv: Inventory, host: str, run: str) -> Fence:
    """What a step may touch on a host of the target."""
    app = inv.app
    config_dirs = tuple(dict.fromkeys(p.rsplit("/", 1)[0] for p in (app.logrotate_config, app.logrotate_state)))
    others = tuple(f"{inv.web.socket_dir}/{name}" for name in inv.web.allowed_sockets)
    return Fence(
        roots=(inv.stages.root, inv.units_dir, inv.web.socket_dir, *config_dirs, "$XDG_RUNTIME_DIR"),
        attic=inv.attic,
        run_id=run,
        protected=(inv.stages.root, inv.stage, inv.shared, inv.units_dir, inv.attic, "$XDG_RUNTIME_DIR/systemd", *others),
        units=(app.unit, *app.legacy_units, app.logrotate_unit, app.logrotate_timer),
        bystanders=others,
        hostname=inv.hosts[host].hostname,
        account=inv.account.user,
    )


def control_fence(workdir: str, attic: str, run: str) -> Fence:
    """What a step may touch on the control machine: the run's own folder."""
    return Fence(roots=(workdir,), attic=attic, run_id=run)


def key_of(n: int, step: str) -> str:
    """Name of a step's folder in the attic of its run."""
    return f"{n:03d}-{re.sub(r'[^A-Za-z0-9._-]+', '-', step)}"


CHECKED = "check"
"""The folder's name of a step that is compiled and not sent."""


class Executor:
    """Runs steps for one run. `folder` is the run's folder on the control machine.

    Steps that want to be confirmed are, by `look` and over connections that `dial` makes; without `dial` they cannot run.
    `sent` is told the host of every step that is sent.
    """

    def __init__(
        self,
        inv: Inventory,
        links: Mapping[str, Link],
        prelude: str,
        journal: Journal,
        lock: Lock,
        folder: Path,
        dial: Callable[[str], Link] | None = None,
        look: Callable[[Link], str] = lambda _link: "nobody looks at the site",
        sent: Callable[[str], None] = lambda _host: None,
    ) -> None:
        self.dial, self.look, self._sent = dial, look, sent
        self.inv, self.links, self.prelude = inv, links, prelude
        self.journal, self.lock = journal, lock
        self.workdir, self.control_attic = folder / "work", folder / "attic"
        self.count = 0
        self.in_flight = 0
        """Number of the step that was begun and is going on, as far as is known; 0 for none."""
        self.lost: dict[int, StepRecord] = {}
        """The steps that left no result, by number: the run's journal stays open, for the next run to look."""
        self.epoch = 0
        """How many steps were sent, whatever became of them; what was read before the last of them proves nothing."""

    def run_step(self, step: Step, remedy: str, statements: Sequence[str], record: StepRecord | None = None) -> StepRecord:
        """Run one step, once. What became of it is in the record's `result`; `reason` says why if it was not done.

        Raises:
            ConnectionLost: the connection ended while it acted; the record says ``unknown``.
            UsageError: the step names no host of the target, or does what no step may do.
            JournalError: its intent, or this machine's folder for it, could not be written; of it nothing was done.
        """
        fresh = render(step, remedy, statements)
        record = fresh if record is None else _renewed(record, fresh)
        if is_a_persons(step, self.inv):
            record.result = "manual"
            record.reason = by_hand(step, self.inv, self.prelude)
            return record
        return self._carried(self._attempt(step), record, self._perform)

    def _carried(
        self, attempt: Attempt, record: StepRecord, carry: Callable[[Attempt, StepRecord], Completed]
    ) -> StepRecord:
        record.started, record.result = time.time(), "unknown"
        try:
            done = carry(attempt, record)
        except ConnectionLost as problem:
            if self.in_flight != attempt.n:
                record.result, record.reason = "not reached", f"it was not sent: {problem}"
                raise
            record.reason = f"the connection was lost while it acted ({problem}); the next run finds out what became of it"
            if (found := self._found_out(attempt)) is None:
                raise
            settle(record, found, attempt.limit, attempt.laid)
            record.reason = f"the connection was lost while it acted; {record.reason or 'it was done'}"
            if found.rc == Rc.ROLLED_BACK:
                raise RolledBack(f"{attempt.host}: {record.reason}: nothing more is done") from None
            raise
        except JournalError as problem:
            if self.in_flight != attempt.n:
                record.result, record.reason = "not reached", f"it was not sent: {problem}"
            raise
        except KeyboardInterrupt:
            record.reason = "it was left alone while it acted; the next run finds out what became of it"
            raise
        return self._settled(record, attempt, done)

    def _settled(self, record: StepRecord, attempt: Attempt, done: Completed) -> StepRecord:
        settle(record, done, attempt.limit, attempt.laid)
        if done.rc == Rc.UNLOCKED:
            self.in_flight = 0
            raise ConnectionLost(f"{attempt.host}: {record.reason}: nothing more is done")
        if record.result == "unknown":
            # No result is written: it would tell the next run that there is nothing to find out.
            self.lost[attempt.n] = record
        elif attempt.host != self.inv.app_host.name:
            words = self._aloud(attempt, f"ended with status {done.rc}")
            self.journal.write("result", words, n=attempt.n, rc=done.rc, result=record.result, reason=record.reason)
        else:
            self.journal.note(line("result", n=attempt.n, rc=done.rc, result=record.result, reason=record.reason))
        self.in_flight = 0
        return record

    def sent(self, host: str) -> None:
        """A step is sent to `host`, or a person was left to act there."""
        self.epoch += 1
        self.journal.begun = True
        self._sent(host)

    def lay(self, step: Step, record: StepRecord) -> Attempt:
        """Lay a step ready on its host, for a person to run by ``hand_line`` while this run holds the lock.

        Raises:
            UsageError, NotAllowed: as of ``run_step``.
            JournalError: it could not be written.
        """
        attempt = self._attempt(step)
        # That it was begun is seen by a look, seconds late: what it noted by then counts from here.
        attempt = replace(attempt, who=f"{attempt.who}, typed by hand", laid=time.time())
        self.lock.check()
        intent = line("intent", **facts_of(attempt, record)) if attempt.host == self.inv.app_host.name else ""
        host = self.inv.hosts.get(attempt.host)
        launch = launch_script(self.journal.run, attempt, intent, typed=True)
        script = hand_script(self.journal.run, attempt, launch, host.hostname if host else None, is_app=bool(intent))
        lay = lay_script(self.journal.run, attempt.n)
        done = self.links[attempt.host].exec(lay, limit=30, stdin=script.encode())
        if done.rc != 0:
            seen = done.err.decode(errors="replace").strip() or f"status {done.rc}"
            raise self.journal.failed(f"{attempt.host}: what a person is to run could not be laid ready ({seen})")
        return attempt

    def follow(self, attempt: Attempt, record: StepRecord) -> StepRecord:
        """Stay with a step that a person began, until it ends; the same record and errors as of ``run_step``."""
        return self._carried(attempt, record, self._followed)

    def number(self) -> int:
        """A number for a step that a person does in their own way."""
        self.count += 1
        return self.count

    def done_by_hand(self, n: int, step: Step, record: StepRecord) -> None:
        """Write down a step that a person did in their own way, of which only what became of it was seen.

        Raises:
            JournalError: it could not be written; the journal stays open, as something was done.
        """
        self.journal.begun = True
        none = f"none: it was done by hand; {record.undo.removeprefix('none: ')}"
        attempt = Attempt(n, step.host, "", None, step.limit, step.sentence, False, self.lock.who, *_nature(step))
        facts = facts_of(attempt, record) | {"undo": none, "by_hand": True}
        said = announce.title(self.journal.run, n, attempt.who, step.sentence)
        self.journal.write("intent", announce.aloud(f"{said}: done by hand"), **facts)
        self.journal.write("result", n=n, rc=0, result=record.result, reason=record.reason)

    def fence(self, host: str) -> Fence:
        """What a step may touch on a host.

        Raises:
            UsageError: it is no live host of the target.
        """
        if host == CONTROL:
            return control_fence(str(self.workdir), str(self.control_attic), self.journal.run)
        if host not in self.links:
            known = ", ".join(self.links)
            raise UsageError(f"a step wants to act on {host}, which is no live host of {self.inv.name}: {known}")
        return host_fence(self.inv, host, self.journal.run)

    def run_undo(
        self,
        n: int,
        host: str,
        script: str,
        label: str,
        limit: float,
        *,
        confirm: bool,
        puts_back: bool = False,
        interrupts: float | None = None,
    ) -> StepRecord:
        """Run a recorded way back, once, as a step of this run that takes step `n` of another one back.

        It is run as that was (`confirm`, `puts_back`), and is expected to cost the site what that did (`interrupts`).

        Raises:
            ConnectionLost, RolledBack, JournalError: as of ``run_step``.
        """
        record = StepRecord(f"undo-{n}", "", [], host, label, "", [], "none: it is an undo itself", interrupts)
        return self._scripted(record, script, limit, confirm=confirm, puts_back=puts_back)

    def run_script(self, id: str, host: str, script: str, label: str, undo: str, limit: float = 300.0) -> StepRecord:
        """Run a script that guards itself, once, as a step of this run that has no way back; `undo` says why."""
        return self._scripted(StepRecord(id, "", [], host, label, "", [], undo, None), script, limit)

    def _scripted(
        self, record: StepRecord, script: str, limit: float, *, confirm: bool = False, puts_back: bool = False
    ) -> StepRecord:
        self.count += 1
        words = (limit, record.sentence, confirm, self.lock.who)
        attempt = Attempt(self.count, record.host, script, None, *words, puts_back=puts_back)
        return self._carried(attempt, record, self._perform)

    def check(self, step: Step) -> None:
        """Compile the step without running it.

        Raises:
            NotAllowed: an act, or its undo, does what no step may do.
        """
        fence = self.fence(step.host)
        compile_step(step, self.prelude, fence, CHECKED)
        compile_undo(step, self.prelude, fence, CHECKED)

    def _attempt(self, step: Step) -> Attempt:
        fence = self.fence(step.host)
        key = key_of(self.count + 1, step.id)
        script = compile_step(step, self.prelude, fence, key)
        undo = compile_undo(step, self.prelude, fence, key)
        self.count += 1
        words = (step.limit, step.sentence, step.confirm is not None, self.lock.who, *_nature(step))
        return Attempt(self.count, step.host, script, undo, *words, puts_back=step.puts_back)

    def _aloud(self, attempt: Attempt, words: str) -> str:
        """Shell for the app host that says of a step on this machine what steps on a host say there themselves."""
        said = announce.title(self.journal.run, attempt.n, attempt.who, attempt.label)
        return "" if attempt.is_on_a_host else announce.aloud(f"{said}: {words}")

    def _confirmation(self, attempt: Attempt) -> Confirmation:
        if self.dial is None:
            raise UsageError(f"step {attempt.n} must be confirmed over a new connection, and there is no way to make one")
        dial, host = self.dial, attempt.host
        run, limit = self.journal.run, attempt.limit + GRACE
        return Confirmation(self.links[host], lambda: dial(host), self.look, run, attempt.n, limit)

    def _found_out(self, attempt: Attempt) -> Completed | None:
        """What became of a step that goes on without us."""
        return self._confirmation(attempt).find_out() if attempt.confirm else None

    def _perform(self, attempt: Attempt, record: StepRecord) -> Completed:
        self.lock.check()
        if attempt.host == CONTROL:
            self.journal.make(self.workdir)
        facts = facts_of(attempt, record)
        intent = ""
        if attempt.host == self.inv.app_host.name:
            intent = line("intent", **facts)
            self.journal.note(intent)
        else:
            held = mine_script(self.journal.run)
            self.journal.write_if(held, "intent", self._aloud(attempt, "begins"), **facts)
        script = launch_script(self.journal.run, attempt, intent)
        self.in_flight = attempt.n
        self.sent(attempt.host)
        if intent:
            script = mine_script(self.journal.run) + script
        return self._heard(attempt, record, script)

    def _followed(self, attempt: Attempt, record: StepRecord) -> Completed:
        self.in_flight, self.journal.begun = attempt.n, True
        facts = facts_of(attempt, record)
        if attempt.host == self.inv.app_host.name:
            self.journal.note(line("intent", **facts))  # the host's own was written by what the person ran
        else:
            self.journal.write("intent", self._aloud(attempt, "begins"), **facts)
        script = outcome_script(self.journal.run, attempt.n, attempt.limit + GRACE)
        return self._heard(attempt, record, script)

    def _heard(self, attempt: Attempt, record: StepRecord, script: str) -> Completed:
        """The step's end, for which `script` waits; a step that wants to be confirmed is answered meanwhile."""
        if not attempt.confirm:
            return self._waited(attempt, script)
        with self._confirmation(attempt) as answered:
            done = self._waited(attempt, script)
        record.confirmed = answered.note
        return done

    def _waited(self, attempt: Attempt, script: str) -> Completed:
        link, limit = self.links[attempt.host], attempt.limit + GRACE
        done = link.exec(script, limit=limit)
        if attempt.in_unit and is_unheard(done):
            # Whoever killed all of it has spared what puts back.
            later = self._outcome(link, attempt, limit)
            done = done if later.out == b"never\n" else replace(later, seconds=done.seconds + later.seconds)
        return done

    def _outcome(self, link: Link, attempt: Attempt, limit: float) -> Completed:
        try:
            return link.exec(outcome_script(self.journal.run, attempt.n, limit), limit=limit)
        except ConnectionLost:
            raise
        except ConvergeError as problem:
            raise ConnectionLost(f"{attempt.host}: {problem}") from None


def _nature(step: Step) -> tuple[bool, bool]:
    """Whether the site rests on a step, and whether it need not be taken back."""
    return step.carries_the_site, isinstance(step.undo, Needless)


def _renewed(record: StepRecord, fresh: StepRecord) -> StepRecord:
    """The planned record with what the step turned out to be."""
    record.commands, record.preconditions, record.undo = fresh.commands, fresh.preconditions, fresh.undo
    record.sentence, record.host = fresh.sentence, fresh.host
    record.interrupts, record.search_gap, record.serves = fresh.interrupts, fresh.search_gap, fresh.serves
    return record
