"""Steps that are a person's: what is said, what is waited for, and what a later run finds."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from converge.acting import manual_wait
from converge.acting.attempt import Attempt
from converge.acting.manual import hand_script
from converge.errors import ConnectionLost, Exit, NotAllowed, UsageError
from converge.journal.journal import stories
from converge.planning.plan import Failing, Plan
from converge.runs.rollback import describe, roll_back
from converge.runs.run import Runner
from converge.runs.undo_plan import plan_rollback
from converge.shell.library import NICED
from converge.steps import Condition, RemedyContext, Run, Sign, Step, Write
from converge.text.durations import duration, in_words
from converge.transport import Link, LocalLink
from hosts.schema import Inventory
from tests.converge.person import line_in, meanwhile, typed
from tests.converge.site import Site, mending
from tests.converge.stage import Severed, Stage, build_stage, results
from tests.converge.world import build


@pytest.fixture
def stage(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(manual_wait, "SOON", 0.05)
    made = build_stage(build(tmp_path, inventory, monkeypatch), Severed(), monkeypatch)
    made.wait = 20.0
    return made


def go(stage: Stage, act: Callable[[str], object], run: str = "R1") -> tuple[Runner, Plan, Exit | None]:
    thread = meanwhile(stage, act)
    try:
        return stage.go(run)
    finally:
        thread.join()


def test_step_is_laid_ready_run_by_hand_and_gone_on_from(stage: Stage) -> None:
    stage.add("A", stage.writer("A", may="deploy"))
    stage.add("B", stage.writer("B"), ("A",))
    printed = []
    _, plan, demanded = go(stage, lambda line: printed.append(typed(line)))
    assert demanded is None
    assert results(plan) == {"A/write": "done", "B/write": "done"}
    assert plan.steps[0].reason.startswith("run by hand, ")
    assert 0.0 == plan.steps[1].waited < plan.steps[0].waited < plan.steps[0].started
    assert [t.state for t in plan.tasks] == ["proven", "proven"]
    assert printed[0].returncode == 0, printed
    assert printed[0].stdout.splitlines() == ["write A (at most 1 min) ...", "done: run R1 goes on by itself"]
    (story,) = stories(stage.link)
    assert [e.kind for e in story.entries] == [
        "plan", "waiting", "intent", "result", "proof", "intent", "result", "proof", "end"
    ]  # fmt: skip
    assert any("demo.toml does not allow this tool to deploy (may = []). Type on new as" in text for text in stage.said)
    laid = (stage.world.home / ".local/state/hkn-migration/runs/R1/1.hand").read_text()
    assert laid.count(NICED) == 2, "what a person types waits niced, and the step is"
    said = [text.removeprefix("-t hkn-migration: run R1, step ") for text in stage.world.said]
    assert said[:3] == [
        "1, by ada, typed by hand: write A: begins", "1, by ada, typed by hand: write A: ended with status 0",
        "2, by ada: write B: begins",
    ]  # fmt: skip


def test_a_step_for_a_host_without_a_name_is_not_laid_ready() -> None:
    attempt = Attempt(1, "new", "true", None, 5.0, "write it", False, "ada")
    with pytest.raises(NotAllowed, match=r"correct hosts\.new\.hostname"):
        hand_script("R1", attempt, "true", "", is_app=True)
    assert "uname" not in hand_script("R1", attempt, "true", None, is_app=False)


def test_step_by_hand_can_be_taken_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stage.world.top)
    stage.add("A", stage.writer("A", may="deploy"))
    go(stage, typed)
    links: dict[str, Link] = {"new": stage.link, "control": stage.link}
    code, _ = roll_back(stage.world.inv, links, "R1", "R2", "ada", print, stage.world.top / "reports")
    assert code is Exit.HOLDS
    assert not stage.holds("A")


def test_laid_step_is_refused_when_the_world_moved_as_any_other(stage: Stage) -> None:
    root = stage.world.root
    (root / "same").touch()
    condition = Condition("as planned", f"[ -e {root}/same ] || [ ! -e {root}/begun ]")
    stage.add("A", stage.writer("A", may="deploy", when=(condition,)))

    def person(line: str) -> None:
        (root / "same").unlink()
        (root / "begun").touch()
        typed(line)

    _, plan, _ = go(stage, person)
    assert plan.steps[0].result in {"refused", "not needed"}
    assert "as planned" in plan.steps[0].reason
    assert not stage.holds("A")


def test_line_does_nothing_twice_elsewhere_or_without_its_run(stage: Stage) -> None:
    stage.add("A", stage.writer("A", may="deploy"))
    lines = []
    go(stage, lambda line: lines.append((line, typed(line), typed(line))))
    line, _, again = lines[0]
    assert again.returncode in {78, 80}
    assert "nothing was done" in again.stderr
    late = typed(line)
    assert (late.returncode, late.stdout.splitlines()[1:]) == (80, [])
    assert "run R1 does not wait for this any more" in late.stderr
    (stage.world.top / "bin/uname").write_text("#!/bin/sh\necho elsewhere\n")
    (stage.world.top / "bin/uname").chmod(0o755)
    wrong = typed(line)
    assert wrong.returncode == 76
    assert "and here is elsewhere" in wrong.stderr


def test_line_that_two_people_type_at_once_is_run_once(stage: Stage) -> None:
    add = Run(f'echo x >>"$XDG_RUNTIME_DIR/acted"; sleep 0.5; echo x | put {stage.world.root}/A 644')

    def remedy(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/write", "new", "write A", (add,), may="deploy")

    stage.add("A", remedy)
    ended = []

    def both(line: str) -> None:
        others = [subprocess.Popen(["/bin/sh", "-c", line], stderr=subprocess.DEVNULL) for _ in range(4)]
        ended.extend(sorted(other.wait(30) for other in others))

    _, plan, _ = go(stage, both)
    assert ended == [0, 78, 78, 78]
    assert results(plan) == {"A/write": "done"}
    assert (stage.world.top / "run/acted").read_text() == "x\n"


@pytest.mark.parametrize("full", ["1.sh.new", "1.undo.sh.new"])
def test_line_that_could_not_be_kept_can_be_typed_again(stage: Stage, full: str) -> None:
    stage.add("A", stage.writer("A", may="deploy"))
    printed = []

    def person(line: str) -> None:
        place = next(stage.world.home.rglob("1.hand")).with_name(full)
        place.mkdir()  # what is written there fails, as on a full disk
        printed.append(typed(line))
        place.rmdir()
        printed.append(typed(line))

    _, plan, _ = go(stage, person)
    first, second = printed
    assert first.returncode == 70
    assert first.stderr.splitlines()[-1].startswith("nothing was done: it could not be kept here")
    assert first.stderr.endswith("type it again\n")
    assert (second.returncode, results(plan)) == (0, {"A/write": "done"})
    (story,) = stories(stage.link)
    assert [entry.kind for entry in story.entries].count("intent") == 2
    assert [intent["n"] for intent in story.intents()] == [1]
    assert [back.n for back in plan_rollback(story)] == [1]


def test_line_of_which_not_even_the_mark_could_be_kept_was_not_run_before(stage: Stage) -> None:
    stage.add("A", stage.writer("A", may="deploy"))
    printed = []

    def person(line: str) -> None:
        fake = stage.world.top / "bin/mkdir"
        fake.write_text('#!/bin/sh\ncase "$*" in *.typed) exit 1 ;; esac\nexec /bin/mkdir "$@"\n')
        fake.chmod(0o755)
        printed.append(typed(line))
        fake.unlink()
        printed.append(typed(line))

    _, plan, _ = go(stage, person)
    assert [done.returncode for done in printed] == [70, 0]
    assert printed[0].stderr.endswith("type it again\n")
    assert results(plan) == {"A/write": "done"}


def test_person_who_leaves_after_typing_does_not_stop_the_step(stage: Stage) -> None:
    slow = Run(f"echo x | put {stage.world.root}/begun 644; sleep 1; echo x | put {stage.world.root}/A 644")

    def remedy(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/write", "new", "write A", (slow,), may="deploy")

    stage.add("A", remedy)

    def leave(line: str) -> None:
        terminal = subprocess.Popen(["/bin/sh", "-c", line], start_new_session=True)
        while not stage.holds("begun"):
            time.sleep(0.02)
        os.killpg(terminal.pid, signal.SIGKILL)
        terminal.wait()

    _, plan, _ = go(stage, leave)
    assert results(plan) == {"A/write": "done"}
    assert stage.holds("A")


def push(stage: Stage, sign: bool = True) -> Callable[[RemedyContext], Iterator[Step]]:
    """A remedy of which the second step is a person's, by a line of their own."""
    root = stage.world.root

    def remedy(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/ready", "new", "make ready", (Write(f"{root}/ready", "x"),))
        yield Step(
            "A/push", "control", "push", (Run("exit 1"),), may="push", typed=f"touch {root}/pushed {root}/A",
            when=(Condition("nobody pushed", f"[ ! -e {root}/pushed ]"),),
            sign=Sign("new", f"echo what is seen; [ -e {root}/pushed ]") if sign else None,
        )  # fmt: skip
        yield Step("A/after", "new", "go on", (Write(f"{root}/after", "x"),))

    return remedy


def test_line_of_a_persons_own_is_seen_by_its_sign(stage: Stage) -> None:
    stage.add("A", push(stage))
    _, plan, _ = go(stage, typed)
    assert results(plan) == {"A/ready": "done", "A/push": "done", "A/after": "done"}
    assert plan.steps[1].reason.startswith("done by hand, seen at ")
    assert plan.steps[1].reason.endswith(": what is seen")
    (story,) = stories(stage.link)
    stays = {back.step: back.stays for back in plan_rollback(story)}
    assert stays["A/push"].startswith("none: it was done by hand; ")
    assert [intent.get("by_hand", False) for intent in story.intents()] == [False, True, False]
    assert "-t hkn-migration: run R1, step 2, by ada: push: done by hand" in stage.world.said
    assert describe(story)["done"] == 3


def test_what_holds_in_another_way_is_done_and_the_rest_is_not_needed(stage: Stage) -> None:
    stage.add("A", push(stage, sign=False))
    _, plan, _ = go(stage, typed)
    assert results(plan) == {"A/ready": "done", "A/push": "done", "A/after": "not needed"}
    assert plan.tasks[0].state == "proven"


def test_remedy_is_asked_anew_when_what_it_relied_on_changed(stage: Stage) -> None:
    root = stage.world.root
    (root / "head").write_text("1")

    def remedy(_: RemedyContext) -> Iterator[Step]:
        head = (root / "head").read_text()
        here = Condition(f"the head is {head}", f'[ "$(cat {root}/head)" = {head} ]')
        line = f"echo {head} >{root}/A"
        yield Step(f"A/push-{head}", "control", "push", (Run("exit 1"),), (here,), may="push", typed=line)

    stage.add("A", remedy)

    def person(line: str) -> None:
        assert "echo 1" in line
        (root / "head").write_text("2")
        end = time.monotonic() + 10
        while "echo 2" not in line_in(stage.said) and time.monotonic() < end:
            time.sleep(0.02)
        typed(f"{line_in(stage.said)}; echo 3 >{root}/head")

    _, plan, _ = go(stage, person)
    assert results(plan) == {"A/push-1": "not needed", "A/push-2": "done"}
    assert plan.steps[0].reason == "while a person was waited for: it is not so any more that the head is 1"
    assert (root / "A").read_text() == "2\n"


def test_nobody_comes_in_time(stage: Stage) -> None:
    stage.wait = 0.3
    stage.add("A", stage.writer("A", may="deploy"))
    stage.add("B", stage.writer("B"), ("A",))
    stage.add("C", stage.writer("C"))
    _, plan, _ = stage.go()
    assert results(plan) == {"A/write": "manual", "B/write": "blocked", "C/write": "done"}
    assert plan.steps[0].reason.startswith("nobody did it within 0.3 s. ")
    (story,) = stories(stage.link)
    assert not story.is_open
    assert story.waiting is None


def test_run_that_loses_its_lock_while_it_waits_ends_and_leaves_its_journal_open(stage: Stage) -> None:
    stage.add("A", stage.writer("A", may="deploy"))
    made = stage.runner()
    plan = made.plan([Failing("A", "new")], {"A"}, {})
    made.start(plan)

    def lose(_: str) -> None:
        made.lock._lost = "its connection ended"

    thread = meanwhile(stage, lose)
    with pytest.raises(ConnectionLost, match="the lock was lost"):
        made.execute(plan)
    thread.join()
    made.finish(13, "")
    (story,) = stories(stage.link)
    assert story.is_open
    assert story.waiting
    assert plan.steps[0].result == "manual"


def test_news_come_when_what_is_seen_changes(stage: Stage) -> None:
    root = stage.world.root
    stage.add("A", push(stage))
    remedy = stage.remedies["z.A"]

    def counting(ctx: RemedyContext) -> Iterator[Step]:
        for step in remedy(ctx):
            test = f"n=$(ls {root}/n* 2>/dev/null | wc -l); echo $n releases; [ -e {root}/pushed ]"
            yield (
                step
                if step.sign is None
                else Step(step.id, step.host, step.sentence, step.acts, may="push", typed=step.typed, sign=Sign("new", test))
            )

    stage.remedies["z.A"] = counting

    def person(line: str) -> None:
        time.sleep(0.3)
        (root / "n1").touch()
        time.sleep(0.5)
        typed(line)

    go(stage, person)
    news = [text.partition(": ")[2] for text in stage.said if "still waiting" in text]
    assert news == ["still waiting for A/push: 1 releases"]


def test_news_come_less_and_less_often_while_nothing_happens(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manual_wait, "NEWS", 0.1)
    stage.wait = 1.5
    stage.add("A", stage.writer("A", may="deploy"))
    stage.go()
    news = [text for text in stage.said if text.endswith(": still waiting for A/write")]
    assert 2 <= len(news) <= 4


def test_plan_goes_on_behind_what_is_waited_for(stage: Stage) -> None:
    stage.add("A", stage.writer("A", may="deploy"))
    stage.add("B", stage.writer("B"), ("A",))
    plan = stage.runner().plan([Failing("A", "new"), Failing("B", "new")], {"A", "B"}, {})
    assert results(plan) == {"A/write": "manual", "B/write": "planned"}
    assert not plan.is_empty
    assert plan.manual == {}
    assert "prints the one line to type on new as" in plan.steps[0].reason


def test_step_may_be_a_persons_whatever_the_inventory_allows(stage: Stage) -> None:
    stage.wait = 0.0
    stage.world.inv = stage.world.inv.changed({"may": ["deploy"]})
    stage.add("A", stage.writer("A", may="deploy", person="it needs a secret", typed="make it"))
    _, plan, _ = stage.go()
    assert plan.steps[0].result == "manual"
    assert plan.manual["A"].startswith("it needs a secret. To write A, type on new as ")
    assert plan.manual["A"].endswith(":\n  make it")


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("90s", 90.0), ("30m", 1800.0), ("1.5h", 5400.0)])
def test_time_to_wait_is_typed_with_its_unit(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "-1m", "1d", "forever"])
def test_any_other_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="90s, 30m or 2h"):
        duration(text)


def test_times_are_said_as_a_person_would() -> None:
    assert [in_words(s) for s in (0.4, 59, 60, 600, 43200)] == ["0.4 s", "59 s", "1 min", "10 min", "12 h"]


REMEDY = """
from converge.steps import Condition, Run, Step, Write

def write(ctx):
    root = ctx.inv.stages.root
    yield Step("A-1/ready", "new", "make ready", (Write(f"{root}/ready", "x"),))
    yield Step("A-1/push", "control", "push the word", (Run("exit 1"),), may="push", typed=f"echo good >{root}/word",
        when=(Condition("the word is bad", f'[ "$(cat {root}/word)" = bad ]'),))
    yield Step("A-1/after", "new", "go on", (Write(f"{root}/after", "x"),))
"""


@pytest.fixture
def site(project: pytest.Pytester, inventory: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    made = mending(project, build(tmp_path / "host", inventory, monkeypatch), "new", seconds=0)
    (made.top / "mend/words.py").write_text(REMEDY)
    return made


def until_it_waits(session: subprocess.Popen[str]) -> str:
    """The line that the session asks for."""
    assert session.stdout is not None
    seen = []
    for line in session.stdout:
        seen.append(line)
        if "this step is a person's" in line:
            return session.stdout.readline().strip()
    raise AssertionError("".join(seen))


def test_session_without_anybody_leaves_it_to_a_person_as_ever(site: Site) -> None:
    out, _ = (session := site.begin()).communicate(timeout=90)
    assert session.returncode == 1, out
    assert "waiting" not in out
    assert site.results() == ["done", "manual"]


def test_session_that_waits_goes_on_when_it_was_done(site: Site) -> None:
    session = site.begin("--wait", "1m")
    assert typed(until_it_waits(session)).returncode == 0
    out, _ = session.communicate(timeout=90)
    assert session.returncode == 0, out
    assert "done by hand" in out
    again, _ = (later := site.begin()).communicate(timeout=90)
    assert later.returncode == 0
    assert "nothing to do" in again


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_session_that_ends_while_it_waits_is_gone_on_from(site: Site, how: signal.Signals) -> None:
    session = site.begin("--wait", "10m")
    line = until_it_waits(session)
    began = time.monotonic()
    session.send_signal(how)
    out, _ = session.communicate(timeout=90)
    assert time.monotonic() - began < 60
    if how is signal.SIGINT:
        assert session.returncode == 2, out
        assert site.results() == ["done", "not reached"]
        assert "the journal stays open, it waits for a person to do A-1/push" in json.dumps(site.record()["notes"])
    (story,) = stories(LocalLink())
    assert story.is_open
    assert story.waiting
    assert story.waiting["step"] == "A-1/push"
    assert describe(story)["end"] == f"open: waits for a person to do A-1/push, on this machine: {line}"
    assert typed(line).returncode == 0
    (site.world.root / "word").write_text("bad")
    again = site.begin("--wait", "1m")
    assert typed(until_it_waits(again)).returncode == 0
    out, _ = again.communicate(timeout=90)
    assert again.returncode == 0, out
    assert "it waited for a person to do A-1/push at control" in json.dumps(site.record()["notes"])
    assert all(not story.is_open for story in stories(LocalLink()))


def test_session_at_a_terminal_waits_without_being_told(site: Site) -> None:
    ours, theirs = os.openpty()
    words = [sys.executable, "-m", "pytest", "verify", "--remediate", "--yes"]
    session = subprocess.Popen(words, cwd=site.top, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    seen = b""
    while b"waiting for that, at most 12 h" not in seen:
        seen += os.read(ours, 4096)
    session.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):
        while os.read(ours, 4096):
            pass
    assert session.wait(60) == 2
    os.close(ours)


def test_line_on_another_host_does_nothing_either_without_its_run(stage: Stage) -> None:
    def remedy(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/old", "old", "write A", (Write(f"{stage.world.root}/A", "x"),), may="deploy")

    stage.add("A", remedy)
    lines = []
    _, plan, _ = go(stage, lambda line: lines.append((line, typed(line))))
    assert results(plan) == {"A/old": "done"}
    line, first = lines[0]
    assert first.returncode == 0
    assert typed(line).returncode == 80
    hint = stage.world.home / ".local/state/hkn-migration/holder"
    hint.write_text('{"who": "ada", "run": "R1", "since": 1}')
    os.utime(hint, (1, 1))
    assert typed(line).returncode == 80, "the run died long ago"
