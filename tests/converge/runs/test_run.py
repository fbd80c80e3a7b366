"""Runs from plan to end, on this machine's folders."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from converge.checking.record import Verdict
from converge.checking.statement import Outcome
from converge.errors import ConnectionLost, Exit, LockHeld, StateMoved, Unobservable
from converge.journal import ownership
from converge.journal.history import Story
from converge.journal.journal import JournalError, line, parse, stories
from converge.journal.lock import Lock, holder
from converge.journal.ownership import this_machine, was_here
from converge.planning.plan import Failing, Plan
from converge.runs.preflight import GuardFailed, Tree
from converge.runs.purge import purge
from converge.runs.recovery import fate
from converge.runs.rollback import roll_back
from converge.runs.tasks import StaleProof
from converge.steps import Aside, Condition, NothingToDo, RemedyContext, Run, Step, Write
from converge.steps.conditions import as_read
from converge.transport import LocalLink
from hosts.schema import Inventory
from tests.converge.stage import Severed, Stage, build_stage, results
from tests.converge.world import World, build


@pytest.fixture
def world(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> World:
    return build(tmp_path, inventory, monkeypatch)


@pytest.fixture
def stage(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return build_stage(build(tmp_path, inventory, monkeypatch), Severed(), monkeypatch)


def test_run_mends_in_order_and_proves(stage: Stage) -> None:
    stage.add("B", stage.writer("B"), ("A",))
    stage.add("A", stage.writer("A"))
    made, plan, demanded = stage.go()
    assert demanded is None
    assert [t.state for t in plan.tasks] == ["proven", "proven"]
    assert results(plan) == {"A/write": "done", "B/write": "done"}
    assert [r.proof for r in plan.steps] == ["A holds", "B holds"]
    story = stories(stage.link)[0]
    assert [e.kind for e in story.entries] == [
        "plan", "intent", "result", "proof", "intent", "result", "proof", "end"
    ]  # fmt: skip
    assert any("shared data kept" in text for text in made.record.guards)
    assert stage.voids >= 4


def test_failure_blocks_what_needs_it_and_nothing_else(stage: Stage) -> None:
    def broken(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/break", "new", "break", (Run("exit 1"),))
        yield Step("A/never", "new", "never", (Run("true"),))

    stage.add("A", broken)
    stage.add("B", stage.writer("B"), ("A",))
    stage.add("C", stage.writer("C"))
    _, plan, _ = stage.go()
    assert results(plan) == {"A/break": "failed", "A/never": "not reached", "B/write": "blocked", "C/write": "done"}
    assert plan.tasks[1].note == "not attempted, because A is not proven"


def test_command_that_returns_0_proves_nothing(stage: Stage) -> None:
    stage.add("A", stage.writer("elsewhere"))
    _, plan, _ = stage.go()
    assert plan.tasks[0].state == "unproven"
    assert plan.steps[0].proof.startswith("A fails: missing")


def test_moved_state_demands_its_own_exit_code(stage: Stage) -> None:
    stage.add("A", stage.writer("A", when=(Condition("as planned", "false"),)))
    assert stage.go()[2] is Exit.STATE_MOVED


@pytest.mark.parametrize(("was", "then"), [("old\n", "a hand's\n"), (None, "a hand's\n"), ("old\n", "old\n\n")])
def test_file_that_was_edited_since_the_plan_is_named_where_it_is_written_over(
    stage: Stage, was: str | None, then: str
) -> None:
    file = stage.world.root / "unit file"

    def careful(_: RemedyContext) -> Iterator[Step]:
        now = file.read_text() if file.exists() else None
        acts = (Write(str(file), "ours\n"), Write(f"{stage.world.root}/A", "x"))
        yield Step("A/write", "new", "write it", acts, (as_read(str(file), now),))

    def again(_: RemedyContext) -> Iterator[Step]:
        acts = (Write(f"{stage.world.root}/B", "x"),)
        yield Step("B/write", "new", "look at it", acts, (as_read(str(file), file.read_text() if file.exists() else None),))

    if was:
        file.write_text(was)
    stage.add("A", careful)
    stage.add("B", again)
    made = stage.runner()
    plan = made.plan([Failing("A", "new"), Failing("B", "new")], {"A", "B"}, {})
    file.write_text(then)
    made.start(plan)
    made.execute(plan)
    made.finish(0, "")
    assert results(plan) == {"A/write": "done", "B/write": "done"}
    attic = f"{stage.world.inv.attic}/R1"
    told = f"{file} was edited since the plan was made; what it was then is kept below {attic}"
    assert plan.steps[0].reason == ("" if then.strip() == "old" else told)
    assert [path.read_text() for path in Path(attic).rglob("old")] == [then]
    assert plan.steps[1].reason == "", "what the run wrote itself is nobody's edit"


def test_remedy_sees_what_its_own_step_made(stage: Stage) -> None:
    def careful(_: RemedyContext) -> Iterator[Step]:
        yield from stage.writer("A")(_)
        if stage.holds("A"):
            raise NothingToDo("the first was enough")
        yield Step("A/second", "new", "again", (Run("true"),))

    stage.add("A", careful)
    _, plan, _ = stage.go()
    assert results(plan) == {"A/write": "done", "A/second": "not needed"}


def test_statement_that_came_to_hold_by_itself_is_passed_over(stage: Stage) -> None:
    both = Write(f"{stage.world.root}/B", "x")

    def generous(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/write", "new", "both", (Write(f"{stage.world.root}/A", "x"), both))

    stage.add("A", generous)
    stage.add("B", stage.writer("B"))
    _, plan, _ = stage.go()
    assert results(plan) == {"A/write": "done", "B/write": "not needed"}
    assert plan.tasks[1].state == "held"


def test_what_cannot_be_read_when_its_turn_comes_is_no_cue(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.add("A", stage.writer("A"))
    read = stage.verdict

    def unread(id: str) -> Verdict:
        verdict = read(id)
        verdict.outcome = Outcome.UNOBSERVABLE
        return verdict

    monkeypatch.setattr(stage, "verdict", unread)
    _, plan, _ = stage.go()
    assert results(plan) == {"A/write": "blocked"}
    assert "A is unobservable now" in plan.tasks[0].note
    assert not stage.holds("A")


def test_mirror_that_cannot_be_written_is_said_and_frees_the_lock(stage: Stage) -> None:
    (stage.world.top / "reports").write_text("in the way")
    stage.add("A", stage.writer("A"))
    with pytest.raises(JournalError, match="this machine's copy"):
        stage.go()
    assert not stage.holds("A")
    lock = Lock(stage.link)
    lock.acquire("bob", "R2")
    lock.release()


def test_step_that_no_step_may_do_is_refused_in_the_plan_already(stage: Stage) -> None:
    def rude(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/rude", "new", "rude", (Run("rm -rf /"),))

    stage.add("A", rude)
    plan = stage.runner().plan([Failing("A", "new")], {"A"}, {})
    assert plan.is_empty
    assert plan.steps[0].result == "refused"
    assert "nothing is deleted" in plan.steps[0].reason


def test_manual_step_is_known_in_the_plan(stage: Stage) -> None:
    stage.add("A", stage.writer("A", may="deploy"))
    stage.add("B", stage.writer("B"), ("A",))
    plan = stage.runner().plan([Failing("A", "new"), Failing("B", "new")], {"A", "B"}, {})
    assert results(plan) == {"A/write": "manual", "B/write": "blocked"}
    assert plan.is_empty
    assert "type" in plan.manual["A"]


def cut_off(stage: Stage) -> Plan:
    """A run whose connection is lost in a step, and whose lock the kernel frees."""
    made = stage.runner()
    plan = made.plan([Failing("A", "new")], {"A"}, {})
    made.start(plan)
    with pytest.raises(ConnectionLost):
        made.execute(plan)
    made.lock.release()
    return plan


def test_second_run_tells_what_became_of_the_first(stage: Stage) -> None:
    stage.add("A", stage.writer("A"))
    stage.link.at = "A/write"
    plan = cut_off(stage)
    stage.link.at = ""
    assert plan.steps[0].result == "unknown"
    stage.add("B", stage.writer("B"))
    second, _, _ = stage.go("R2")
    assert "run R1 of ada ended without an end: every step that it began had ended" in second.record.notes


def test_steps_behind_the_one_in_which_the_connection_was_lost_are_told_as_not_reached(stage: Stage) -> None:
    def remedy(_: RemedyContext) -> Iterator[Step]:
        for name in ("first", "second"):
            yield Step(f"A/{name}", "new", f"write {name}", (Write(f"{stage.world.root}/{name}", "x"),))

    stage.add("A", remedy)
    stage.link.at = "A/first"
    plan = cut_off(stage)
    assert results(plan) == {"A/first": "unknown", "A/second": "not reached"}


def test_run_with_nothing_to_do_closes_the_journal_of_one_that_died(stage: Stage) -> None:
    stage.add("A", stage.writer("A"))
    assert stage.runner("R0").look_back() is False
    stage.link.at = "A/write"
    with pytest.raises(ConnectionLost):
        stage.go()
    stage.link.at = ""
    second = stage.runner("R2")
    assert second.look_back() is True
    assert "run R1 of ada ended without an end: every step that it began had ended" in second.record.notes
    assert [(story.id, story.is_open) for story in stories(stage.link)] == [("R1", False)]
    assert second.look_back() is False
    assert holder(stage.link) is None


def test_run_with_nothing_to_do_leaves_the_one_that_is_going_on_alone(stage: Stage) -> None:
    stage.add("A", stage.writer("A"))
    first = stage.runner()
    first.start(first.plan([Failing("A", "new")], {"A"}, {}))
    second = stage.runner("R2")
    assert second.look_back() is False
    assert any("another run is going on: ada" in text for text in second.record.notes)
    assert [story.is_open for story in stories(stage.link)] == [True]
    first.finish(0, "")


def test_step_that_was_left_keeps_its_journal_open(stage: Stage) -> None:
    stage.add("A", stage.writer("A"))
    stage.link.at = "A/write"
    with pytest.raises(ConnectionLost):
        stage.go()
    (story,) = stories(stage.link)
    assert story.is_open


@pytest.mark.parametrize("host", ["new", "control"])
def test_step_that_left_no_result_keeps_its_journal_open_and_the_next_run_looks(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    def two(ctx: RemedyContext) -> Iterator[Step]:
        yield Step("A/1", host, "vanish", (Write(f"{stage.world.root if host == 'new' else ctx.workdir}/A", "x"),))

    stage.add("A", two)
    stage.world.kill_steps()
    monkeypatch.setattr(ownership, "this_machine", lambda: "mine")
    monkeypatch.setattr(ownership, "this_machine", lambda: "mine")
    made, plan, demanded = stage.go()
    stage.world.kill_steps(False)
    assert demanded is Exit.UNKNOWN
    assert results(plan) == {"A/1": "unknown"}
    said = f"looks what became of step 1 (A/1 at {host}: vanish): its process disappeared without a result"
    assert any(said in text for text in made.record.notes)
    (story,) = stories(stage.link)
    assert story.is_open
    assert 1 in {intent["n"] for intent in story.dangling()}
    second = stage.runner("R2")
    assert second.look_back() is True
    assert f"step 1 (A/1 at {host}): it was cut off while it acted, and may have done a part" in second.record.notes[0]


def test_step_begun_on_another_machine_is_waited_for_until_it_must_have_ended() -> None:
    text = line("plan", who="bob@elsewhere") + "\n" + line("intent", n=1, host="control", step="D/1", limit=60.0)
    story = parse("R1", text)
    (intent,) = story.dangling()
    link = LocalLink()
    with pytest.raises(LockHeld, match=r"begun on the machine of bob@elsewhere.* may still act: run again there, or in"):
        fate({"control": link}, story, intent)
    assert "not known from here" in fate({"control": link}, story, {**intent, "at": time.time() - 3600})


@pytest.fixture
def laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes this the machine whose id is the word, 32 times; none for the empty word."""

    def take(word: str) -> None:
        (tmp_path / "machine-id").write_text(f"{word * 32}\n")
        monkeypatch.setattr(ownership, "MACHINE_ID", tmp_path / ("machine-id" if word else "none"))

    return take


def begun_here(**plan: str) -> Story:
    who = f"bob@{socket.gethostname()}"
    lines = [line("plan", **{"who": who, **plan}), line("intent", n=1, host="control", step="D/1", limit=60.0)]
    return parse("R1", "".join(f"{text}\n" for text in lines))


def test_machine_of_the_same_name_is_another_one(world: World, laptop: Callable[[str], None]) -> None:
    laptop("a")
    story = begun_here(machine=this_machine())
    assert this_machine() not in {"", "a" * 32}
    assert fate({"control": world.link}, story, story.dangling()[0]) == "step 1 (D/1 at control): it never began"
    laptop("b")
    with pytest.raises(LockHeld, match="which cannot be asked from here"):
        fate({"control": world.link}, story, story.dangling()[0])


def test_machine_is_the_same_by_whatever_name_and_another_with_another_home(
    laptop: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop("a")
    story = begun_here(who="bob@wlan-17", machine=this_machine())
    assert was_here(story)
    monkeypatch.setenv("HOME", "/home/eve")
    assert not was_here(story)


def test_where_a_machine_has_no_id_its_name_tells(laptop: Callable[[str], None]) -> None:
    laptop("")
    assert this_machine() == ""
    assert was_here(begun_here(machine=""))
    assert was_here(begun_here())
    assert not was_here(begun_here(who="bob@elsewhere"))
    laptop("u")
    assert this_machine() == ""
    laptop("a")
    assert was_here(begun_here()), "a journal of before machines were told apart"


def test_every_run_says_on_which_machine_it_was_begun(stage: Stage) -> None:
    stage.add("A", stage.writer("A"))
    stage.go()
    roll_back(stage.world.inv, {"new": stage.link}, "R1", "R2", "ada", stage.said.append, stage.world.top / "reports")
    purge(stage.world.inv, {"new": stage.link}, [], "R3", "ada", stage.said.append, stage.world.top / "reports", list)
    assert [story.plan["machine"] for story in stories(stage.link)] == [this_machine()] * 3


def test_run_that_loses_shared_data_says_so(stage: Stage) -> None:
    (stage.world.root / "prod/shared/private/resume.pdf").write_text("precious")

    def thief(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/t", "new", "t", (Aside(f"{stage.world.root}/prod/shared/private/resume.pdf"),))

    stage.add("A", thief)
    made, _, demanded = stage.go()
    assert demanded is Exit.FAILS
    assert any("LOST DATA: 1 files, 8 bytes before; 0 files" in text for text in made.record.guards)


def test_data_that_cannot_be_counted_before_ends_the_run_before_it_acts(stage: Stage) -> None:
    (stage.world.top / "bin" / "find").write_text("#!/bin/sh\necho 'find: private: Permission denied' >&2; exit 1\n")
    (stage.world.top / "bin" / "find").chmod(0o755)
    stage.add("A", stage.writer("A"))
    with pytest.raises(GuardFailed, match=r"could not be counted \(find: private: Permission denied\): nothing was done"):
        stage.go()
    assert not stage.holds("A")
    assert holder(stage.link) is None


def test_data_that_cannot_be_counted_after_is_no_success(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.add("A", stage.writer("A"))
    made = stage.runner()
    plan = made.plan([Failing("A", "new")], {"A"}, {})
    made.start(plan)
    monkeypatch.setattr("converge.runs.preflight.read_tree", unreadable)
    assert made.execute(plan) is Exit.FAILS
    made.finish(1, "")
    assert any("not known, the data could not be read after the run" in text for text in made.record.guards)


def unreadable(*_: object) -> Tree:
    raise Unobservable("no")


def test_deploy_of_somebody_else_stops_it_before_anything(stage: Stage) -> None:
    fake = stage.world.top / "bin" / "git-deploy"
    fake.symlink_to("/bin/sleep")
    stage.add("A", stage.writer("A"))
    arguments = ["/bin/sh", "-c", "sleep 30; :", "x"]
    arguments[0] = str(stage.world.top / "bin" / "git")
    Path(arguments[0]).symlink_to("/bin/sh")
    busy = subprocess.Popen([*arguments[:3], f"{stage.world.inv.stage}/repo"])
    try:
        time.sleep(0.1)
        with pytest.raises(StateMoved, match="a deploy is going on"):
            stage.go()
    finally:
        busy.kill()
        busy.wait()
    assert not stage.holds("A")


def test_what_the_run_itself_broke_is_mended_again(stage: Stage) -> None:
    root = stage.world.root
    (root / "B").write_text("deployed")

    def push(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/push", "new", "push", (Write(f"{root}/A", "x"), Aside(f"{root}/B")))

    stage.add("A", push)
    stage.add("B", stage.writer("B"), ("A",))
    stage.add("C", stage.writer("C"), ("B",))
    (root / "C").write_text("x")
    made = stage.runner()
    plan = made.plan([Failing("A", "new")], {"A"}, {}, [Failing("B", "new"), Failing("C", "new")])
    made.start(plan)
    try:
        assert made.execute(plan) is None
    finally:
        made.finish(0, "")
    assert results(plan) == {"A/push": "done", "B/write": "done", "C/write": "not needed"}
    assert stage.holds("B")


def test_what_was_read_before_the_last_step_is_no_proof(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.add("A", stage.writer("A"))
    read = stage.verdict
    monkeypatch.setattr(stage, "verdict", lambda id: replace(read(id), epoch=0))
    with pytest.raises(StaleProof, match="A was to be proven by what was read before step 1") as refused:
        stage.go()
    assert refused.value.exit_code is Exit.INTERNAL
    (story,) = stories(stage.link)
    assert [e.kind for e in story.entries] == ["plan", "intent", "result", "end"]
