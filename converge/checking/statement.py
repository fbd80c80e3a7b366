"""Statements: the sentences about the desired state, with what the engine must know of each."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeVar

from converge.errors import UsageError

On = Literal["app", "legacy", "live", "target", "control"]
"""Where a statement has instances: on the app host, on each legacy host that is not retired, on each live host
(app and legacy), once for the whole target (it compares hosts), or once on the control machine."""

F = TypeVar("F", bound=Callable[..., None])


class Severity(StrEnum):
    """How much a failing statement matters; a failing ``MINOR`` one is advice unless ``--strict``."""

    BLOCKER = "blocker"
    MAJOR = "major"
    MINOR = "minor"


class Outcome(StrEnum):
    """What became of an instance (docs/architecture.md has the table with pytest's words)."""

    HOLDS = "holds"
    FAILS = "fails"
    UNOBSERVABLE = "unobservable"
    MANUAL = "manual"
    ADVICE = "advice"
    WAIVED = "waived"
    DUE = "due"
    BLOCKED = "blocked"

    @property
    def is_well(self) -> bool:
        """Whether the exit code may be 0 with it."""
        return self in {Outcome.HOLDS, Outcome.ADVICE, Outcome.WAIVED, Outcome.DUE}


class Fails(AssertionError):
    """A statement was read and does not hold: what was expected, what was seen, where."""

    def __init__(self, expected: str, seen: str, where: str, do: str = "") -> None:
        lines = [f"expected: {expected}", f"seen:     {seen}", f"where:    {where}"]
        if do:
            lines.append(f"do:       {do}")
        super().__init__("\n".join(lines))
        self.expected, self.seen, self.where, self.do = expected, seen, where, do


def require(holds: bool, *, expected: str, seen: object, where: str, do: str = "") -> None:
    """Raise ``Fails`` unless `holds`; `do` is what only a person can do about it."""
    if not holds:
        raise Fails(expected, str(seen), where, do)


@dataclass(frozen=True)
class Statement:
    """What the decorator says about a test function.

    `remedy` is ``module.function`` below the remedies' package, found only when a plan is made; `manual` says instead
    why no tool may mend it and what a person does (``str.format`` with ``inv``). `needs` are ids of statements that
    must be proven before the remedy may run. `late` remedies run after all others. `soak` statements that fail are
    due, not failing, until the target's soak time is over.
    """

    id: str
    sentence: str
    severity: Severity
    on: On
    seed: tuple[str, ...]
    needs: tuple[str, ...] = ()
    remedy: str | None = None
    manual: str | None = None
    late: bool = False
    soak: bool = False
    function: Callable[..., None] | None = field(default=None, compare=False, repr=False)


REGISTRY: dict[str, Statement] = {}
"""Every statement that was imported, by id."""


def statement(
    id: str,
    *,
    severity: Severity,
    on: On = "app",
    seed: tuple[str, ...] | list[str],
    needs: tuple[str, ...] | list[str] = (),
    remedy: str | None = None,
    manual: str | None = None,
    late: bool = False,
    soak: bool = False,
) -> Callable[[F], F]:
    """Make a test function a statement. Its docstring's first paragraph is the sentence that people read.

    Raises:
        UsageError: the id is taken by another function, the sentence is missing, or there is neither or both of
            `remedy` and `manual`.
    """

    def decorate(function: F) -> F:
        sentence = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
        where = f"{function.__module__}.{function.__name__}"
        if not sentence:
            raise UsageError(f"{where}: statement {id} has no sentence: give the function a docstring")
        if (remedy is None) == (manual is None):
            raise UsageError(f"{where}: statement {id} needs exactly one of remedy= and manual=")
        known = REGISTRY.get(id)
        if known and known.function and known.function.__qualname__ != function.__qualname__:
            raise UsageError(f"{where}: statement {id} is already {known.function.__qualname__}: choose another id")
        made = Statement(id, sentence, severity, on, tuple(seed), tuple(needs), remedy, manual, late, soak, function)
        REGISTRY[id] = made
        marked: Any = function
        marked.__statement__ = made
        return function

    return decorate


def described(statement: Statement) -> dict[str, Any]:
    """What is known of a statement whatever a host says, in words and lists of words."""
    return {
        "id": statement.id,
        "sentence": statement.sentence,
        "severity": statement.severity.value,
        "on": statement.on,
        "seed": list(statement.seed),
        "needs": list(statement.needs),
        "needed by": [other.id for other in REGISTRY.values() if statement.id in other.needs],
        "remedy": statement.remedy or "",
        "manual": statement.manual or "",
        "defined in": statement.function.__module__.replace(".", "/") + ".py" if statement.function else "",
    }


def import_statements(package: str) -> None:
    """Load every statement of a package of test files into the registry."""
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if info.name.startswith("test_"):
            importlib.import_module(f"{package}.{info.name}")
