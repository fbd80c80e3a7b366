"""Judging: from a statement and the answers of one moment to a verdict. One place, used before, during and after a run."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from typing import Any

from converge.checking.record import Verdict
from converge.checking.statement import Fails, On, Outcome, Severity, Statement
from converge.errors import ConvergeError, TooYoung, Unobservable
from converge.readings import Reading
from converge.readings.answers import CONTROL, Store
from converge.text.masking import mask
from hosts.schema import Inventory


@dataclass(frozen=True, order=True)
class Instance:
    """A statement on a host; `at` is None for one about the whole target or the control machine."""

    id: str
    at: str | None


@dataclass
class Policy:
    """What turns a failing statement into another outcome than fails."""

    strict: bool = False
    today: date = field(default_factory=date.today)
    cut_over_on: date | None = None
    manual: dict[str, str] = field(default_factory=dict)
    blocked: dict[Instance, str] = field(default_factory=dict)
    """Instances whose remedy a run did not call, with the reason."""


def instances_of(on: On, inv: Inventory) -> list[str | None]:
    """Where a statement has instances, from the inventory alone."""
    places: dict[On, list[str | None]] = {
        "app": [inv.app_host.name],
        "legacy": [h.name for h in inv.legacy_live],
        "live": [h.name for h in inv.live],
        "target": [None],
        "control": [None],
    }
    return places[on]


def readings_of(names: list[str], known: Mapping[str, Reading[Any]]) -> list[Reading[Any]]:
    """The readings among the argument names of a statement."""
    return [known[name] for name in names if name in known]


@cache
def arguments(function: Callable[..., Any]) -> list[str]:
    """Names of the fixtures that a statement asks for."""
    return list(inspect.signature(function).parameters)


def grade(statement: Statement, at: str | None, inv: Inventory, policy: Policy) -> tuple[Outcome, str]:
    """The outcome of an instance that fails, with what to add to its message."""
    for waiver in inv.waivers:
        if waiver.id != statement.id:
            continue
        if policy.today <= waiver.until:
            return Outcome.WAIVED, f"waived until {waiver.until}: {waiver.why}"
        return (
            Outcome.FAILS,
            f"its waiver ended on {waiver.until} ({waiver.why}): mend it, or renew the waiver in {inv.file}",
        )
    if statement.soak and inv.soak_days:
        if policy.cut_over_on is None:
            return Outcome.DUE, f"due {inv.soak_days} days after the cutover"
        due = policy.cut_over_on + timedelta(days=inv.soak_days)
        if policy.today < due:
            return Outcome.DUE, f"due on {due}, {inv.soak_days} days after the cutover"
    if statement.id in policy.manual:
        return Outcome.MANUAL, f"do:       {policy.manual[statement.id]}"
    if statement.severity is Severity.MINOR and not policy.strict:
        return Outcome.ADVICE, "a minor statement: advice; --strict makes it a failure"
    if statement.manual is not None:
        return Outcome.MANUAL, "do:       " + statement.manual.format(inv=inv)
    if why := policy.blocked.get(Instance(statement.id, at)):
        return Outcome.BLOCKED, f"why:      {why}"
    return Outcome.FAILS, ""


def classify(
    statement: Statement, at: str | None, inv: Inventory, problem: BaseException | None, policy: Policy
) -> tuple[Outcome, str]:
    """Outcome and message of an instance from what its function raised (None: it returned)."""
    if problem is None:
        return Outcome.HOLDS, ""
    if isinstance(problem, Unobservable | ConvergeError):
        return Outcome.UNOBSERVABLE, mask(f"could not be read: {problem}")
    if isinstance(problem, AssertionError):
        outcome, remark = grade(statement, at, inv, policy)
        if outcome in {Outcome.FAILS, Outcome.BLOCKED} and isinstance(problem, Fails) and problem.do:
            outcome = Outcome.MANUAL  # it says itself what only a person can do; its remedy does the rest
        text = str(problem) if isinstance(problem, Fails) else f"seen:     {problem}"
        return outcome, mask("\n".join(part for part in (text, remark) if part))
    return Outcome.UNOBSERVABLE, mask(f"the statement itself failed: {type(problem).__name__}: {problem}")


class Judge:
    """Judges instances on the answers in a store."""

    def __init__(self, store: Store, known: Mapping[str, Reading[Any]], policy: Policy) -> None:
        self.store, self.known, self.policy = store, known, policy

    def wanted(self, statement: Statement) -> list[Reading[Any]]:
        """The readings that a statement asks for."""
        assert statement.function is not None
        return readings_of(arguments(statement.function), self.known)

    def values(self, statement: Statement, at: str | None) -> dict[str, Any]:
        """The arguments for a statement's function.

        Raises:
            Unobservable: a reading of it could not be made.
        """
        assert statement.function is not None
        return {name: self._argument(name, at) for name in arguments(statement.function)}

    def _argument(self, name: str, at: str | None) -> Any:
        if name in self.known:
            return self.store(self.known[name], at)
        if name == "inv":
            return self.store.inv
        place = at or self.store.inv.app_host.name
        if name == "at":
            return place
        if name == "host":
            return self.store.testinfra_host(at or CONTROL)
        raise Unobservable(f"no reading is called {name}")

    def problem(self, statement: Statement, at: str | None) -> BaseException | None:
        """What evaluating the statement raises."""
        self.store.asked_by = statement.id
        try:
            values = self.values(statement, at)
            assert statement.function is not None
            statement.function(**values)
        except TooYoung:
            raise
        except Exception as problem:  # whatever a statement raises is its verdict; it hides no other
            return problem
        finally:
            self.store.asked_by = ""
        return None

    def judge(self, statement: Statement, at: str | None, nodeid: str = "") -> Verdict:
        """One verdict; a process that is too young to be judged counts as unobservable here."""
        try:
            problem = self.problem(statement, at)
        except TooYoung as young:
            problem = young
        return self.verdict(statement, at, problem, nodeid)

    def verdict(self, statement: Statement, at: str | None, problem: BaseException | None, nodeid: str = "") -> Verdict:
        """The verdict for what evaluating the statement raised."""
        outcome, message = classify(statement, at, self.store.inv, problem, self.policy)
        asked = self.wanted(statement)
        return Verdict(
            id=statement.id,
            host=at or "",
            nodeid=nodeid,
            sentence=statement.sentence,
            severity=statement.severity.value,
            seed=list(statement.seed),
            outcome=outcome,
            message=message,
            remedy=statement.remedy or "",
            needs=list(statement.needs),
            at=time.time(),
            evidence=self.store.evidence_of(asked, at),
            epoch=self.store.epoch_of(asked, at),
        )

    def youth(self, chosen: list[tuple[Statement, str | None]]) -> float:
        """Seconds until no chosen statement finds a process too young to be judged; 0 if none does."""
        waits = [0.0]
        for statement, at in chosen:
            try:
                self.problem(statement, at)
            except TooYoung as young:
                waits.append(young.seconds_left)
        return max(waits)


def likely_causes(verdicts: list[Verdict]) -> None:
    """Name in each failing verdict the failing statement that it needs, nearest to the root."""
    bad = {v.id: v for v in verdicts if not v.outcome.is_well}

    def root(id: str, seen: frozenset[str]) -> str:
        for need in bad[id].needs:
            if need in bad and need not in seen:
                return root(need, seen | {need})
        return id

    for verdict in bad.values():
        cause = root(verdict.id, frozenset({verdict.id}))
        verdict.likely_cause = "" if cause == verdict.id else cause
