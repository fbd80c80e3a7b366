"""Steps: acts on hosts as data. What the author of a remedy needs stands here; how a step becomes a script does not."""

from __future__ import annotations

from converge.steps.conditions import as_read
from converge.steps.step import (
    Act,
    Aside,
    ByHand,
    Condition,
    Link,
    Mode,
    Needless,
    NothingToDo,
    Remedy,
    RemedyContext,
    Run,
    Sign,
    Signal,
    Step,
    Supplant,
    Unit,
    Write,
)

__all__ = [
    "Act",
    "Aside",
    "ByHand",
    "Condition",
    "Link",
    "Mode",
    "Needless",
    "NothingToDo",
    "Remedy",
    "RemedyContext",
    "Run",
    "Sign",
    "Signal",
    "Step",
    "Supplant",
    "Unit",
    "Write",
    "as_read",
]
