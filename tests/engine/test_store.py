"""The store: what goes wrong on the way to an answer makes it unobservable, and nothing else."""

from __future__ import annotations

import pytest

from converge.errors import HostUnreachable, Unobservable
from converge.readings import Context, Raw, reading
from converge.readings.store import Store
from converge.transport import Completed, LocalLink
from hosts.schema import Inventory


@reading("echo many")
def count(raw: Raw, c: Context) -> int:  # noqa: ARG001
    """A number."""
    return int(raw.out)


class Refusing(LocalLink):
    """A host that is connected and opens no session."""

    def exec(self, script: str, *, limit: float, stdin: bytes = b"") -> Completed:  # noqa: ARG002
        raise HostUnreachable("new: it refuses another session")


def test_an_answer_that_cannot_be_understood_is_unobservable(inventory: Inventory) -> None:
    with pytest.raises(Unobservable, match="count cannot be understood"):
        Store(inventory, {"new": LocalLink()}, "")(count)


def test_a_host_that_runs_no_command_is_unobservable(inventory: Inventory) -> None:
    with pytest.raises(Unobservable, match="refuses another session"):
        Store(inventory, {"new": Refusing()}, "")(count)
