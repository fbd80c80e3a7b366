"""Plans: which remedies a run calls, in which order, and what each of them would do. Pure but for the remedies' readings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from converge.checking.record import StepRecord
from converge.checking.statement import Statement
from converge.errors import Unobservable, UsageError
from converge.planning.order import all_needs, order
from converge.planning.prefetch import Course
from converge.steps import ByHand, NothingToDo, Remedy, RemedyContext, Step


class RemedyMissing(UsageError):
    """A statement names a remedy that does not exist."""


@dataclass(frozen=True, slots=True)
class Failing:
    """An instance that fails; `host` is empty for one about the whole target or the control machine."""

    id: str
    host: str


class Render(Protocol):
    """Turns a step into its record: exact commands, preconditions and undo as text."""

    def __call__(self, step: Step, remedy: str, statements: Sequence[str]) -> StepRecord: ...


@dataclass
class Task:
    """One call of one remedy for one host, with the statements that it is to mend.

    `blocked_by` are statements that it needs, that fail, and that this plan does not mend. `note` says why there are no
    steps: a remedy that found nothing to do, or could not read what it must know. A task that `follows` is for statements
    that hold, but need what the plan will change: it is carried out only if they do not hold any more by then.
    """

    remedy: str
    host: str
    statements: list[str]
    needs: list[str]
    blocked_by: list[str] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)
    note: str = ""
    state: str = "planned"
    follows: bool = False

    @property
    def will_act(self) -> bool:
        """Whether its remedy is expected to be called, and to begin with a step."""
        return not self.follows and any(step.result in {"planned", "manual"} for step in self.steps[:1])


@dataclass
class Plan:
    """The tasks of a run in their order, and the failing statements that no remedy may mend, with what a person does."""

    tasks: list[Task] = field(default_factory=list)
    manual: dict[str, str] = field(default_factory=dict)
    waits: bool = False
    """Whether the run waits for the steps that only a person may do, and goes on after them."""

    @property
    def steps(self) -> list[StepRecord]:
        """All steps, in order."""
        return [step for task in self.tasks for step in task.steps]

    def after(self, task: Task) -> list[Task]:
        """The tasks that come after one."""
        return self.tasks[self.tasks.index(task) + 1 :]

    @property
    def is_empty(self) -> bool:
        """Whether executing it would change nothing."""
        comes = {"planned", "manual"} if self.waits else {"planned"}
        return not any(task.steps and task.steps[0].result in comes for task in self.tasks if not task.follows)


def group(ordered: Sequence[str], failing: Iterable[Failing], statements: Mapping[str, Statement]) -> list[Task]:
    """Make tasks of statements: those that share a remedy and whose needs came before share one call of it per host."""
    hosts: dict[str, list[str]] = {}
    for instance in failing:
        hosts.setdefault(instance.id, []).append(instance.host)
    tasks: list[Task] = []
    left = list(ordered)
    while left:
        remedy = statements[left[0]].remedy
        members = _sharing(left, statements)
        left = [id for id in left if id not in members]
        needs = list(dict.fromkeys(n for id in members for n in statements[id].needs if n not in members))
        for host in dict.fromkeys(host for id in members for host in hosts.get(id, [""])):
            mine = [id for id in members if host in hosts.get(id, [""])]
            tasks.append(Task(remedy or "", host, mine, needs))
    return tasks


def _sharing(left: Sequence[str], statements: Mapping[str, Statement]) -> list[str]:
    members = [left[0]]
    for id in left[1:]:
        waits_for = all_needs(id, statements) & set(left) - set(members)
        same = statements[id].remedy == statements[left[0]].remedy and statements[id].late == statements[left[0]].late
        if same and not waits_for:
            members.append(id)
    return members


def sketch(
    chosen: Sequence[Failing],
    statements: Mapping[str, Statement],
    manual: Mapping[str, str],
    standing: Sequence[Failing] = (),
) -> Plan:
    """The plan's tasks without their steps.

    `chosen` are the failing instances that the run shall mend; `manual` says for a statement's id what a person must do
    instead of a remedy; `standing` are instances that hold and that the run may mend again, should it break them: a push
    to the repository makes the deployed release an old one.

    Raises:
        NeedsCycle: statements need each other in a circle.
    """
    by_hand = {id: text for id, text in manual.items() if id in {f.id for f in chosen}}
    mine = [f for f in chosen if f.id not in by_hand and statements[f.id].remedy]
    mended = {f.id for f in mine}
    behind = [f for f in standing if f.id not in mended and statements[f.id].remedy and not statements[f.id].late]
    behind = [f for f in behind if all_needs(f.id, statements) & mended]
    everything = [*mine, *behind]
    tasks = group(order({f.id for f in everything}, statements), everything, statements)
    for task in tasks:
        task.follows = not any(Failing(id, task.host) in mine for id in task.statements)
    return Plan(tasks, by_hand)


def block(plan: Plan, unproven: Collection[str]) -> None:
    """Mark the tasks that need what does not hold and what this plan will not mend, or not without a person."""
    coming: set[str] = set()
    for task in plan.tasks:
        task.blocked_by = [need for need in task.needs if need in unproven and need not in coming]
        if task.follows:
            task.steps = [] if task.blocked_by else task.steps
            continue
        by_hand = "" if plan.waits else by_hand_text(task.steps)
        if task.blocked_by:
            for step in task.steps:
                step.result, step.reason = "blocked", blocked_text(task.blocked_by)
        elif by_hand:
            plan.manual.update(dict.fromkeys(task.statements, by_hand))
        elif not plan.manual.keys() & set(task.statements):
            coming |= set(task.statements)


def fill(plan: Plan, find: Callable[[str], Remedy], context: Callable[[Task], RemedyContext], render: Render) -> Plan:
    """Add to each task the steps that its remedy would take on what is read now.

    Raises:
        RemedyMissing: a statement names a remedy that does not exist.
    """
    for task in plan.tasks:
        remedy = find(task.remedy)
        try:
            for step in call(remedy, context(task), task.remedy):
                task.steps.append(render(step, task.remedy, task.statements))
        except NothingToDo as reason:
            task.note = f"nothing to do: {reason}"
            if isinstance(reason, ByHand) and not task.follows:
                plan.manual.update(dict.fromkeys(task.statements, str(reason)))
        except Unobservable as reason:
            task.note = f"what it must know could not be read: {reason}"
        if not task.steps and not task.note:
            task.note = "its remedy found nothing to do"
        if task.follows and task.steps:
            task.note = f"only if {' or '.join(task.statements)} does not hold any more by then"
    return plan


def call(remedy: Remedy, context: RemedyContext, name: str) -> Iterator[Step]:
    """The remedy's steps, made one by one as they are asked for.

    Raises:
        UsageError: the remedy is not a generator.
    """
    steps = remedy(context)
    if not isinstance(steps, Generator):
        raise UsageError(f"remedy {name} must be a generator, so that each step can be made from what the last one did")
    return _in_parts(steps, context)


def _in_parts(steps: Iterator[Step], context: RemedyContext) -> Iterator[Step]:
    for step in steps:
        yield step
        if isinstance(context.read, Course):
            context.read.turn()


def by_hand_text(steps: Sequence[StepRecord]) -> str:
    """What a person does of a task, in its order; empty if all of it is the tool's."""
    return "\n".join(step.reason for step in steps if step.result == "manual")


def blocked_text(by: Sequence[str]) -> str:
    """Why a task is not attempted."""
    return f"not attempted, because {', '.join(by)} {'is' if len(by) == 1 else 'are'} not proven"
