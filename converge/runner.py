"""A run: lock, journal, guards, prober, and the remedies one after the other, each proven before the next that needs it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from converge import attic, guards, outside
from converge import compile as words
from converge.by_hand import Ended, Hands, by_hand, is_a_persons
from converge.errors import ConvergeError, Exit, StateMoved, Unobservable
from converge.executor import Executor
from converge.foresight import Course, Foresight, Prefetch, Want
from converge.interrupts import first_interrupt
from converge.journal import Journal, stories
from converge.launch import CONTROL
from converge.lock import Lock, holder
from converge.plan import Failing, Plan, Task, block, blocked_text, by_hand_text, call, fill, sketch
from converge.prober import Prober
from converge.readings import Reader
from converge.record import Record, StepRecord, Verdict
from converge.recovery import close_open_runs, left_behind
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


class StaleProof(ConvergeError):
    """A defect: what was read before the last step was about to be taken for the proof of what it did."""

    exit_code = Exit.INTERNAL


class Prove(Protocol):
    """Judge statements on answers of now until they hold or `deadline` seconds are over; the worst verdict each."""

    def __call__(self, ids: Collection[str], deadline: float) -> Mapping[str, Verdict]: ...


class Runner:
    """What a session with ``--remediate`` calls: ``plan``, then (if the person agrees) ``start``, ``execute``, ``finish``.

    ``finish`` is called even if ``execute`` raised; `folder` is the run's own on the control machine. `wait` is how many
    seconds it waits for each step that only a person may do, 0 for not at all. `void` forgets what a step on a host may
    have changed, `renew` does so only if something may have changed; `sent` is told the host of every step that is sent;
    `wanted` says what `prove` will ask for, and `prefetch` asks for it in one exec a host.
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
    ) -> None:
        self.inv, self.links, self.record, self.folder = inv, links, record, Path(folder)
        self.statements, self.find, self.void, self.renew, self.prove = statements, find, void, renew, prove
        self.foresight, self.prefetch, self.wanted = Foresight(read, prefetch), prefetch, wanted
        self.who, self.say, self.flags = who, say, flags
        self.app: Link = links[inv.app_host.name] if inv.app_host.name in links else links[CONTROL]
        self.lock = Lock(self.app)
        self.journal = Journal(record.id, self.app, self.folder / "journal.jsonl")
        around = (self._dial, self._look_outside, sent)
        self.executor = Executor(inv, links, prelude, self.journal, self.lock, self.folder, *around)
        self.hands = Hands(self.executor, say, wait, self._holds, lambda: self._stop, self._ease)
        self.prober: Prober | None = None
        self._tree: guards.Tree | None = None
        self._aside: set[str] = set()
        """Steps of the plan that move something aside."""
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
            LockHeld: another run is going on, or a step that one left; says whose.
            StateMoved: somebody deploys.
            JournalError: the journal cannot be written.
            GuardFailed: the shared data cannot be counted, or the attic is full and the plan moves more aside.
        """
        self.lock.acquire(self.who, self.record.id)
        try:
            self.record.notes += close_open_runs(self.links, self.app, self.record.id)
            self._guards_before(plan)
            steps = [{"id": s.id, "host": s.host, "sentence": s.sentence} for s in plan.steps]
            self.journal.write("plan", who=self.who, target=self.inv.name, version=self.record.version, steps=steps)
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
            found = close_open_runs(self.links, self.app, self.record.id)
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

    def finish(self, exit_code: int, reason: str) -> str:
        """Stop the prober, close the journal, free the lock. What prevented that, empty for nothing; raises for no host.

        The journal of a run that was left in the middle of a step stays open, for the next run to look what became of it.
        """
        try:
            if self.prober is not None:
                self.record.probe = self.prober.stop()
            if self._left or self.executor.in_flight:
                self.record.notes.append(text := left_behind(self.executor.in_flight, self.record.steps))
                self.say(text)
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

    # One task ---------------------------------------------------------------------------------------------------------

    def _task(self, task: Task, plan: Plan) -> None:
        if self._stop:
            task.state = "not reached"
            return
        verdicts = self._look(task, plan)
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
        self._ask_ahead(plan.after(task), task.statements)
        proofs = self.prove(task.statements, PATIENCE if ended else 0.0)
        self._learn(proofs)
        self._settle(task, proofs)

    def _look(self, task: Task, plan: Plan) -> Mapping[str, Verdict]:
        """Verdicts on a task's statements and needs, on answers that are no older than the last task."""
        ids = [*task.statements, *task.needs]
        if missing := [id for id in ids if id not in self._seen]:
            self._ask_ahead(plan.tasks[plan.tasks.index(task) :])
            self._learn(self.prove(missing, 0.0))
        return {id: self._seen[id] for id in ids if id in self._seen}

    def _ask_ahead(self, coming: Sequence[Task], proof: Sequence[str] = (), more: Iterable[Want] = ()) -> None:
        """Ask at once for all that will be asked before the next step: what proves the last, what judges coming tasks.

        It decides only what is asked together: whoever needs an answer still asks if it is not there, or not of now.
        """
        if self._stop:
            return
        self.renew(self.inv.app_host.name)
        ids, wants = list(proof), list(more)
        for task in coming:
            ids += [*task.statements, *task.needs]
            if task.will_act:
                wants += self.foresight.first(task.remedy, task.host)
                break
        self.prefetch([*self.wanted(ids), *wants])

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
        self.renew(self.inv.app_host.name)
        context = self._context(task)
        steps = call(self.find(task.remedy), context, task.remedy)
        try:
            for step in steps:
                record = planned.pop(step.id, None) or self._unplanned(step, task)
                task.steps.append(record)
                ended = self._step(step, task, record) if record.rc is None else None
                # While a person was waited for, anything may have changed.
                self.void(CONTROL if ended else step.host)
                if ended in {"settled", "moved"} and not self._stop:
                    return True if ended == "settled" else None
                if not planned and isinstance(context.read, Course):
                    self._ask_ahead(plan.after(task), task.statements, context.read.next())
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
                self.executor.sent(CONTROL)
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
        """Write down whether the task's statements hold now.

        Raises:
            StaleProof: what was read of them is from before the last step.
        """
        texts = []
        for id, verdict in proofs.items():
            if verdict.epoch < self.executor.epoch:
                raise StaleProof(
                    f"a defect of this program: {id} was to be proven by what was read before step {self.executor.count}, "
                    "the last one: nothing more is done, and whether it holds is not known"
                )
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
        if words.moves_aside(step) and step.host != CONTROL:
            self._aside.add(step.id)
        if is_a_persons(step, self.inv):
            record.result, record.reason = "manual", by_hand(step, self.inv, waits=self.hands.limit > 0)
            return record
        try:
            self.executor.check(step)
        except guards.NotAllowed as problem:
            record.result, record.reason = "refused", str(problem)
        return record

    def _guards_before(self, plan: Plan) -> None:
        deploying = guards.nobody_deploys(self.app, self.inv)
        room = guards.room_for_two(self.app, self.inv)
        self.record.guards += [deploying.text, room.text if room.holds else f"{room.text} (the brief cutover needs none)"]
        if not deploying.holds:
            raise StateMoved(f"{self.inv.app_host.name}: {deploying.text}")
        mine = {"planned", "manual"} if plan.waits else {"planned"}
        if any(record.id in self._aside and record.result in mine for record in plan.steps):
            self.record.guards.append(attic.has_room(self.app, self.inv).text)
        try:
            self._tree = guards.read_tree(self.app, self.inv)
        except Unobservable as problem:
            mend = f"let {self.inv.account.user} read all of it"
            if isinstance(problem, guards.TooManyEntries):
                mend = "look what lies there, and allow as many if they belong there"
            raise guards.GuardFailed(
                f"{self.inv.app_host.name}: {problem}: nothing was done, since afterwards nobody could tell whether "
                f"something was lost: {mend}"
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
