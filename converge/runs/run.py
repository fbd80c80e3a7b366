"""A run: what is around the mending of a plan: lock, journal, guards, prober, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from converge.acting import confirmation
from converge.acting.executor import Executor
from converge.acting.manual_wait import Hands
from converge.checking.application import Preflight, nothing_asked
from converge.checking.record import Record
from converge.checking.statement import Outcome, Statement
from converge.errors import RANK, ConvergeError, Exit, Unobservable
from converge.journal.journal import Journal, stories
from converge.journal.lock import Lock, holder
from converge.journal.ownership import owner
from converge.planning.plan import Failing, Plan, block, fill, sketch
from converge.planning.prefetch import Foresight, Prefetch, Want
from converge.probe.prober import Prober
from converge.probe.unannounced import Loss, losses
from converge.readings import Reader
from converge.readings.answers import CONTROL
from converge.runs import attic, preflight
from converge.runs.interrupts import first_interrupt
from converge.runs.recovery import close_open_runs, left_behind, without_result
from converge.runs.tasks import Mender, Prove
from converge.steps import Remedy
from converge.transport import Link
from hosts.schema import Inventory


class Runner:
    """What a session with ``--remediate`` calls: ``plan``, then (if the person agrees) ``start``, ``execute``, ``finish``.

    ``finish`` is called even if ``execute`` raised; `folder` is the run's own on the control machine. `wait` is how many
    seconds it waits for each step that only a person may do, 0 for not at all. `void` forgets what a step on a host may
    have changed, `renew` does so only if something may have changed; `sent` is told the host of every step that is sent;
    `wanted` says what `prove` will ask for, and `prefetch` asks for it in one exec a host. `asked` is the application's
    preflight.
    """

    def __init__(
        self,
        *,
        inv: Inventory,
        links: Mapping[str, Link],
        prelude: str,
        record: Record,
        folder: str,
        statements: Mapping[str, Statement],
        find: Callable[[str], Remedy],
        read: Reader,
        void: Callable[[str], None],
        renew: Callable[[str], None],
        sent: Callable[[str], None],
        prove: Prove,
        who: str,
        say: Callable[[str], None],
        flags: frozenset[str] = frozenset(),
        prefetch: Prefetch = lambda _wants: None,
        wanted: Callable[[Collection[str]], Iterable[Want]] = lambda _ids: (),
        wait: float = 0.0,
        asked: Preflight = nothing_asked,
    ) -> None:
        self.inv, self.links, self.record, self.folder = inv, links, record, Path(folder)
        self.statements, self.find, self.void, self.prove = statements, find, void, prove
        self.who, self.say, self.asked = who, say, asked
        self.app: Link = links[inv.app_host.name] if inv.app_host.name in links else links[CONTROL]
        self._demands: set[Exit] = set()
        self.lock = Lock(self.app)
        self.journal = Journal(record.id, self.app, self.folder / "journal.jsonl")
        around = (self._dial, self._look_outside, sent)
        self.executor = Executor(inv, links, prelude, self.journal, self.lock, self.folder, *around)
        self.hands = Hands(self.executor, say, wait, self._holds, lambda: self._stop, self._ease)
        self.mender = Mender(
            self.executor,
            self.hands,
            Foresight(read, prefetch),
            find=find,
            void=void,
            renew=renew,
            prove=prove,
            prefetch=prefetch,
            wanted=wanted,
            say=say,
            flags=flags,
            stopped=lambda: self._stop,
            demand=self._demands.add,
        )
        self.prober: Prober | None = None
        self._tree: preflight.Tree | None = None
        self._stop = self._left = False

    def plan(
        self,
        chosen: Sequence[Failing],
        unproven: Collection[str],
        manual: Mapping[str, str],
        standing: Sequence[Failing] = (),
    ) -> Plan:
        """Plan from what is read now; changes nothing. `unproven` are all statements that do not hold, chosen or not.

        `standing` are the chosen instances that hold: mended again if the run itself breaks them.

        Raises:
            NeedsCycle, RemedyMissing: the definitions make no plan possible.
        """
        self.mender.unproven = set(unproven)
        plan = fill(sketch(chosen, self.statements, manual, standing), self.find, self.mender.context, self.mender.render)
        plan.waits = self.hands.limit > 0
        block(plan, self.mender.unproven)
        return plan

    def start(self, plan: Plan) -> None:
        """Take the lock, find out what became of runs without an end, look at the guards, open the journal, start to probe.

        Raises:
            LockHeld: another run is going on, or a step that one left; says whose.
            StateMoved: somebody deploys.
            JournalError: the journal cannot be written.
            GuardFailed: the shared data cannot be counted, or the attic is full and the plan moves more aside.
        """
        self.lock.acquire(self.who, self.record.id)
        try:
            past = close_open_runs(self.links, self.app, self.record.id)
            self.record.notes += past.notes
            self._guards_before(plan)
            steps = [{"id": s.id, "host": s.host, "sentence": s.sentence} for s in plan.steps]
            whose = {"version": self.record.version, **owner(self.inv, self.who)}
            self.journal.write("plan", seq=past.seq, **whose, steps=steps)
        except BaseException:
            self.lock.release()
            raise
        self.prober = Prober(self.inv, self.folder / "requests.jsonl")
        if trouble := self.prober.start():
            self.record.notes.append(trouble)

    def look_back(self) -> bool:
        """Where nothing is to be done: find out what became of runs without an end all the same; whether there was one.

        The run that goes on now, if any, is left alone, and nothing is written where every run has its end.

        Raises:
            LockHeld: a step of such a run still acts, so that what was read may change.
        """
        if not any(story.is_open for story in stories(self.app)):
            return False
        if now := holder(self.app):
            self.record.notes.append(f"another run is going on: {now}")
            return False
        self.lock.acquire(self.who, self.record.id)
        try:
            found = close_open_runs(self.links, self.app, self.record.id).notes
        finally:
            self.lock.release()
        self.record.notes += found
        for text in found:
            self.say(text)
        return True

    def execute(self, plan: Plan) -> Exit | None:
        """Run the plan's tasks; what became of the steps goes into the record. The exit code that it demands, None for none.

        Raises:
            ConnectionLost: what became of the step that acted is not known.
            KeyboardInterrupt: the person would not wait for the end of the step.
        """
        try:
            with first_interrupt(self._stop_soon):
                # Between the plan and the lock others may have acted.
                self.void(self.inv.app_host.name)
                for task in plan.tasks:
                    self.mender.carry_out(task, plan)
        except KeyboardInterrupt:
            self._left = True
            raise
        finally:
            for record in plan.steps:
                if record.result == "planned":
                    record.result, record.reason = "not reached", record.reason or "the run ended before it"
            self.record.steps = plan.steps
            if not self._left:
                self._guards_after()
        if self._stop:
            return Exit.INTERRUPTED
        return min(self._demands, key=RANK.index, default=None)

    def measure(self) -> list[Loss]:
        """Stop asking the site; what was seen goes into the record. The pages that were lost and that no step announced."""
        if self.prober is not None and self.record.probe is None:
            self.record.probe = self.prober.stop()
        return losses(self.record.probe, self.record.steps)

    def finish(self, exit_code: int, reason: str) -> str:
        """Stop the prober, close the journal, free the lock. What prevented that, empty for nothing; raises for no host.

        The journal of a run with a step of which nobody knows what became of it stays open, for the next run to look.
        """
        try:
            self.measure()
            if self._left or self.executor.in_flight:
                self._note(left_behind(self.executor.in_flight, self.record.steps))
            elif self.executor.lost:
                self._note(without_result(self.executor.lost))
            elif step := self.hands.waits_for:
                waits = f"it waits for a person to do {step}"
                self.record.notes.append(f"the journal stays open, {waits}: the next run goes on from what it finds")
            else:
                self.journal.write("end", exit_code=exit_code, reason=reason)
        except ConvergeError as problem:
            self.record.notes.append(text := f"the journal stays open: {problem}")
            return text
        finally:
            self.lock.release()
        return ""

    def _note(self, text: str) -> None:
        self.record.notes.append(text)
        self.say(text)

    # While a person is waited for ---------------------------------------------------------------------------------------

    def _ease(self, easy: bool) -> None:
        if self.prober is not None:
            self.prober.ease(easy)

    def _holds(self, ids: Sequence[str]) -> bool | None:
        self.void(CONTROL)
        outcomes = {verdict.outcome for verdict in self.prove(ids, 0.0).values()}
        return None if Outcome.UNOBSERVABLE in outcomes else outcomes == {Outcome.HOLDS}

    # What a step that puts itself back waits for -----------------------------------------------------------------------

    def _dial(self, host: str) -> Link:
        return confirmation.dial(self.inv, host)

    def _look_outside(self, link: Link) -> str:
        return confirmation.look(self.prober or Prober(self.inv), link)

    # Around -----------------------------------------------------------------------------------------------------------

    def _guards_before(self, plan: Plan) -> None:
        found = self.asked(self.app, self.inv)
        self.record.guards += [guard.text for guard in found]
        preflight.refuse(found, self.inv.app_host.name)
        mine = {"planned", "manual"} if plan.waits else {"planned"}
        if any(record.id in self.mender.aside and record.result in mine for record in plan.steps):
            self.record.guards.append(attic.has_room(self.app, self.inv).text)
        try:
            self._tree = preflight.read_tree(self.app, self.inv)
        except Unobservable as problem:
            mend = f"let {self.inv.account.user} read all of it"
            if isinstance(problem, preflight.TooManyEntries):
                mend = "look what lies there, and allow as many if they belong there"
            raise preflight.GuardFailed(
                f"{self.inv.app_host.name}: {problem}: nothing was done, since afterwards nobody could tell whether "
                f"something was lost: {mend}"
            ) from None

    def _guards_after(self) -> None:
        kept = preflight.tree_kept(self._tree, preflight.tree_if_readable(self.app, self.inv))
        self.record.guards.append(kept.text)
        if not kept.holds:
            self._demands.add(Exit.FAILS)

    def _stop_soon(self) -> None:
        self._stop = True
        self.say("stopping after this step; press Ctrl-C again to stop now")
