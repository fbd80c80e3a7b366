"""What the control machine is sure to be asked, begun as a process before anybody asks.

``begin`` starts it while the hosts are being connected to; the store that asks the very same takes it over (``taken``), and
nobody who asks later: the answer would be older than the question. ``abandon`` ends what nobody took.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from converge.readings import Context, Reading, batch
from converge.transport.local import Running
from hosts.schema import Inventory

Questions = list[tuple[str, float]]
"""Scripts, and how long each may take."""

_begun: list[Errand] = []


@dataclass(frozen=True)
class Errand:
    """One exec of the control machine that is going on."""

    questions: Questions
    prelude: str
    nonce: str
    running: Running


def begin(inv: Inventory, prelude: str, readings: Iterable[Reading[Any]]) -> None:
    """Begin to ask the control machine; nothing is begun where a question cannot be put, which the store tells then."""
    abandon()
    context, nonce = Context(inv, None), batch.new_nonce()
    try:
        questions = [(each.script(context), each.limit) for each in readings if each.script]
    except Exception:
        return
    if questions:
        running = Running(batch.script(questions, prelude, nonce))
        _begun.append(Errand(questions, prelude, nonce, running))


def taken(questions: Questions, prelude: str) -> Errand | None:
    """What was begun for these very questions, for one taker."""
    if not _begun or (_begun[0].questions, _begun[0].prelude) != (questions, prelude):
        return None
    return _begun.pop()


def abandon() -> None:
    """End what nobody took; it has cleaned up when this returns."""
    while _begun:
        _begun.pop().running.end()
