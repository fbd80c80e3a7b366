"""Steps from intent to result, runs from plan to end, and the way back, on this machine's folders."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from converge import runner as running
from converge.errors import ConnectionLost, Exit, StateMoved, UsageError
from converge.executor import Executor, launch_script
from converge.journal import Journal, JournalError, stories
from converge.lock import Lock
from converge.plan import Failing, Plan
from converge.prober import Prober
from converge.record import Probe, Record, Verdict
from converge.rollback import describe, plan_rollback, roll_back
from converge.runner import Runner
from converge.statements import Outcome, Severity, Statement
from converge.steps import Aside, Condition, Mode, NothingToDo, Remedy, RemedyContext, Run, Step, Unit, Write
from converge.transport import Completed, Link, LocalLink
from hosts.schema import Inventory
from tests.engine.world import World, build


@pytest.fixture
def world(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> World:
    return build(tmp_path, inventory, monkeypatch)


class Severed(LocalLink):
    """A link that starts the next launch and is lost before its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.at = ""

    def exec(self, script: str, *, limit: float, stdin: bytes = b"") -> Completed:
        done = super().exec(script, limit=limit, stdin=stdin)
        if self.at and self.at in script and "setsid" in script:
            raise ConnectionLost("new: the connection ended")
        return done


@pytest.fixture
def link() -> Severed:
    return Severed()


@pytest.fixture
def executor(world: World, link: Severed) -> Iterator[Executor]:
    lock = Lock(link)
    lock.acquire("ada", "R1")
    links = {"new": link, "control": link}
    yield Executor(world.inv, links, "", Journal("R1", link, world.top / "mirror"), lock, world.top / "reports")
    lock.release()


def step(world: World, **changes: object) -> Step:
    act = Write(f"{world.root}/file", "x\n")
    settings: dict[str, object] = {"id": "A/1", "host": "new", "sentence": "write it", "acts": (act,)}
    return Step(**{**settings, **changes})  # type: ignore[arg-type]


def state(world: World, run: str = "R1") -> Path:
    return world.home / ".local/state/hkn-migration/runs" / run


def test_step_is_written_down_before_and_after(world: World, executor: Executor) -> None:
    record = executor.run_step(step(world), "a.b", ["A"])
    assert (record.result, record.rc, record.reason) == ("done", 0, "")
    kinds = [json.loads(text)["kind"] for text in (state(world) / "journal.jsonl").read_text().splitlines()]
    assert kinds == ["intent", "result"]
    assert {p.name for p in state(world).iterdir()} >= {"1.sh", "1.undo.sh", "1.out", "1.err", "1.rc", "1.started"}
    mirror = [json.loads(text) for text in (world.top / "mirror").read_text().splitlines()]
    assert [(m["kind"], m["n"]) for m in mirror] == [("intent", 1), ("result", 1)]


def test_output_and_reason_of_a_failure_come_back(world: World, executor: Executor) -> None:
    record = executor.run_step(step(world, acts=(Run("echo out; echo why >&2; exit 3"),)), "a.b", ["A"])
    assert (record.result, record.out, record.err) == ("failed", "out\n", "why")
    assert record.reason == "act 1 ended with status 3"


def test_moved_state_is_refused_with_the_condition(world: World, executor: Executor) -> None:
    record = executor.run_step(step(world, when=(Condition("nobody was there", "false"),)), "a.b", ["A"])
    assert record.result == "refused"
    assert "nobody was there" in record.reason
    assert not (world.root / "file").exists()


def test_step_that_takes_too_long_is_ended_on_its_host(world: World, executor: Executor) -> None:
    record = executor.run_step(step(world, acts=(Run("sleep 30"),), limit=0.5), "a.b", ["A"])
    assert record.result == "failed"
    assert "after its limit of 0.5 s" in record.reason


def test_permission_that_is_missing_makes_it_a_persons(world: World, executor: Executor) -> None:
    record = executor.run_step(step(world, may="deploy"), "a.b", ["A"])
    assert record.result == "manual"
    assert "does not allow this tool to deploy" in record.reason
    assert f"cat >{world.root}/file" in record.reason
    assert not state(world).exists()


def test_program_in_words_of_the_tool_is_not_given_to_a_person_to_type(world: World, executor: Executor) -> None:
    program = (Run('[ "$(prop "$UNIT" MainPID)" = 0 ] || unit stop "$UNIT"'),)
    record = executor.run_step(step(world, may="restart", acts=program), "a.b", ["A"])
    assert record.result == "manual"
    assert "docs/runbook.md" in record.reason
    assert "prop" not in record.reason


def test_step_for_an_unknown_host_is_refused(world: World, executor: Executor) -> None:
    with pytest.raises(UsageError, match="no live host"):
        executor.run_step(step(world, host="elsewhere"), "a.b", ["A"])


def test_control_steps_stay_in_the_runs_own_folder(world: World, executor: Executor) -> None:
    inside = step(world, host="control", acts=(Write(f"{executor.workdir}/clone", "x"),))
    assert executor.run_step(inside, "a.b", ["A"]).result == "done"
    outside = step(world, host="control", acts=(Write(f"{world.root}/clone", "x"),))
    assert executor.run_step(outside, "a.b", ["A"]).result == "refused"


def test_lost_connection_is_unknown_and_the_step_goes_on(world: World, executor: Executor, link: Severed) -> None:
    link.at = "A/9"
    with pytest.raises(ConnectionLost):
        executor.run_step(step(world, id="A/9"), "a.b", ["A"])
    link.at = ""
    assert (world.root / "file").exists()
    assert stories(link)[0].results()[1]["rc"] == 0, "its host wrote what became of it"


def test_step_outlives_the_process_that_started_it(world: World, executor: Executor) -> None:
    attempt = executor._attempt(step(world, acts=(Run(f"sleep 1; echo late | put {world.root}/late 644"),)))
    process = subprocess.Popen(["/bin/sh", "-c", launch_script("R1", attempt, "{}")], start_new_session=True)
    end = time.monotonic() + 5
    while not (state(world) / "1.started").exists() and time.monotonic() < end:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (state(world) / "1.rc").exists()
    while not (state(world) / "1.rc").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert (state(world) / "1.rc").read_text() == "0\n"
    assert (world.root / "late").read_text() == "late\n"


def test_nothing_is_begun_twice(world: World, executor: Executor) -> None:
    executor.run_step(step(world), "a.b", ["A"])
    executor.count = 0
    assert executor.run_step(step(world), "a.b", ["A"]).result == "unknown"


def test_background_process_of_a_step_does_not_keep_the_lock(world: World, executor: Executor, link: Severed) -> None:
    script = f"setsid sleep 20 & echo $! | put {world.root}/pid 600"
    assert executor.run_step(step(world, acts=(Run(script),)), "a.b", ["A"]).result == "done"
    try:
        executor.lock.release()
        second = Lock(link)
        second.acquire("bob", "R2")
        second.release()
    finally:
        subprocess.run(["kill", (world.root / "pid").read_text().strip()], check=True)


# Whole runs -----------------------------------------------------------------------------------------------------------


@dataclass
class Stage:
    """Statements about files: A-N holds if file aN exists. Its remedies write them."""

    world: World
    link: Severed
    statements: dict[str, Statement] = field(default_factory=dict)
    remedies: dict[str, Remedy] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    voids: int = 0

    def add(self, id: str, remedy: Callable[[RemedyContext], Iterator[Step]], needs: tuple[str, ...] = ()) -> None:
        self.statements[id] = Statement(id, f"{id} is there.", Severity.MAJOR, "app", ("C1",), needs, f"z.{id}")
        self.remedies[f"z.{id}"] = remedy

    def holds(self, id: str) -> bool:
        return (self.world.root / id).exists()

    def verdict(self, id: str) -> Verdict:
        outcome = Outcome.HOLDS if self.holds(id) else Outcome.FAILS
        return Verdict(id, "new", "", id, "major", ["C1"], outcome, "" if self.holds(id) else "missing", f"z.{id}", [])

    def prove(self, ids: Collection[str], deadline: float) -> Mapping[str, Verdict]:  # noqa: ARG002
        return {id: self.verdict(id) for id in ids}

    def void(self) -> None:
        self.voids += 1

    def writer(self, id: str, content: str = "x\n", **changes: object) -> Callable[[RemedyContext], Iterator[Step]]:
        def remedy(_: RemedyContext) -> Iterator[Step]:
            acts = (Write(f"{self.world.root}/{id}", content),)
            yield Step(f"{id}/write", "new", f"write {id}", acts, **changes)  # type: ignore[arg-type]

        return remedy

    def runner(self, run: str = "R1") -> Runner:
        links: dict[str, Link] = {"new": self.link, "control": self.link}
        return Runner(
            inv=self.world.inv, links=links, prelude="", record=Record(run, "run", "demo", "0", 0.0),
            folder=str(self.world.top / "reports" / run), statements=self.statements, find=self.remedies.__getitem__,
            read=None, void=self.void, prove=self.prove, who="ada", say=self.said.append,  # type: ignore[arg-type]
        )  # fmt: skip

    def go(self, run: str = "R1") -> tuple[Runner, Plan, Exit | None]:
        made = self.runner(run)
        failing = [Failing(id, "new") for id in self.statements if not self.holds(id)]
        plan = made.plan(failing, {f.id for f in failing}, {})
        made.start(plan)
        try:
            return made, plan, made.execute(plan)
        finally:
            made.finish(0, "")


@pytest.fixture
def stage(world: World, link: Severed, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(Prober, "start", lambda _: "")
    monkeypatch.setattr(Prober, "stop", lambda _: Probe("", 0, 0, 0, 0, 0))
    monkeypatch.setattr(running, "PATIENCE", 0.1)
    return Stage(world, link)


def results(plan: Plan) -> dict[str, str]:
    return {record.id: record.result for record in plan.steps}


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
    assert any("shared data unchanged" in text for text in made.record.guards)
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


def test_step_that_reaches_the_host_after_the_lock_was_lost_does_nothing(world: World, executor: Executor) -> None:
    executor.lock._stream.close()  # type: ignore[union-attr]
    for host in ("new", "control"):
        with pytest.raises(ConnectionLost, match="lock"):
            executor.run_step(step(world, host=host, acts=(Run(f"echo x >>'{world.top}'/acted"),)), "a.b", ["A"])
    assert not (world.top / "acted").exists()


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


def test_second_run_tells_what_became_of_the_first(stage: Stage) -> None:
    stage.add("A", stage.writer("A"))
    stage.link.at = "A/write"
    made = stage.runner()
    plan = made.plan([Failing("A", "new")], {"A"}, {})
    made.start(plan)
    with pytest.raises(ConnectionLost):
        made.execute(plan)
    made.lock.release()
    stage.link.at = ""
    assert plan.steps[0].result == "unknown"
    stage.add("B", stage.writer("B"))
    second, _, _ = stage.go("R2")
    assert "run R1 of ada ended without an end: every step that it began had ended" in second.record.notes


def test_run_that_loses_shared_data_says_so(stage: Stage) -> None:
    (stage.world.root / "prod/shared/private/resume.pdf").write_text("precious")

    def thief(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/t", "new", "t", (Aside(f"{stage.world.root}/prod/shared/private/resume.pdf"),))

    stage.add("A", thief)
    made, _, demanded = stage.go()
    assert demanded is Exit.FAILS
    assert any("LOST DATA: 1 files, 8 bytes before; 0 files" in text for text in made.record.guards)


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


# The way back ---------------------------------------------------------------------------------------------------------


def test_rollback_takes_a_run_back_in_reverse(stage: Stage) -> None:
    root = stage.world.root
    (root / "secret").write_text("old")
    (root / "secret").chmod(0o644)

    def several(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/1", "new", "one", (Write(f"{root}/secret", "new"), Mode(f"{root}/secret", 0o600)))
        yield Step("A/2", "new", "two", (Unit("enable", "app.service"),), undo="a person decides on it")
        yield Step("A/3", "new", "three", (Write(f"{root}/A", "x"),))

    stage.add("A", several)
    stage.go()
    story = stories(stage.link)[0]
    assert [(b.n, b.stays) for b in plan_rollback(story)] == [(3, ""), (2, "none: a person decides on it"), (1, "")]
    code, records = roll_back(stage.world.inv, {"new": stage.link}, "R1", "R2", "ada", stage.said.append)
    assert code is Exit.HOLDS
    assert [r.result for r in records] == ["done", "done"]
    assert (root / "secret").read_text() == "old"
    assert (root / "secret").stat().st_mode & 0o777 == 0o644
    assert not (root / "A").exists()
    assert stage.world.unit("app.service", "enabled") == "enabled"
    first, second = stories(stage.link)
    assert describe(first)["undone"] == 2
    assert describe(second)["takes back"] == "R1"
    assert [b.n for b in plan_rollback(first)] == [2], "what was taken back is not taken back again"


def test_rollback_leaves_what_somebody_changed_and_takes_the_rest_back(stage: Stage) -> None:
    stage.add("A", stage.writer("A"))
    stage.add("B", stage.writer("B"))
    stage.go()
    (stage.world.root / "B").write_text("a hand's")
    code, records = roll_back(stage.world.inv, {"new": stage.link}, "R1", "R2", "ada", stage.said.append)
    assert code is Exit.STATE_MOVED
    assert "changed since" in records[0].reason
    assert not (stage.world.root / "A").exists()
    assert (stage.world.root / "B").read_text() == "a hand's"


def test_rollback_of_an_unknown_run_names_the_known_ones(stage: Stage) -> None:
    stage.add("A", stage.writer("A"))
    stage.go()
    with pytest.raises(UsageError, match="no journal of a run R9; its last ones are: R1"):
        roll_back(stage.world.inv, {"new": stage.link}, "R9", "R2", "ada", stage.said.append)


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
