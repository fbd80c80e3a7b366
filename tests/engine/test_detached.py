"""Steps that put themselves back unless they are confirmed: asked, answered, left alone, cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from converge import detached
from converge.detached import Confirmation, RolledBack, unit_script
from converge.errors import ConnectionLost, Exit, UsageError
from converge.executor import Executor
from converge.journal import Journal
from converge.lock import Lock
from converge.steps import Run, Step
from converge.transport import Completed, Link, LocalLink
from hosts.schema import Inventory
from tests.engine.world import World, build

PROGRAM = r"""
cat "$CV_STATE"
echo "what it does now" >"$CV_STATE"
echo changed >"$HOME/site"
: >"$CV_CONFIRM.asked"
n=50
while [ $n -gt 0 ] && [ ! -e "$CV_CONFIRM.yes" ] && [ ! -e "$CV_CONFIRM.no" ]; do n=$((n - 1)); sleep 0.1; done
[ ! -e "$CV_CONFIRM.yes" ] || { echo handed over; exit 0; }
echo as before >"$HOME/site"
cv_end rolled-back "nobody confirmed: $(cat "$CV_CONFIRM.no" 2>/dev/null)" 81
"""


@pytest.fixture
def world(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(detached, "PAUSE", 0.05)
    return build(tmp_path, inventory, monkeypatch)


class Cut(LocalLink):
    """A link that is lost before the answer of a step that asked to be confirmed."""

    def exec(self, script: str, *, limit: float, stdin: bytes = b"") -> Completed:
        done = super().exec(script, limit=limit, stdin=stdin)
        if ".begun" in script or "echo asked" in script:
            raise ConnectionLost("new: the connection ended")
        return done


class Dialled(LocalLink):
    """New connections, counted."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0

    def __call__(self, _host: str) -> Link:
        self.made += 1
        return self


@pytest.fixture
def make(world: World) -> Iterator[Callable[..., Executor]]:
    locks: list[Lock] = []

    def made(link: LocalLink, look: str = "", dial: Callable[[str], Link] | None = None) -> Executor:
        lock = Lock(link)
        lock.acquire("ada", "R1")
        locks.append(lock)
        links = {"new": link, "control": link}
        journal = Journal("R1", link, world.top / "mirror")
        return Executor(world.inv, links, "", journal, lock, world.top / "reports", dial, lambda: look)

    yield made
    for lock in locks:
        lock.release()


STEP = Step("A/1", "new", "hand it over", (Run(PROGRAM),), limit=20.0, confirm=5.0)


def test_what_is_confirmed_over_a_new_connection_stays(world: World, make: Callable[..., Executor]) -> None:
    dialled = Dialled()
    record = make(LocalLink(), dial=dialled).run_step(STEP, "r", ["A"])
    assert (record.result, record.out.splitlines()[1:]) == ("done", ["handed over"])
    assert record.confirmed == "confirmed over a new connection"
    assert dialled.made == 1
    assert (world.home / "site").read_text() == "changed\n"


def test_state_is_the_programs_own_once_it_has_something_to_say(world: World, make: Callable[..., Executor]) -> None:
    record = make(LocalLink(), dial=Dialled()).run_step(STEP, "r", ["A"])
    assert record.out.startswith(
        "step 1 of run R1, by ada: hand it over; stopping it: it puts back what served before\n"
    )
    state = world.home / ".local/state/hkn-migration/runs/R1/1.state"
    assert state.read_text() == "what it does now\nended with status 0\n"


def test_what_looks_wrong_from_outside_is_put_back_with_the_reason(world: World, make: Callable[..., Executor]) -> None:
    record = make(LocalLink(), look="status 502", dial=Dialled()).run_step(STEP, "r", ["A"])
    assert record.result == "rolled back"
    assert record.reason == "nobody confirmed: status 502"
    assert record.confirmed == "not confirmed: status 502"
    assert (world.home / "site").read_text() == "as before\n"


def test_without_a_new_connection_the_host_puts_it_back(world: World, make: Callable[..., Executor]) -> None:
    def refused(_host: str) -> Link:
        raise ConnectionLost("new: refused")

    record = make(LocalLink(), dial=refused).run_step(STEP, "r", ["A"])
    assert record.result == "rolled back"
    assert record.confirmed == "not confirmed: new: refused"
    assert (world.home / "site").read_text() == "as before\n"


def test_a_lost_connection_confirms_nothing_and_what_became_of_it_is_found_out(
    world: World, make: Callable[..., Executor]
) -> None:
    with pytest.raises(RolledBack, match="the connection was lost") as ended:
        make(Cut(), dial=Dialled()).run_step(STEP, "r", ["A"])
    assert ended.value.exit_code is Exit.ROLLED_BACK
    assert (world.home / "site").read_text() == "as before\n"


def test_a_step_that_must_be_confirmed_does_not_begin_where_it_cannot_be(make: Callable[..., Executor]) -> None:
    with pytest.raises(UsageError, match="no way to make one"):
        make(LocalLink()).run_step(STEP, "r", ["A"])


def test_a_body_begins_once_however_often_it_is_started(world: World) -> None:
    journal = world.home / ".local/state/hkn-migration/runs/R1"
    journal.mkdir(parents=True)
    body = 'echo begun >>"$J/count"; printf "%s %s" $$ 1 >"$J/1.started"; echo 0 >"$J/1.rc"'
    script = f"J={journal}\n" + unit_script("R1", 1, "try it", 5, body)
    for _ in range(2):
        world._run(script)
    assert (journal / "count").read_text() == "begun\n"


@pytest.mark.parametrize(("started", "rc"), [("999999999 7", 79), ("", None)])
def test_nobody_waits_for_a_step_that_was_killed_or_never_began(
    world: World, monkeypatch: pytest.MonkeyPatch, started: str, rc: int | None
) -> None:
    monkeypatch.setattr(detached, "BEGINS", 1)
    journal = world.home / ".local/state/hkn-migration/runs/R1"
    journal.mkdir(parents=True)
    if started:
        (journal / "1.started").write_text(f"{started}\n")
    found = Confirmation(LocalLink(), LocalLink, str, "R1", 1, 600.0).find_out()
    assert (found and found.rc) == rc
