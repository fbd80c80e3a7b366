"""Mending: a plan's tasks, one after the other: each remedy's steps as it yields them, and the proof of its statements."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from converge import errors
from converge.acting.executor import Executor
from converge.acting.manual import by_hand, is_a_persons
from converge.acting.manual_wait import Ended, Hands
from converge.checking.record import StepRecord, Verdict
from converge.checking.statement import Outcome
from converge.errors import ConvergeError, Exit, Unobservable
from converge.planning.plan import Plan, Task, blocked_text, by_hand_text, call
from converge.planning.prefetch import Course, Foresight, Prefetch, Want
from converge.readings.answers import CONTROL
from converge.shell.library import Rc
from converge.steps import ByHand, NothingToDo, Remedy, RemedyContext, Step, Write, describe
from converge.steps.conditions import edited

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


class Mender:
    """Carries out tasks for one run. For what it is given see ``Runner``.

    `stopped` says that the run is to end; `demand` is told each exit code that what became of a step demands.
    """

    def __init__(
        self,
        executor: Executor,
        hands: Hands,
        foresight: Foresight,
        *,
        find: Callable[[str], Remedy],
        void: Callable[[str], None],
        renew: Callable[[str], None],
        prove: Prove,
        prefetch: Prefetch,
        wanted: Callable[[Collection[str]], Iterable[Want]],
        say: Callable[[str], None],
        flags: frozenset[str],
        stopped: Callable[[], bool],
        demand: Callable[[Exit], None],
    ) -> None:
        self.inv, self.journal = executor.inv, executor.journal
        self.executor, self.hands, self.foresight = executor, hands, foresight
        self.find, self.void, self.renew, self.prove = find, void, renew, prove
        self.prefetch, self.wanted = prefetch, wanted
        self.say, self.flags, self.stopped, self.demand = say, flags, stopped, demand
        self.aside: set[str] = set()
        """Steps that move something aside."""
        self.written: set[str] = set()
        """Files that this run's own steps wrote: that they are other than planned is nobody's edit."""
        self.unproven: set[str] = set()
        """Statements that do not hold, or of which that is not known."""
        self._seen: dict[str, Verdict] = {}
        self.only_planned = False
        """Whether a step that its remedy asks for, and that is not in the plan, is refused."""

    def carry_out(self, task: Task, plan: Plan) -> None:
        """Call a task's remedy if there is still cause to, run its steps, prove its statements; its state says how it went.

        Raises:
            StaleProof: a defect of this program.
            ConnectionLost: what became of the step that acted is not known.
            KeyboardInterrupt: the person would not wait for the end of the step.
        """
        if self.stopped():
            task.state = "not reached"
            return
        verdicts = self._look(task, plan)
        if all(verdicts[id].outcome is Outcome.HOLDS for id in task.statements if id in verdicts):
            self._pass_over(task, "held", "not needed", "what it is for holds already")
            return
        if missing := [need for need in task.needs if need in self.unproven]:
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
        if self.stopped():
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
            (self.unproven.discard if verdict.outcome is Outcome.HOLDS else self.unproven.add)(id)

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
        try:
            for _ in range(TURNS):
                ended = self._turn(task, plan, planned)
                if ended is not None:
                    break
        finally:
            task.steps += planned.values()  # also where the connection is lost in the middle
        if ended:
            for record in planned.values():
                record.result, record.reason = "not needed", "its remedy did not ask for it any more"
        return bool(ended)

    def _turn(self, task: Task, plan: Plan, planned: dict[str, StepRecord]) -> bool | None:
        """Ask the remedy once, and run what it yields; None if it must be asked anew, as the world moved meanwhile."""
        self.renew(self.inv.app_host.name)
        context = self.context(task)
        steps = call(self.find(task.remedy), context, task.remedy)
        try:
            for step in steps:
                record = planned.pop(step.id, None) or self._unplanned(step, task)
                task.steps.append(record)
                ended = self._step(step, task, record) if record.rc is None else None
                # While a person was waited for, anything may have changed.
                self.void(CONTROL if ended else step.host)
                if ended in {"settled", "moved"} and not self.stopped():
                    return True if ended == "settled" else None
                if not planned and isinstance(context.read, Course):
                    self._ask_ahead(plan.after(task), task.statements, context.read.next())
                if record.result != "done" or self.stopped():
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
        record = self.render(step, task.remedy, task.statements)
        if self.only_planned:
            record.result, record.rc = "refused", int(Rc.MOVED)
            record.reason = "it is not in the plan that is carried out: look at the hosts and make a new one with --plan"
            self.say(f"{record.id} at {record.host}: refused: {record.reason}")
        return record

    def _step(self, step: Step, task: Task, record: StepRecord) -> Ended | None:
        """Run a step, or wait for the person whose it is; how such a wait ended, None for a step of the tool's."""
        self.say(f"{record.id} at {record.host}: {record.sentence}")
        ended: Ended | None = None
        planned = list(record.preconditions)
        try:
            self.executor.run_step(step, task.remedy, task.statements, record)
            if record.result == "manual" and self.hands.limit > 0:
                ended = self.hands.wait(step, record)
                self.executor.sent(CONTROL)
        except errors.NotAllowed as problem:
            record.result, record.reason = "refused", str(problem)
        self._tell_edits(step, planned, record)
        self.say(f"  {record.result}{f': {record.reason}' if record.reason else ''} ({record.seconds:.1f} s)")
        return ended

    def _tell_edits(self, step: Step, planned: Sequence[str], record: StepRecord) -> None:
        """Say in the step's reason what somebody edited since the plan, which whoever agreed to that did not see."""
        writes = {act.path for act in step.acts if isinstance(act, Write)}
        for path in edited(planned, record.preconditions):
            if path in self.written:
                continue
            text = f"{path} was edited since the plan was made"
            if path in writes and record.result == "done":
                text += f"; what it was then is kept below {self.inv.attic}/{self.journal.run}"
            record.reason = f"{record.reason}; {text}" if record.reason else text
        if record.rc is not None:
            self.written |= writes

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
                self.demand(Exit.UNKNOWN)
            elif record.result == "rolled back":
                self.demand(Exit.ROLLED_BACK)
            elif record.rc == Rc.MOVED and not proven:
                self.demand(Exit.STATE_MOVED)

    def context(self, task: Task) -> RemedyContext:
        """What a remedy is called with."""
        return RemedyContext(
            inv=self.inv,
            read=self.foresight.course(task.remedy, task.host),
            at=task.host or self.inv.app_host.name,
            run_id=self.journal.run,
            attic=f"{self.inv.attic}/{self.journal.run}",
            workdir=str(self.executor.workdir),
            flags=self.flags,
        )

    def render(self, step: Step, remedy: str, statements: Sequence[str]) -> StepRecord:
        """A step as it is planned, with the reason if it is a person's or may not be done."""
        record = describe.render(step, remedy, statements)
        if describe.moves_aside(step) and step.host != CONTROL:
            self.aside.add(step.id)
        if is_a_persons(step, self.inv):
            record.result = "manual"
            record.reason = by_hand(step, self.inv, self.executor.prelude, waits=self.hands.limit > 0)
            return record
        try:
            self.executor.check(step)
        except errors.NotAllowed as problem:
            record.result, record.reason = "refused", str(problem)
        return record
