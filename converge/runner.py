"""A run: lock, journal, guards, prober, and the remedies one after the other, each proven before the next that needs it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from converge import compile as words
from converge import guards, outside
from converge.by_hand import Ended, Hands, by_hand, is_a_persons
from converge.errors import ConvergeError, Exit, StateMoved, Unobservable
from converge.executor import CONTROL, Executor
from converge.foresight import Foresight, Prefetch
from converge.interrupts import first_interrupt
from converge.journal import Journal
from converge.lock import Lock
from converge.plan import Failing, Plan, Task, block, blocked_text, by_hand_text, call, fill, sketch
from converge.prober import Prober
from converge.readings import Reader
from converge.record import Record, StepRecord, Verdict
from converge.recovery import close_open_runs
from converge.shell import Rc
from converge.statements import Outcome, Statement
from converge.steps import ByHand, NothingToDo, Remedy, RemedyContext, Step
from converge.transport import Link
from hosts.schema import Inventory

PATIENCE = 45.0
"""Seconds within which a remedy's statements must come to hold after its last step."""

TURNS = 5
"""How often a remedy is asked anew because what it relied on changed while a person was waited for."""

CUES = {Outcome.FAILS, Outcome.ADVICE, Outcome.MANUAL}
"""What a remedy may act on when its turn comes: read, and otherwise than stated; what could not be read never is."""


class Prove(Protocol):
    """Judge statements on new answers until they hold or `deadline` seconds are over; the worst verdict each."""

    def __call__(self, ids: Collection[str], deadline: float) -> Mapping[str, Verdict]: ...


class Runner:
    """What a session with ``--remediate`` calls: ``plan``, then (if the person agrees) ``start``, ``execute``, ``finish``.

    ``finish`` is called even if ``execute`` raised; `folder` is the run's own on the control machine. `wait` is how many
    seconds it waits for each step that only a person may do, 0 for not at all.
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
        prove: Prove,
        who: str,
        say: Callable[[str], None],
        flags: frozenset[str] = frozenset(),
        prefetch: Prefetch = lambda _wants: None,
        wait: float = 0.0,
    ) -> None:
        self.inv, self.links, self.record, self.folder = inv, links, record, Path(folder)
        self.statements, self.find, self.void, self.prove = statements, find, void, prove
        self.foresight = Foresight(read, prefetch)
        self.who, self.say, self.flags = who, say, flags
        self.app: Link = links[inv.app_host.name] if inv.app_host.name in links else links[CONTROL]
        self.lock = Lock(self.app)
        self.journal = Journal(record.id, self.app, self.folder / "journal.jsonl")
        self.executor = Executor(inv, links, prelude, self.journal, self.lock, self.folder, self._dial, self._look_outside)
        self.hands = Hands(self.executor, say, wait, self._holds, lambda: self._stop, self._ease)
        self.prober: Prober | None = None
        self._tree: guards.Tree | None = None
        self._unproven: set[str] = set()
        self._seen: dict[str, Verdict] = {}
        self._demands: set[Exit] = set()
        self.only_planned = False
        """Whether a step that its remedy asks for, and that is not in the plan, is refused."""
        self._stop = False
        self._left = False

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
        self._unproven = set(unproven)
        plan = fill(sketch(chosen, self.statements, manual, standing), self.find, self._context, self._render)
        plan.waits = self.hands.limit > 0
        block(plan, self._unproven)
        return plan

    def start(self, plan: Plan) -> None:
        """Take the lock, find out what became of runs without an end, look at the guards, open the journal, start to probe.

        Raises:
            LockHeld: another run is going on; says whose.
            StateMoved: somebody deploys.
            JournalError: the journal cannot be written.
            GuardFailed: the shared data cannot be counted.
        """
        self.lock.acquire(self.who, self.record.id)
        try:
            self.record.notes += close_open_runs(self.links, self.app, self.record.id)
            self._guards_before()
            steps = [{"id": s.id, "host": s.host, "sentence": s.sentence} for s in plan.steps]
            self.journal.write("plan", who=self.who, target=self.inv.name, version=self.record.version, steps=steps)
        except BaseException:
            self.lock.release()
            raise
        self.prober = Prober(self.inv, self.folder / "requests.jsonl")
        if trouble := self.prober.start():
            self.record.notes.append(trouble)

    def execute(self, plan: Plan) -> Exit | None:
        """Run the plan's tasks; what became of the steps goes into the record. The exit code that it demands, None for none.

        Raises:
            ConnectionLost: what became of the step that acted is not known.
            KeyboardInterrupt: the person would not wait for the end of the step.
        """
        try:
            with first_interrupt(self._stop_soon):
                for task in plan.tasks:
                    self._task(task, plan)
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
        ranked = (Exit.UNKNOWN, Exit.ROLLED_BACK, Exit.STATE_MOVED, Exit.FAILS)
        return next((code for code in ranked if code in self._demands), None)

    def finish(self, exit_code: int, reason: str) -> None:
        """Stop the prober, close the journal, free the lock. Never raises for a host that is gone: it is noted.

        The journal of a run that was left in the middle of a step stays open, for the next run to look what became of it.
        """
        try:
            if self.prober is not None:
                self.record.probe = self.prober.stop()
            if self._left or self.executor.in_flight:
                left = f"step {self.executor.in_flight}" if self.executor.in_flight else "it"
                self.record.notes.append(f"the journal stays open, {left} was left: the next run looks what became of it")
            elif step := self.hands.waits_for:
                waits = f"it waits for a person to do {step}"
                self.record.notes.append(f"the journal stays open, {waits}: the next run goes on from what it finds")
            else:
                self.journal.write("end", exit_code=exit_code, reason=reason)
        except ConvergeError as problem:
            self.record.notes.append(f"the journal stays open: {problem}")
        finally:
            self.lock.release()

    # One task ---------------------------------------------------------------------------------------------------------

    def _task(self, task: Task, plan: Plan) -> None:
        if self._stop:
            task.state = "not reached"
            return
        verdicts = self._look([*task.statements, *task.needs])
        if all(verdicts[id].outcome is Outcome.HOLDS for id in task.statements if id in verdicts):
            self._pass_over(task, "held", "not needed", "what it is for holds already")
            return
        if missing := [need for need in task.needs if need in self._unproven]:
            self._pass_over(task, "blocked", "blocked", blocked_text(missing))
            return
        if not any(verdict.outcome in CUES for id, verdict in verdicts.items() if id in task.statements):
            unread = ", ".join(f"{id} is {verdicts[id].outcome} now" for id in task.statements if id in verdicts)
            self._pass_over(task, "blocked", "blocked", f"not attempted, because {unread}: no remedy acts on that")
            return
        ended = self._steps(task, plan)
        self._seen.clear()
        proofs = self.prove(task.statements, PATIENCE if ended else 0.0)
        self._learn(proofs)
        self._settle(task, proofs)

    def _look(self, ids: Sequence[str]) -> Mapping[str, Verdict]:
        """Verdicts on answers that are no older than the last task."""
        if missing := [id for id in ids if id not in self._seen]:
            self._learn(self.prove(missing, 0.0))
        return {id: self._seen[id] for id in ids if id in self._seen}

    def _learn(self, verdicts: Mapping[str, Verdict]) -> None:
        self._seen.update(verdicts)
        for id, verdict in verdicts.items():
            (self._unproven.discard if verdict.outcome is Outcome.HOLDS else self._unproven.add)(id)

    def _pass_over(self, task: Task, state: str, result: Any, reason: str) -> None:
        task.state, task.note = state, reason
        for record in task.steps:
            record.result, record.reason = result, reason
        if not task.follows or state != "held":
            self.say(f"{', '.join(task.statements)}: {reason}")

    def _steps(self, task: Task, plan: Plan) -> bool:
        """Run the remedy's steps as it yields them, each on fresh readings; whether it came to its end."""
        planned = {record.id: record for record in task.steps}
        task.steps, task.note = [], ""
        ended: bool | None = None
        for _ in range(TURNS):
            ended = self._turn(task, plan, planned)
            if ended is not None:
                break
        task.steps += planned.values()
        if ended:
            for record in planned.values():
                record.result, record.reason = "not needed", "its remedy did not ask for it any more"
        return bool(ended)

    def _turn(self, task: Task, plan: Plan, planned: dict[str, StepRecord]) -> bool | None:
        """Ask the remedy once, and run what it yields; None if it must be asked anew, as the world moved meanwhile."""
        self.void(self.inv.app_host.name)
        steps = call(self.find(task.remedy), self._context(task), task.remedy)
        try:
            for step in steps:
                record = planned.pop(step.id, None) or self._unplanned(step, task)
                task.steps.append(record)
                ended = self._step(step, task, record) if record.rc is None else None
                # While a person was waited for, anything may have changed.
                self.void(CONTROL if ended else step.host)
                if ended in {"settled", "moved"} and not self._stop:
                    return True if ended == "settled" else None
                if record.result != "done" or self._stop:
                    return self._halted(task, plan, record, list(planned.values()))
        except NothingToDo as reason:
            task.note = f"nothing {'more ' if task.steps else ''}to do: {reason}"
            if isinstance(reason, ByHand):
                plan.manual.update(dict.fromkeys(task.statements, str(reason)))
        except Unobservable as reason:
            task.note = f"what it must know could not be read: {reason}"
            return False
        return True

    def _unplanned(self, step: Step, task: Task) -> StepRecord:
        record = self._render(step, task.remedy, task.statements)
        if self.only_planned:
            record.result, record.rc = "refused", int(Rc.MOVED)
            record.reason = "it is not in the plan that is carried out: look at the hosts and make a new one with --plan"
            self.say(f"{record.id} at {record.host}: refused: {record.reason}")
        return record

    def _step(self, step: Step, task: Task, record: StepRecord) -> Ended | None:
        """Run a step, or wait for the person whose it is; how such a wait ended, None for a step of the tool's."""
        self.say(f"{record.id} at {record.host}: {record.sentence}")
        ended: Ended | None = None
        try:
            self.executor.run_step(step, task.remedy, task.statements, record)
            if record.result == "manual" and self.hands.limit > 0:
                ended = self.hands.wait(step, record)
        except guards.NotAllowed as problem:
            record.result, record.reason = "refused", str(problem)
        self.say(f"  {record.result}{f': {record.reason}' if record.reason else ''} ({record.seconds:.1f} s)")
        return ended

    def _ease(self, easy: bool) -> None:
        if self.prober is not None:
            self.prober.ease(easy)

    def _holds(self, ids: Sequence[str]) -> bool | None:
        self.void(CONTROL)
        outcomes = {verdict.outcome for verdict in self.prove(ids, 0.0).values()}
        return None if Outcome.UNOBSERVABLE in outcomes else outcomes == {Outcome.HOLDS}

    def _halted(self, task: Task, plan: Plan, record: StepRecord, rest: Sequence[StepRecord]) -> bool:
        if record.result == "manual":
            plan.manual.update(dict.fromkeys(task.statements, by_hand_text([record, *rest])))
        for left in rest:
            left.result, left.reason = "not reached", f"the remedy stopped at {record.id}"
        task.note = f"stopped at {record.id}: {record.result}"
        return False

    def _settle(self, task: Task, proofs: Mapping[str, Verdict]) -> None:
        """Write down whether the task's statements hold now."""
        texts = []
        for id, verdict in proofs.items():
            seen = " ".join(verdict.message.split())[:200]
            texts.append(f"{id} holds" if verdict.outcome is Outcome.HOLDS else f"{id} {verdict.outcome}: {seen}")
        self.journal.write("proof", statements={id: str(v.outcome) for id, v in proofs.items()}, text="; ".join(texts))
        for record in task.steps:
            if record.result == "done":
                record.proof = "; ".join(texts)
        proven = all(v.outcome is Outcome.HOLDS for v in proofs.values())
        task.state = "proven" if proven else "unproven"
        self.say(f"  {'proven' if proven else 'NOT proven'}: {'; '.join(texts)}")
        for record in task.steps:
            if record.result == "unknown":
                self._demands.add(Exit.UNKNOWN)
            elif record.result == "rolled back":
                self._demands.add(Exit.ROLLED_BACK)
            elif record.rc == Rc.MOVED and not proven:
                self._demands.add(Exit.STATE_MOVED)

    # What a step that puts itself back waits for -----------------------------------------------------------------------

    def _dial(self, host: str) -> Link:
        return outside.dial(self.inv, host)

    def _look_outside(self, link: Link) -> str:
        return outside.look(self.prober or Prober(self.inv), link)

    # Around -----------------------------------------------------------------------------------------------------------

    def _context(self, task: Task) -> RemedyContext:
        return RemedyContext(
            inv=self.inv,
            read=self.foresight.course(task.remedy, task.host),
            at=task.host or self.inv.app_host.name,
            run_id=self.record.id,
            attic=f"{self.inv.attic}/{self.record.id}",
            workdir=str(self.executor.workdir),
            flags=self.flags,
        )

    def _render(self, step: Step, remedy: str, statements: Sequence[str]) -> StepRecord:
        record = words.render(step, remedy, statements)
        if is_a_persons(step, self.inv):
            record.result, record.reason = "manual", by_hand(step, self.inv, waits=self.hands.limit > 0)
            return record
        try:
            self.executor.check(step)
        except guards.NotAllowed as problem:
            record.result, record.reason = "refused", str(problem)
        return record

    def _guards_before(self) -> None:
        deploying = guards.nobody_deploys(self.app, self.inv)
        room = guards.room_for_two(self.app, self.inv)
        self.record.guards += [deploying.text, room.text if room.holds else f"{room.text} (the brief cutover needs none)"]
        if not deploying.holds:
            raise StateMoved(f"{self.inv.app_host.name}: {deploying.text}")
        try:
            self._tree = guards.read_tree(self.app, self.inv)
        except Unobservable as problem:
            raise guards.GuardFailed(
                f"{self.inv.app_host.name}: {problem}: nothing was done, since afterwards nobody could tell whether "
                f"something was lost: let {self.inv.account.user} read all of it"
            ) from None

    def _guards_after(self) -> None:
        after = None
        try:
            after = guards.read_tree(self.app, self.inv)
        except (Unobservable, ConvergeError):
            pass
        kept = guards.tree_kept(self._tree, after)
        self.record.guards.append(kept.text)
        if not kept.holds:
            self._demands.add(Exit.FAILS)

    def _stop_soon(self) -> None:
        self._stop = True
        self.say("stopping after this step; press Ctrl-C again to stop now")
