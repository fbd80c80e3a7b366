"""A run: lock, journal, guards, prober, and the remedies one after the other, each proven before the next that needs it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from converge.errors import Exit
from converge.plan import Failing, Plan
from converge.readings import Reader
from converge.record import Record, Verdict
from converge.statements import Statement
from converge.steps import Remedy
from converge.transport import Link
from hosts.schema import Inventory


class Prove(Protocol):
    """Void all answers and judge statements afresh until they hold or `deadline` seconds are over; the worst verdict each."""

    def __call__(self, ids: Collection[str], deadline: float) -> Mapping[str, Verdict]: ...


class Runner:
    """What a session with ``--remediate`` calls: ``plan``, then (after the person agreed) ``start``, ``execute``, ``finish``."""

    def __init__(
        self,
        inv: Inventory,
        links: Mapping[str, Link],
        prelude: str,
        record: Record,
        folder: str,
        statements: Mapping[str, Statement],
        find: Callable[[str], Remedy],
        read: Reader,
        void: Callable[[], None],
        prove: Prove,
        who: str,
        say: Callable[[str], None],
        flags: frozenset[str] = frozenset(),
    ) -> None: ...

    def plan(self, chosen: Sequence[Failing], unproven: Collection[str], manual: Mapping[str, str]) -> Plan:
        """Plan from what is read now; changes nothing."""
        raise NotImplementedError

    def start(self, plan: Plan) -> None:
        """Take the lock, open the journal, look at the guards, start the prober.

        Raises:
            LockHeld: another run is going on; says whose.
            RunOpen: an earlier run ended without its end; says what became of its last step.
        """
        raise NotImplementedError

    def execute(self, plan: Plan) -> Exit | None:
        """Run the plan's tasks; steps and guards go into the record. The exit code that it demands, None for none."""
        raise NotImplementedError

    def finish(self, exit_code: int, reason: str) -> None:
        """Stop the prober, look at the guards again, close the journal, free the lock."""
        raise NotImplementedError
