"""The way back: a run's steps, the last one first."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from converge.acting import confirmation
from converge.checking import application
from converge.checking.record import Outage, Probe
from converge.errors import Exit, StateMoved, UsageError
from converge.journal.journal import JournalError, line, stories
from converge.journal.lock import Lock
from converge.journal.ownership import OtherTarget
from converge.probe.prober import Prober
from converge.probe.worker import Sample
from converge.runs import preflight
from converge.runs.rollback import describe, roll_back
from converge.runs.undo_plan import JournalDamaged, SiteRestsOnIt, plan_rollback
from converge.shell.library import Rc
from converge.steps import Condition, Mode, Needless, RemedyContext, Run, Step, Unit, Write
from converge.transport import LocalLink
from hosts.command_line import command_line
from hosts.schema import Inventory
from tests.converge.acting.test_transient_unit import PROGRAM
from tests.converge.backwards import back, commanded, damaged, noted, reports, typed
from tests.converge.stage import Severed, Stage, build_stage
from tests.converge.world import build


@pytest.fixture
def stage(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.chdir(tmp_path)
    return build_stage(build(tmp_path, inventory, monkeypatch), Severed(), monkeypatch)


def test_rollback_takes_a_run_back_in_reverse(stage: Stage) -> None:
    root = stage.world.root
    (root / "secret").write_text("old")
    (root / "secret").chmod(0o644)

    def several(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/1", "new", "one", (Write(f"{root}/secret", "new"), Mode(f"{root}/secret", 0o600)))
        yield Step("A/2", "new", "two", (Unit("enable", "app.service"),), undo=Needless("it does no harm"))
        yield Step("A/3", "new", "three", (Write(f"{root}/A", "x"),))

    stage.add("A", several)
    stage.go()
    story = stories(stage.link)[0]
    assert [(b.n, b.stays) for b in plan_rollback(story)] == [(3, ""), (2, "none needed: it does no harm"), (1, "")]
    code, records = roll_back(stage.world.inv, {"new": stage.link}, "R1", "R2", "ada", stage.said.append, reports(stage))
    assert code is Exit.HOLDS
    assert [r.result for r in records] == ["done", "done"]
    assert (root / "secret").read_text() == "old"
    assert (root / "secret").stat().st_mode & 0o777 == 0o644
    assert not (root / "A").exists()
    assert stage.world.unit("app.service", "enabled") == "enabled"
    first, second = stories(stage.link)
    assert describe(first)["undone"] == 2
    assert describe(second)["takes back"] == "R1"
    assert any("run R2, step 1, by ada: take back step 3 of run R1: three: begins" in text for text in stage.world.said)
    assert [b.n for b in plan_rollback(first)] == [2], "what was taken back is not taken back again"


def test_rollback_leaves_what_somebody_changed_and_takes_the_rest_back(stage: Stage) -> None:
    stage.add("A", stage.writer("A"))
    stage.add("B", stage.writer("B"))
    stage.go()
    (stage.world.root / "B").write_text("a hand's")
    code, records = roll_back(stage.world.inv, {"new": stage.link}, "R1", "R2", "ada", stage.said.append, reports(stage))
    assert code is Exit.STATE_MOVED
    assert "changed since" in records[0].reason
    assert not (stage.world.root / "A").exists()
    assert (stage.world.root / "B").read_text() == "a hand's"


def test_of_several_reasons_the_first_in_rank_is_told_and_all_are_written_down(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def several(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/fail", "new", "fail", (Run("true"),), undo=(Run("exit 1"),))
        yield from stage.writer("A")(_)
        yield Step("A/push", "new", "push", (Run("true"),), undo="it is a person's")

    stage.add("A", several)
    stage.go()
    (stage.world.root / "A").write_text("a hand's")
    lost = application.Guard("data", False, "LOST DATA: 1 files")
    monkeypatch.setattr(preflight, "tree_kept", lambda _before, _after: lost)
    assert back(stage) is Exit.STATE_MOVED
    end = stories(stage.link)[1].end
    assert end
    assert end["exit_code"] == Exit.STATE_MOVED
    stays, pushed, stopped, data = end["reason"].split("; ")
    assert stays.startswith("step 2 stays: ")
    assert pushed == "step 3 stays: none: it is a person's"
    assert stopped.startswith("stopped at step 1: ")
    assert data == "LOST DATA: 1 files"


def test_an_interrupt_comes_before_what_stays(stage: Stage) -> None:
    stage.add("A", stage.writer("A"))
    stage.add("B", stage.writer("B"))
    stage.go()
    (stage.world.root / "B").write_text("a hand's")
    stage.said = Interrupting()
    assert back(stage) is Exit.INTERRUPTED
    end = stories(stage.link)[1].end
    assert end
    assert end["reason"].startswith("it was interrupted in its last step, which was finished; step 2 stays: ")


def test_what_stays_and_is_missed_is_no_success(stage: Stage) -> None:
    def several(_: RemedyContext) -> Iterator[Step]:
        yield from stage.writer("A")(_)
        yield Step("A/push", "new", "push", (Run("true"),), undo="what was pushed is reverted by a person")

    stage.add("A", several)
    stage.go()
    assert back(stage) is Exit.FAILS
    assert not stage.holds("A")
    assert stories(stage.link)[1].end == {
        "exit_code": 1, "reason": "step 2 stays: none: what was pushed is reverted by a person"
    }  # fmt: skip


def migrated(stage: Stage, **changes: Any) -> None:
    """A run that writes the unit's file, lets it serve by a step with `changes`, and enables it."""
    cutover: dict[str, Any] = {"acts": (Run("true"),), "undo": "which unit served is not known", "serves": True}

    def remedy(_: RemedyContext) -> Iterator[Step]:
        yield from stage.writer("A")(_)
        yield Step("A/serve", "new", "let it serve", **{**cutover, **changes})
        yield Step("A/enable", "new", "enable it", (Unit("enable", "app.service"),))

    stage.add("A", remedy)
    stage.go()


def test_nothing_is_taken_back_around_a_step_that_stays_and_that_the_site_rests_on(stage: Stage) -> None:
    migrated(stage)
    with pytest.raises(SiteRestsOnIt, match=r"step 2 .*unit served is not known.* R1 --by-hand 2 --target demo.toml"):
        back(stage)
    assert stage.holds("A")
    assert stage.world.unit("app.service", "enabled") == "enabled"
    assert [story.id for story in stories(stage.link)] == ["R1"]


def test_the_rest_is_taken_back_once_a_person_took_that_step_back(stage: Stage) -> None:
    migrated(stage)
    with pytest.raises(UsageError, match="run R1 has no step 7"):
        back(stage, by_hand=(7,))
    assert back(stage, by_hand=(2,)) is Exit.HOLDS
    assert not stage.holds("A")
    assert stage.world.unit("app.service", "enabled") == "disabled"
    assert stories(stage.link)[0].undone() == {1, 2, 3}


def test_several_that_the_site_rests_on_are_named_with_one_line_for_all_of_them(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    migrated(stage)
    for n in (4, 5):
        noted(stage, line("intent", **{**SERVES, "n": n}), line("result", n=n, rc=0))
    with pytest.raises(SiteRestsOnIt, match=r"step 5 and step 4 and step 2 back .* --by-hand 2 --by-hand 4 --by-hand 5 "):
        back(stage)
    assert commanded(stage, monkeypatch, "--by-hand", "4") == Exit.USAGE
    said = capsys.readouterr().err
    assert "Take step 5 and step 2 back" in said
    assert said.rstrip().endswith("rollback R1 --by-hand 2 --by-hand 4 --by-hand 5 --target demo.toml`")
    assert commanded(stage, monkeypatch, "--by-hand", "2", "--by-hand", "4", "--by-hand", "5") == Exit.HOLDS


def test_a_restart_is_no_reason_to_stay(stage: Stage) -> None:
    migrated(stage, serves=False, interrupts=4.0, undo=Needless("it ran before"))
    assert back(stage) is Exit.HOLDS
    assert not stage.holds("A")


def test_what_only_cost_service_stays_and_keeps_nothing_from_being_taken_back(stage: Stage) -> None:
    migrated(stage, serves=False, interrupts=2.0, undo="a stray is not started again")
    assert back(stage) is Exit.FAILS
    assert not stage.holds("A")
    assert stage.world.unit("app.service", "enabled") == "disabled"


def test_a_lost_way_back_of_what_the_site_rests_on_is_seen_before_anything_is_done(stage: Stage) -> None:
    migrated(stage, undo=(Run("true"),))
    next(stage.world.home.rglob("2.undo.sh")).unlink()
    with pytest.raises(SiteRestsOnIt, match="its way back is not on new"):
        back(stage)
    assert stage.world.unit("app.service", "enabled") == "enabled"


def test_what_the_site_rests_on_is_the_last_that_is_tried_if_it_is_refused(stage: Stage) -> None:
    migrated(stage, undo=(Run('cv_moved "somebody else\'s job is queued"'),))
    assert back(stage) is Exit.STATE_MOVED
    assert stage.holds("A")
    end = stories(stage.link)[1].end
    assert end
    assert end["reason"] == (
        "stopped at step 2: somebody else's job is queued; what came before it stays, as what serves the site rests on that."
        " What came after it was taken back (step 3), and the site wants it:"
        f" `{command_line('remediate', target='demo.toml')}` does it again"
    )


def test_a_step_that_a_full_disk_kept_from_beginning_is_no_obstacle(stage: Stage) -> None:
    stage.add("A", stage.writer("A"))
    stage.go()
    folder = next(stage.world.home.rglob("1.undo.sh")).parent
    with (folder / "journal.jsonl").open("a") as journal:
        told = {"step": "B/1", "host": "new", "sentence": "two", "undo": "x", "undoable": True}
        journal.write(line("intent", n=2, **told) + "\n")
    (folder / "2.undo.sh").write_text("exi")
    (folder / "2.sh").write_text("")
    assert back(stage) is Exit.HOLDS
    assert "step 2, two: it never began: nothing to take back" in stage.said
    assert not stage.holds("A")


def test_a_start_that_was_refused_by_its_precondition_keeps_nothing_from_being_taken_back(stage: Stage) -> None:
    migrated(stage, when=(Condition("nothing serves", "false"),))
    assert stories(stage.link)[0].results()[2]["rc"] == Rc.MOVED
    assert back(stage) is Exit.HOLDS
    assert "step 2, let it serve: it was refused before it did anything: nothing to take back" in stage.said
    assert not stage.holds("A")


def test_a_start_of_which_a_part_was_done_before_it_was_refused_stays(stage: Stage) -> None:
    migrated(stage, acts=(Unit("start", "app.service"), Run('cv_moved "another one binds it"')))
    assert stories(stage.link)[0].results()[2]["rc"] == Rc.MOVED
    with pytest.raises(SiteRestsOnIt, match="rests on step 2 "):
        back(stage)


SERVES: dict[str, Any] = {"n": 2, "step": "B/serve", "host": "new", "sentence": "let it serve", "carries": True}
RESULT = line("result", n=2, rc=0)


def test_a_start_that_a_full_disk_kept_from_beginning_is_no_obstacle_either(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.add("A", stage.writer("A"))
    stage.go()
    noted(stage, line("intent", **SERVES))
    assert commanded(stage, monkeypatch) == Exit.HOLDS
    assert not stage.holds("A")


@pytest.mark.parametrize("more", [[line("intent", **SERVES, by_hand=True)], [line("intent", **SERVES), RESULT]])
def test_what_a_person_did_in_a_way_of_their_own_was_done_although_no_script_is_there(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    stage.add("A", stage.writer("A"))
    stage.go()
    noted(stage, *more)
    assert commanded(stage, monkeypatch) == Exit.USAGE
    with pytest.raises(SiteRestsOnIt, match="rests on step 2 "):
        back(stage)


def test_nothing_is_taken_back_by_a_journal_that_does_not_tell_all(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    migrated(stage)
    damaged(stage, "R1")
    said = r"\(~/.local/state/\S+/R1/journal.jsonl\) is damaged: line 4 cannot be read; .* step 2 .* copy in reports/R1/"
    with pytest.raises(JournalDamaged, match=said):
        back(stage)
    assert commanded(stage, monkeypatch) == Exit.USAGE
    assert "damaged: line 4" in capsys.readouterr().err
    assert stage.holds("A")
    assert stage.world.unit("app.service", "enabled") == "enabled"
    copy = stage.world.top / "reports/R1/journal.jsonl"
    shutil.copy(copy, stage.world.home / ".local/state/hkn-migration/runs/R1/journal.jsonl")
    with pytest.raises(SiteRestsOnIt, match="rests on step 2 "):
        back(stage)


def test_damage_is_listed_and_shown(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    migrated(stage)
    damaged(stage, "R1")
    for words in (["runs"], ["show", "R1"]):
        assert typed(stage, monkeypatch, *words) == Exit.HOLDS
        assert "DAMAGED: line 4 cannot be read; no line says what step 2 was to do" in capsys.readouterr().out


def test_rollback_of_an_unknown_run_names_the_known_ones(stage: Stage) -> None:
    stage.add("A", stage.writer("A"))
    stage.go()
    with pytest.raises(UsageError, match="no journal of a run R9; its last ones are: R1"):
        roll_back(stage.world.inv, {"new": stage.link}, "R9", "R2", "ada", stage.said.append, reports(stage))


def handed_over(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with a step that was confirmed, and of which the way back wants to be confirmed too."""
    monkeypatch.setattr(confirmation, "PAUSE", 0.05)
    monkeypatch.setattr(confirmation, "dial", lambda _inv, _host: LocalLink())
    monkeypatch.setattr(Prober, "look", lambda _: Sample(0, 0, 200))
    forth = 'echo x | put "$HOME/app/A" 644; : >"$CV_CONFIRM.asked"; until [ -e "$CV_CONFIRM.yes" ]; do sleep 0.1; done'

    def remedy(_: RemedyContext) -> Iterator[Step]:
        back = (Run(f"{PROGRAM}\nexit 1"),)
        yield Step("A/hand-over", "new", "hand it over", (Run(forth),), undo=back, limit=400.0, confirm=5.0)

    stage.add("A", remedy)
    stage.go()
    assert stage.holds("A")


def test_the_way_back_of_a_confirmed_step_is_confirmed_too(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    handed_over(stage, monkeypatch)
    (planned,) = plan_rollback(stories(stage.link)[0])
    assert (planned.limit, planned.confirm) == (400.0, True)
    assert back(stage) is Exit.HOLDS
    assert (stage.world.top / "run/site").read_text() == "changed\n"
    (intent,) = stories(stage.link)[1].intents()
    assert (intent["limit"], intent["confirm"]) == (400.0, True)
    assert any("downtime" in text for text in stage.said)


def test_the_way_back_of_a_step_that_puts_back_when_it_is_killed_does_so_too(stage: Stage) -> None:
    stage.add("A", stage.writer("A", puts_back=True))
    stage.go()
    (planned,) = plan_rollback(stories(stage.link)[0])
    assert (planned.confirm, planned.puts_back) == (False, True)
    assert back(stage) is Exit.HOLDS
    intents = [intent for story in stories(stage.link) for intent in story.intents()]
    assert [(intent["confirm"], intent["puts_back"]) for intent in intents] == [(False, True)] * 2


def test_a_way_back_that_looks_wrong_from_outside_is_put_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    handed_over(stage, monkeypatch)
    monkeypatch.setattr(Prober, "look", lambda _: Sample(0, 0, 502))
    assert back(stage) is Exit.ROLLED_BACK
    assert (stage.world.top / "run/site").read_text() == "as before\n"
    assert [b.n for b in plan_rollback(stories(stage.link)[0])] == [1], "it may be tried again"


@pytest.mark.parametrize(("announced", "code"), [(None, Exit.FAILS), (2.0, Exit.HOLDS)])
def test_a_way_back_that_loses_pages_is_well_only_if_the_step_announced_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, announced: float | None, code: Exit
) -> None:
    stage.add("A", stage.writer("A", interrupts=announced))
    stage.go()

    def lost(_: Prober) -> Probe:
        now = time.time()
        return Probe("u", now - 60, now, 99, 3, 0.5, [Outage(now - 0.5, now, 3, "status 502", now)], first_good=now - 60)

    monkeypatch.setattr(Prober, "stop", lost)
    assert back(stage) is code
    end = stories(stage.link)[1].end
    assert end
    assert ("3 pages were lost that no step had announced" in end["reason"]) == (code is Exit.FAILS)
    assert any("during undo-1" in text or "after undo-1" in text for text in stage.said) == (code is Exit.FAILS)


def test_a_rollback_where_one_may_not_write_is_said_before_anything_is_done(stage: Stage, tmp_path: Path) -> None:
    stage.add("A", stage.writer("A"))
    stage.go()
    shutil.rmtree(tmp_path / "reports")
    (tmp_path / "reports").write_text("in the way")
    with pytest.raises(JournalError, match=r"could not be made .*: nothing is done"):
        back(stage)
    assert stage.holds("A")
    lock = Lock(stage.link)
    lock.acquire("bob", "R3")
    lock.release()


def test_run_of_another_target_of_the_account_is_not_taken_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.add("A", stage.writer("A"))
    stage.go()
    inv = stage.world.inv
    stage.world.inv = inv.changed({"name": "other", "web": inv.web.changed({"server_name": "other.example"})})
    with pytest.raises(OtherTarget, match="run R1 is of the target demo"):
        back(stage)
    assert commanded(stage, monkeypatch) == Exit.USAGE
    said = capsys.readouterr()
    assert "server_name app.example, not other.example" in said.err
    assert said.out == "", "nobody is shown what would be taken back"
    assert stage.holds("A")
    assert [story.id for story in stories(stage.link)] == ["R1"]
    lock = Lock(stage.link)
    lock.acquire("bob", "R3")
    lock.release()


def test_nothing_is_taken_back_while_somebody_deploys(stage: Stage) -> None:
    stage.add("A", stage.writer("A"))
    stage.go()
    busy = application.Guard("nobody", False, "a deploy is going on")
    with pytest.raises(StateMoved, match="a deploy is going on"):
        back(stage, asked=lambda _link, _inv: (busy,))
    assert stage.holds("A")


def test_a_way_back_that_left_no_result_keeps_the_journal_open(stage: Stage) -> None:
    for id in ("A", "B"):
        stage.add(id, stage.writer(id))
    stage.go()
    stage.world.kill_steps()
    assert back(stage) is Exit.UNKNOWN
    stage.world.kill_steps(False)
    assert "looks what became of step 1 (undo-2 at new: take back step 2 of run R1: write B): its process" in stage.said[-1]
    assert [story.is_open for story in stories(stage.link)] == [False, True]
    assert back(stage, mine="R3") is Exit.HOLDS
    assert any("run R2 of ada ended without an end: step 1 (undo-2 at new): it was cut off" in text for text in stage.said)


def test_a_rollback_that_is_interrupted_finishes_the_step_and_is_no_success(stage: Stage) -> None:
    for id in ("A", "B"):
        stage.add(id, stage.writer(id))
    stage.go()
    stage.said = Interrupting()
    assert back(stage) is Exit.INTERRUPTED
    assert (stage.holds("A"), stage.holds("B")) == (True, False)
    assert stories(stage.link)[1].end == {"exit_code": 2, "reason": "it was interrupted before step 1"}


class Interrupting(list[str]):
    """Somebody presses Ctrl-C when the first step was taken back."""

    def append(self, text: str) -> None:
        super().append(text)
        if "taken back" in text:
            os.kill(os.getpid(), signal.SIGINT)
