"""The store: what goes wrong on the way to an answer makes it unobservable, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from converge.errors import HostUnreachable, Unobservable
from converge.readings import Changes, Context, Raw, Reading, reading
from converge.readings.answers import Store
from converge.transport import Completed, LocalLink
from hosts.schema import Inventory


@reading("echo many")
def count(raw: Raw, c: Context) -> int:  # noqa: ARG001
    """A number."""
    return int(raw.out)


def test_a_question_that_cannot_be_put_takes_no_other_with_it(inventory: Inventory) -> None:
    def script(c: Context) -> str:
        raise ValueError(f"no port in {c.inv.name}")

    @reading(script)
    def broken(raw: Raw, c: Context) -> str:  # noqa: ARG001
        return raw.out

    @reading("echo 3")
    def three(raw: Raw, c: Context) -> int:  # noqa: ARG001
        return int(raw.out)

    store = Store(inventory, {"new": LocalLink()}, "")
    store.prefetch([(three, None), (broken, None)])
    assert store(three) == 3
    why = "its question could not be put: ValueError: no port in demo"
    with pytest.raises(Unobservable, match=f"new: broken could not be read: {why}"):
        store(broken)
    assert store.tally.execs == 1
    assert [e.note for e in store.evidence_of([broken], None)] == [why]


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


def counter(path: Path, name: str, changes: Changes = "any") -> Reading[int]:
    """A reading of how often it was asked."""

    def text(raw: Raw, c: Context) -> int:  # noqa: ARG001
        return int(raw.out)

    text.__name__ = name
    return reading(f"echo >>{path}/{name}; wc -l <{path}/{name}", on="control", changes=changes)(text)


def test_a_step_on_a_host_voids_all_but_what_only_this_machine_changes(inventory: Inventory, tmp_path: Path) -> None:
    pushed, seen = counter(tmp_path, "pushed", "control"), counter(tmp_path, "seen")
    store = Store(inventory, {"control": LocalLink()}, "")
    assert (store(pushed), store(seen)) == (1, 1)
    store.void("new")
    assert (store(pushed), store(seen)) == (1, 2)
    assert [e.reading for e in store.evidence_of([pushed], None)] == ["pushed"]
    store.void("control")
    assert (store(pushed), store(seen)) == (2, 3)
    store.void()
    assert (store(pushed), store(seen)) == (3, 4)


def test_what_could_not_be_read_is_asked_again_whoever_acted(inventory: Inventory, tmp_path: Path) -> None:
    there = tmp_path / "there"

    @reading(f"cat {there}", on="control", changes="control")
    def content(raw: Raw, c: Context) -> int:  # noqa: ARG001
        """A number in a file."""
        if raw.rc:
            raise Unobservable(raw.err)
        return int(raw.out)

    store = Store(inventory, {"control": LocalLink()}, "")
    with pytest.raises(Unobservable):
        store(content)
    there.write_text("7")
    store.void("new")
    assert store(content) == 7


def test_answers_are_those_of_now_until_something_may_have_changed(
    inventory: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = counter(tmp_path, "seen")
    store = Store(inventory, {"control": LocalLink()}, "")
    store.renew()
    assert store(seen) == 1
    store.renew()
    assert store(seen) == 1
    store.sent("new")
    store.renew("new")
    assert store(seen) == 2
    store.unsettle()
    store.renew()
    assert store(seen) == 3
    monkeypatch.setattr("converge.readings.answers.FRESH", -1.0)
    store.renew()
    assert store(seen) == 4


def test_an_answer_tells_before_which_step_it_was_asked_for(inventory: Inventory, tmp_path: Path) -> None:
    pushed, seen = counter(tmp_path, "pushed", "control"), counter(tmp_path, "seen")
    store = Store(inventory, {"control": LocalLink()}, "")
    assert (store(pushed), store(seen), store.epoch_of([], None)) == (1, 1, 0)
    store.sent("new")
    assert (store.epoch_of([pushed], None), store.epoch_of([seen, pushed], None)) == (1, 0)
    store.void("new")
    assert (store(pushed), store(seen), store.epoch_of([seen, pushed], None)) == (1, 2, 1)
    store.sent("control")
    store.sent("new")
    assert (store.epoch_of([pushed], None), store.epoch_of([seen], None)) == (1, 1)
    store.void("new")
    assert (store(pushed), store(seen)) == (2, 3), "whoever acted last, this machine acted before"
