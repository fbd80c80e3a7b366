"""Steps that put themselves back unless they are confirmed: asked, answered, left alone, cut off."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from converge.acting import confirmation, transient_unit
from converge.acting.confirmation import Confirmation
from converge.acting.executor import Executor
from converge.acting.transient_unit import RolledBack, unit_script
from converge.errors import ConnectionLost, Exit, UsageError
from converge.journal.journal import Journal, stories
from converge.journal.lock import Lock
from converge.steps import Condition, Run, Step
from converge.transport import Completed, Link, LocalLink
from hosts.schema import Inventory
from tests.converge.world import World, build

PROGRAM = r"""
cat "$CV_STATE"
echo "what it does now" >"$CV_STATE"
echo changed >"$XDG_RUNTIME_DIR/site"
: >"$CV_CONFIRM.asked"
n=50
while [ $n -gt 0 ] && [ ! -e "$CV_CONFIRM.yes" ] && [ ! -e "$CV_CONFIRM.no" ]; do n=$((n - 1)); sleep 0.1; done
[ ! -e "$CV_CONFIRM.yes" ] || { echo handed over; exit 0; }
echo as before >"$XDG_RUNTIME_DIR/site"
cv_end rolled-back "nobody confirmed: $(cat "$CV_CONFIRM.no" 2>/dev/null)" 81
"""


KEEPING = r"""
if [ -n "${CV_AFTER:-}" ]; then
  echo as before >"$XDG_RUNTIME_DIR/site"; : >"$CV_PHASE"
  cv_end rolled-back "it was killed" 81
fi
echo changed >"$XDG_RUNTIME_DIR/site"; echo over >"$CV_PHASE"
sleep 60
"""
"""Keeps what is to be put back, and is killed."""

SYSTEMD_RUN = r"""#!/bin/sh
for word; do
  case "$word" in
    ExecStopPost=*) after=${word#ExecStopPost=} ;;
    --setenv=*) export "${word#--setenv=}" ;;
  esac
  body=$word
done
[ -n "$after" ] || exit 1
echo "$*" >"$HOME/unit"
setsid /bin/sh -c "setsid -w /bin/sh '$body'; $after" </dev/null >/dev/null 2>&1 &
"""
"""A manager that runs the second script when all of the unit has ended."""


HARD = r"""#!/bin/sh
for word; do
  before=$last last=$word
  case "$word" in ExecStopPost=*) has_after=yes ;; --setenv=*) export "${word#--setenv=}" ;; esac
done
echo "$*" >>"$HOME/unit"
if [ "$last" = wait ]; then setsid /bin/sh "$before" wait </dev/null >/dev/null 2>&1 & exit 0; fi
[ -n "$has_after" ] || exit 1
setsid /bin/sh "$last" </dev/null >/dev/null 2>&1 &
"""
"""A manager that kills the second script with the unit, as systemd 257 does where all of it is killed."""


@pytest.fixture
def world(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(confirmation, "PAUSE", 0.05)
    return build(tmp_path, inventory, monkeypatch)


class Cut(LocalLink):
    """A link that is lost before the answer of a step that asked to be confirmed."""

    def exec(self, script: str, *, limit: float, stdin: bytes = b"") -> Completed:
        done = super().exec(script, limit=limit, stdin=stdin)
        if ".begun" in script or "echo asked" in script:
            raise ConnectionLost("new: the connection ended")
        return done


class Deaf(LocalLink):
    """A link on which whoever waits on the host for the step's end is killed; the step itself is not."""

    def exec(self, script: str, *, limit: float, stdin: bytes = b"") -> Completed:
        if ".begun" not in script:
            return super().exec(script, limit=limit, stdin=stdin)
        threading.Thread(target=super().exec, args=(script,), kwargs={"limit": limit}, daemon=True).start()
        return Completed(137, b"", b"", 0.1)


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
        return Executor(world.inv, links, "", journal, lock, world.top / "reports", dial, lambda _link: look)

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
    assert (world.top / "run/site").read_text() == "changed\n"


def test_state_is_the_programs_own_once_it_has_something_to_say(world: World, make: Callable[..., Executor]) -> None:
    record = make(LocalLink(), dial=Dialled()).run_step(STEP, "r", ["A"])
    assert record.out.startswith(
        "step 1 of run R1, by ada: hand it over; stopping it: it puts back by itself what it interrupted\n"
    )
    state = world.home / ".local/state/hkn-migration/runs/R1/1.state"
    assert state.read_text() == "what it does now\nended with status 0\n"


def test_what_looks_wrong_from_outside_is_put_back_with_the_reason(world: World, make: Callable[..., Executor]) -> None:
    record = make(LocalLink(), look="status 502", dial=Dialled()).run_step(STEP, "r", ["A"])
    assert record.result == "rolled back"
    assert record.reason == "nobody confirmed: status 502"
    assert record.confirmed == "not confirmed: status 502"
    assert (world.top / "run/site").read_text() == "as before\n"


def test_without_a_new_connection_the_host_puts_it_back(world: World, make: Callable[..., Executor]) -> None:
    def refused(_host: str) -> Link:
        raise ConnectionLost("new: refused")

    record = make(LocalLink(), dial=refused).run_step(STEP, "r", ["A"])
    assert record.result == "rolled back"
    assert record.confirmed == "not confirmed: new: refused"
    assert (world.top / "run/site").read_text() == "as before\n"


def test_a_lost_connection_confirms_nothing_and_what_became_of_it_is_found_out(
    world: World, make: Callable[..., Executor]
) -> None:
    with pytest.raises(RolledBack, match="the connection was lost") as ended:
        make(Cut(), dial=Dialled()).run_step(STEP, "r", ["A"])
    assert ended.value.exit_code is Exit.ROLLED_BACK
    assert (world.top / "run/site").read_text() == "as before\n"


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


def unit(world: World) -> list[int]:
    """The processes of the step's unit: all that belong to the session of its first one."""
    text = world.home / ".local/state/hkn-migration/runs/R1/1.started"
    main = int(text.read_text().split()[0])
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in found if session(pid) == session(main)]


def session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


@pytest.mark.parametrize(
    ("manager", "whole", "confirm"),
    [
        pytest.param(SYSTEMD_RUN, True, 5.0, id="all, manager"),
        pytest.param(SYSTEMD_RUN, False, None, id="program, manager"),
        pytest.param(HARD, True, None, id="all, hard manager"),
        pytest.param(HARD, False, 5.0, id="program, hard manager"),
        pytest.param("", True, 5.0, id="all, no manager"),
        pytest.param("", False, None, id="program, no manager"),
    ],
)
def test_what_a_killed_step_did_is_put_back(
    world: World, make: Callable[..., Executor], manager: str, whole: bool, confirm: float | None
) -> None:
    fake = world.top / "bin/systemd-run"
    fake.write_text(manager or "#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    site = world.top / "run/site"

    def kill() -> None:
        while not site.exists():
            time.sleep(0.05)
        time.sleep(0.3)
        for pid in unit(world):
            with contextlib.suppress(OSError):
                if whole or b"1.run" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    never = Condition("nothing was changed", '[ ! -e "$XDG_RUNTIME_DIR/site" ]')
    step = Step("A/1", "new", "hand it over", (Run(KEEPING),), when=(never,), limit=50.0, puts_back=True, confirm=confirm)
    record = make(LocalLink(), dial=Dialled() if confirm else None).run_step(step, "r", ["A"])
    killer.join()
    assert (record.result, record.reason) == ("rolled back", "it was killed")
    assert site.read_text() == "as before\n"
    assert record.seconds < 30
    if manager:
        assert "TimeoutStopSec" in (world.home / "unit").read_text()


def killed(world: World, which: Callable[[list[int]], int]) -> threading.Thread:
    """Kills one of the step's processes as soon as its program is at work."""

    def kill() -> None:
        while not (world.top / "run/site").exists():
            time.sleep(0.05)
        os.kill(which(unit(world)), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def the_program(found: list[int]) -> int:
    """The shell that runs the step's script, and not who watches over it."""
    names = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in found}
    return min(pid for pid, words in names.items() if words[0] == b"/bin/sh" and words[1].endswith(b"/1.sh"))


@pytest.mark.parametrize(
    "manager", [SYSTEMD_RUN, HARD, "#!/bin/sh\nexit 1\n"], ids=["manager", "hard manager", "no manager"]
)
@pytest.mark.parametrize(("end", "result"), [("echo well", "done"), ("cv_end failed 'put back' 70", "failed")])
def test_the_end_of_a_step_is_known_where_only_who_watched_over_its_program_was_killed(
    world: World, make: Callable[..., Executor], manager: str, end: str, result: str
) -> None:
    fake = world.top / "bin/systemd-run"
    fake.write_text(manager)
    fake.chmod(0o755)
    killer = killed(world, lambda found: session(found[0]))
    step = Step("A/1", "new", "move it", (Run(f': >"$XDG_RUNTIME_DIR/site"; sleep 2; {end}'),), limit=50.0, puts_back=True)
    record = make(LocalLink()).run_step(step, "r", ["A"])
    killer.join()
    assert (record.result, record.reason) == (result, "put back" if result == "failed" else "")


def test_a_program_that_is_killed_before_its_limit_is_not_said_to_have_been_ended_at_it(
    world: World, make: Callable[..., Executor]
) -> None:
    killer = killed(world, the_program)
    record = make(LocalLink()).run_step(
        Step("A/1", "new", "write it", (Run(': >"$XDG_RUNTIME_DIR/site"; sleep 2'),), limit=50.0), "r", ["A"]
    )
    killer.join()
    assert (record.result, record.reason) == ("failed", "its program was killed from outside, at what it was about")


@pytest.mark.parametrize(("program", "result"), [("sleep 2; echo well", "done"), ("sleep 2; exit 5", "failed")])
def test_the_end_of_a_step_is_heard_of_where_who_waited_for_it_was_killed(
    make: Callable[..., Executor], program: str, result: str
) -> None:
    step = Step("A/1", "new", "move it", (Run(program),), limit=50.0, puts_back=True)
    record = make(Deaf()).run_step(step, "r", ["A"])
    assert record.result == result


def test_where_its_end_is_not_heard_of_a_step_of_no_unit_says_that_who_waited_was_killed(
    make: Callable[..., Executor],
) -> None:
    executor = make(Deaf())
    record = executor.run_step(Step("A/1", "new", "write .begun", (Run("true # .begun"),)), "r", ["A"])
    assert (record.result, record.reason) == ("unknown", "who waited for its end on its host was killed (status 137)")
    assert executor.lost == {1: record}


@pytest.mark.parametrize(
    "manager", [SYSTEMD_RUN, HARD, "#!/bin/sh\nexit 1\n"], ids=["manager", "hard manager", "no manager"]
)
def test_after_an_ordinary_end_there_is_nothing_to_put_back(
    world: World, make: Callable[..., Executor], manager: str
) -> None:
    fake = world.top / "bin/systemd-run"
    fake.write_text(manager)
    fake.chmod(0o755)
    record = make(LocalLink(), dial=Dialled()).run_step(STEP, "r", ["A"])
    assert record.result == "done"
    time.sleep(1.5)
    (story,) = stories(LocalLink())
    assert [entry.kind for entry in story.entries] == ["intent", "result"]
    assert (world.top / "run/site").read_text() == "changed\n"


def test_a_step_that_could_write_down_nothing_is_not_waited_for_to_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transient_unit, "GIVEN_UP", 0.5)
    journal = world.home / ".local/state/hkn-migration/runs/R1"
    journal.mkdir(parents=True)
    began = time.monotonic()
    world._run(f"J={journal}\n" + unit_script("R1", 1, "try it", 600, ': >"$J/1.started"; sleep 1'))
    assert 1 < time.monotonic() - began < 15


@pytest.mark.parametrize(("started", "rc"), [("999999999 7", 79), ("", None)])
def test_nobody_waits_for_a_step_that_was_killed_or_never_began(
    world: World, monkeypatch: pytest.MonkeyPatch, started: str, rc: int | None
) -> None:
    monkeypatch.setattr(transient_unit, "BEGINS", 1)
    journal = world.home / ".local/state/hkn-migration/runs/R1"
    journal.mkdir(parents=True)
    if started:
        (journal / "1.started").write_text(f"{started}\n")
    found = Confirmation(LocalLink(), LocalLink, lambda _link: "", "R1", 1, 600.0).find_out()
    assert (found and found.rc) == rc
