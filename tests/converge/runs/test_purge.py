"""Deleting what was moved aside: after the soak, only what the journal lists, through no symlink, on a person's word."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from cli import purge as command
from cli.__main__ import main
from converge.errors import ConnectionLost, Exit, LockHeld, UsageError
from converge.journal.journal import stories
from converge.journal.lock import Lock
from converge.runs.attic import AtticFull, Entry, Kept, has_room, purge_script, size
from converge.runs.preflight import GuardFailed
from converge.runs.purge import ClocksDiffer, ListMoved, SoakGoesOn, kept, lines, purge, refuse_soaking
from converge.runs.rollback import describe
from converge.runs.undo_plan import plan_rollback
from converge.steps import Aside, RemedyContext, Run, Step, Write
from converge.steps.describe import moves_aside
from converge.transport import Link
from hosts.schema import Inventory
from tests.converge.stage import Severed, Stage, build_stage
from tests.converge.world import build

TODAY = datetime.now(UTC).date()


@pytest.fixture
def stage(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A stage on which run R1 has moved a folder aside."""
    made = build_stage(build(tmp_path, inventory, monkeypatch), Severed(), monkeypatch)
    root = made.world.root
    (root / "old").mkdir()
    (root / "old/big").write_bytes(bytes(50_000))

    def remedy(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/aside", "new", "move the old away", (Aside(f"{root}/old"), Write(f"{root}/A", "x")))

    made.add("A", remedy)
    made.go()
    return made


def attic(stage: Stage) -> Path:
    return Path(stage.world.inv.attic)


def reports(stage: Stage) -> Path:
    return stage.world.top / "reports"


def go(stage: Stage, mine: str = "R2") -> Exit:
    return purged(stage, kept(stage.world.inv, stage.link, TODAY)[0], mine)


def purged(stage: Stage, runs: Sequence[Kept], mine: str = "R2", anew: Callable[[], Sequence[Kept]] | None = None) -> Exit:
    """Delete what is kept of these runs, which is listed anew by `anew`, or as ever."""
    anew = anew or (lambda: kept(stage.world.inv, stage.link, TODAY)[0])
    return purge(stage.world.inv, {"new": stage.link}, runs, mine, "ada", stage.said.append, reports(stage), anew)


def test_list_has_runs_sizes_and_what_was_moved(stage: Stage) -> None:
    runs, notes = kept(stage.world.inv, stage.link, TODAY)
    (found,) = runs
    assert (found.run, found.stays, notes) == ("R1", "", [])
    assert found.kib >= 48
    assert lines(runs)[1] == "      move the old away"
    assert size(3_000_000) == "2930 MiB"


def test_purge_deletes_it_writes_it_down_and_closes_the_way_back(stage: Stage) -> None:
    assert go(stage) is Exit.HOLDS
    assert not (attic(stage) / "R1").exists()
    assert (stage.world.root / "A").exists()
    first, second = stories(stage.link)
    assert describe(second)["of"] == "purge"
    assert any("run R2, step 1, by ada: delete what is kept of run R1" in text for text in stage.world.said)
    assert [i["step"] for i in second.intents()] == ["purge-R1"]
    assert second.results()[1]["rc"] == 0
    assert [b.stays for b in plan_rollback(first)] == ["what it moved aside was deleted by the purge R2"]
    assert kept(stage.world.inv, stage.link, TODAY) == ([], [])


def test_what_no_journal_lists_stays(stage: Stage) -> None:
    (attic(stage) / "R1/stranger").mkdir()
    (attic(stage) / "R1/odd name").mkdir()
    (attic(stage) / "handmade/001-A-aside").mkdir(parents=True)
    (attic(stage) / "R1/002-link").symlink_to(stage.world.root)
    _, notes = kept(stage.world.inv, stage.link, TODAY)
    assert len(notes) == 3
    go(stage)
    assert {p.name for p in (attic(stage) / "R1").iterdir()} == {"stranger", "odd name", "002-link"}
    assert (attic(stage) / "handmade/001-A-aside").exists()


def test_link_in_what_is_deleted_is_not_followed(stage: Stage) -> None:
    (attic(stage) / "R1/001-A-aside/1/kept/out").symlink_to(stage.world.root)
    assert go(stage) is Exit.HOLDS
    assert (stage.world.root / "A").exists()


def test_attic_that_is_a_symlink_is_refused(stage: Stage) -> None:
    attic(stage).rename(attic(stage).parent / "elsewhere")
    attic(stage).symlink_to(attic(stage).parent / "elsewhere")
    with pytest.raises(UsageError, match="is a symlink"):
        go(stage)


@pytest.mark.parametrize("place", ["attic", "run", "step"])
def test_link_that_came_after_the_list_is_refused(stage: Stage, place: str) -> None:
    runs, _ = kept(stage.world.inv, stage.link, TODAY)
    swapped = {"attic": attic(stage), "run": attic(stage) / "R1", "step": attic(stage) / "R1/001-A-aside"}[place]
    swapped.rename(stage.world.home / "elsewhere")
    swapped.symlink_to(stage.world.home / "elsewhere")
    assert purged(stage, runs, anew=lambda: runs) is Exit.FAILS
    assert "refused" in stage.said[-1]
    assert list((stage.world.home / "elsewhere").rglob("kept/big"))
    assert plan_rollback(stories(stage.link)[0])[0].stays == "", "nothing was deleted, so the way back is open"


def test_refusal_of_one_folder_deletes_none_of_the_run(stage: Stage) -> None:
    runs, _ = kept(stage.world.inv, stage.link, TODAY)
    runs = [replace(runs[0], entries=(*runs[0].entries, Entry(stage.world.inv.attic, "R1", "002-gone", 1)))]
    assert purged(stage, runs, anew=lambda: runs) is Exit.FAILS
    assert (attic(stage) / "R1/001-A-aside/1/kept/big").exists()
    assert plan_rollback(stories(stage.link)[0])[0].stays == ""


def test_purge_that_is_cut_off_has_closed_the_way_back(stage: Stage) -> None:
    stage.link.at = "purge-R1"
    with pytest.raises(ConnectionLost):
        go(stage)
    assert not (attic(stage) / "R1").exists()
    assert "deleted by the purge R2" in plan_rollback(stories(stage.link)[0])[0].stays


def test_purge_that_left_no_result_keeps_its_journal_open(stage: Stage) -> None:
    stage.world.kill_steps()
    assert go(stage) is Exit.UNKNOWN
    assert [story.is_open for story in stories(stage.link)] == [False, True]
    assert "looks what became of step 1 (purge-R1 at new: " in stage.said[-1]


def test_nothing_outside_an_attic_can_be_named(stage: Stage) -> None:
    with pytest.raises(UsageError, match="no attic of demo"):
        purge_script(stage.world.inv, [Entry(str(stage.world.root), "prod", "shared", 1)])
    script = purge_script(stage.world.inv, [Entry(stage.world.inv.attic, "..", "app", 1)])
    assert stage.link.exec(script, limit=10).rc == 77
    assert stage.world.root.exists()


def test_other_host_is_refused(stage: Stage) -> None:
    host = stage.world.inv.app_host.changed({"hostname": "elsewhere"})
    inv = stage.world.inv.changed({"hosts": {**stage.world.inv.hosts, "new": host}})
    stage.world.inv = inv
    assert go(stage) is Exit.FAILS
    assert (attic(stage) / "R1").exists()


def limited(stage: Stage, **values: float) -> None:
    stage.world.inv = stage.world.inv.changed({"limits": stage.world.inv.limits.changed(values)})


def test_full_attic_refuses_a_run_that_moves_more_aside_before_it_begins(stage: Stage) -> None:
    limited(stage, attic_gib=0.00002)
    (stage.world.root / "more").write_text("x")

    def remedy(_: RemedyContext) -> Iterator[Step]:
        yield Step("B/aside", "new", "move more away", (Aside(f"{stage.world.root}/more"),))

    stage.add("B", remedy)
    with pytest.raises(AtticFull, match=r"the attic holds \d+ KiB, more than 2e-05 GiB.*hkn purge --target demo.toml"):
        stage.go("R2")
    assert (stage.world.root / "more").exists()
    assert [story.id for story in stories(stage.link)] == ["R1"], "nothing was begun"
    assert go(stage, "R3") is Exit.HOLDS
    stage.go("R4")
    assert not (stage.world.root / "more").exists()


def test_full_attic_keeps_no_other_run(stage: Stage) -> None:
    limited(stage, attic_gib=0.00002)
    stage.add("B", stage.writer("B"))
    stage.go("R2")
    assert stage.holds("B")


@pytest.mark.parametrize(
    ("script", "moves"),
    [("[ ! -e /a ] || aside /a", True), ("aside '/a b'", True), ('aside "$PID_FILE"', False), ("echo put aside", False)],
)
def test_program_that_moves_what_it_names_is_known(script: str, moves: bool) -> None:
    assert moves_aside(Step("A/1", "new", "s", (Run(script),))) is moves


def test_attic_that_cannot_be_measured_refuses_too(stage: Stage) -> None:
    (stage.world.top / "bin" / "du").write_text("#!/bin/sh\nexit 1\n")
    (stage.world.top / "bin" / "du").chmod(0o755)
    with pytest.raises(GuardFailed, match="could not be listed"):
        has_room(stage.link, stage.world.inv)


def test_young_run_stays(stage: Stage) -> None:
    inv = stage.world.inv.changed({"soak_days": 14})
    (found,), _ = kept(inv, stage.link, TODAY)
    assert found.stays == f"it is kept until {TODAY + timedelta(days=14)}, 14 days after the run"


@pytest.mark.parametrize(
    ("cut", "words"), [(None, "the cutover has not been"), (date(2026, 1, 10), "purge on 2026-01-24 or later")]
)
def test_before_the_soak_is_over_it_is_refused(inventory: Inventory, cut: date | None, words: str) -> None:
    inv = inventory.changed({"soak_days": 14})
    with pytest.raises(SoakGoesOn, match=words):
        refuse_soaking(inv, cut, date(2026, 1, 23))
    refuse_soaking(inv, date(2026, 1, 10), date(2026, 1, 24))


def clock(stage: Stage, off: timedelta) -> None:
    """The host's clock is off."""
    date = stage.world.top / "bin" / "date"
    date.write_text(f'#!/bin/sh\nexec /usr/bin/date -d "@$(($(/usr/bin/date +%s) + {off.total_seconds():.0f}))" "$@"\n')
    date.chmod(0o755)


@pytest.mark.parametrize("off", [timedelta(days=-30), timedelta(days=2)])
def test_clocks_that_do_not_agree_delete_nothing(stage: Stage, off: timedelta) -> None:
    """As of a laptop that is a month ahead of its host."""
    clock(stage, off)
    with pytest.raises(
        ClocksDiffer, match=r"new: its clock says \d{4}-\d\d-\d\d, and this machine's says .*nothing was done"
    ):
        go(stage)
    assert (attic(stage) / "R1").exists()
    assert [story.id for story in stories(stage.link)] == ["R1"]


def test_of_two_days_the_earlier_one_counts(stage: Stage) -> None:
    stage.world.inv = stage.world.inv.changed({"soak_days": 1})
    (found,), _ = kept(stage.world.inv, stage.link, TODAY + timedelta(days=1))
    assert found.stays == f"it is kept until {TODAY + timedelta(days=1)}, 1 days after the run"


def test_clock_that_cannot_be_read_deletes_nothing(stage: Stage) -> None:
    (stage.world.top / "bin" / "date").write_text("#!/bin/sh\nexit 1\n")
    (stage.world.top / "bin" / "date").chmod(0o755)
    with pytest.raises(UsageError, match=r"its clock could not be read \(no answer\): nothing was done"):
        go(stage)


def test_what_another_target_of_the_account_moved_aside_stays(stage: Stage) -> None:
    mine = stage.world.inv
    stage.world.inv = mine.changed({"name": "copy", "soak_days": 0})
    runs, notes = kept(stage.world.inv, stage.link, TODAY)
    assert [(run.run, run.stays) for run in runs] == [
        ("R1", "it is of the target demo: only that one's inventory purges it")
    ]  # fmt: skip
    assert "STAYS: it is of the target demo" in lines(runs)[0]
    assert notes == []
    stage.world.inv = mine.changed({"web": mine.web.changed({"server_name": "other.example"})})
    ((other,), _) = kept(stage.world.inv, stage.link, TODAY)
    assert other.stays.startswith("it is of another site (server_name app.example, not other.example): ")
    assert go(stage) is Exit.HOLDS
    assert (attic(stage) / "R1").exists()


def test_list_that_changed_while_a_person_was_asked_deletes_nothing(stage: Stage) -> None:
    runs, _ = kept(stage.world.inv, stage.link, TODAY)
    (attic(stage) / "R1/001-A-aside/late").write_bytes(bytes(200_000))
    with pytest.raises(ListMoved, match=r"run R1 changed since it was listed \(\d+ KiB then; now: \d+ KiB are kept of it\)"):
        purged(stage, runs)
    assert (attic(stage) / "R1/001-A-aside/late").exists()
    assert [story.id for story in stories(stage.link)] == ["R1"]
    again, _ = kept(stage.world.inv, stage.link, TODAY)
    with pytest.raises(ListMoved, match=r"now: nothing is kept of it"):
        purged(stage, again, anew=list)
    with pytest.raises(ListMoved, match=r"now: it is kept until then"):
        purged(stage, again, anew=lambda: [replace(again[0], stays="it is kept until then")])
    lock = Lock(stage.link)
    lock.acquire("bob", "R3")
    lock.release()


def test_list_is_read_anew_once_nobody_else_can_act(stage: Stage) -> None:
    runs, _ = kept(stage.world.inv, stage.link, TODAY)
    seen = []

    def anew() -> list[Kept]:
        with pytest.raises(LockHeld):
            Lock(stage.link).acquire("bob", "R3")
        seen.append(True)
        return runs

    assert purged(stage, runs, anew=anew) is Exit.HOLDS
    assert seen == [True]


def test_run_that_goes_on_keeps_all_of_the_attic(stage: Stage) -> None:
    runs, _ = kept(stage.world.inv, stage.link, TODAY)
    lock = Lock(stage.link)
    lock.acquire("bob", "R9")
    try:
        with pytest.raises(LockHeld, match="another run is going on: bob"):
            purged(stage, runs)
    finally:
        lock.release()
    assert (attic(stage) / "R1/001-A-aside/1/kept/big").exists()


def test_run_that_died_keeps_what_it_moved_aside_also_once_its_journal_is_closed(stage: Stage) -> None:
    root = stage.world.root
    (root / "more").write_text("x")

    def remedy(_: RemedyContext) -> Iterator[Step]:
        yield Step("B/aside", "new", "move more away", (Aside(f"{root}/more"),))

    stage.add("B", remedy)
    stage.link.at = "B/aside"
    with pytest.raises(ConnectionLost):
        stage.go("R2")
    stage.link.at = ""
    runs, _ = kept(stage.world.inv, stage.link, TODAY)
    assert [(run.run, run.stays) for run in runs] == [
        ("R1", ""), ("R2", "its journal is open: the next run looks what became of it")
    ]  # fmt: skip
    assert purged(stage, runs, "R3") is Exit.HOLDS
    assert not (attic(stage) / "R1").exists()
    assert (attic(stage) / "R2").exists()
    assert not any(story.is_open for story in stories(stage.link))
    assert plan_rollback(stories(stage.link)[1])[0].stays == "", "its way back is open"


def test_command_asks_and_without_a_terminal_needs_yes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def reached(_target: str, *, everything: bool) -> Iterator[tuple[Inventory, dict[str, Link]]]:  # noqa: ARG001
        yield stage.world.inv, {"new": stage.link, "control": stage.link}

    def typed(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["hkn", "purge", *words])
        return main()

    monkeypatch.setattr(command, "reached", reached)
    monkeypatch.setattr(command, "REPORTS", reports(stage))
    assert typed() == 4
    assert "the cutover has not been" in capsys.readouterr().err
    wants = Path(stage.world.inv.units_dir) / "default.target.wants"
    wants.mkdir()
    (wants / "app.service").symlink_to("../app.service")
    with Path("/dev/null").open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert typed() == 4
    assert "no terminal to ask at" in capsys.readouterr().err
    assert (attic(stage) / "R1").exists()
    assert typed("--yes") == 0
    assert "move the old away" in capsys.readouterr().out
    assert not (attic(stage) / "R1").exists()
    assert typed("--yes") == 0
    assert "nothing to purge" in capsys.readouterr().out


@pytest.mark.parametrize("off", [timedelta(days=-300), timedelta(hours=-1), timedelta(hours=1)])
def test_hosts_clock_does_not_make_a_run_older(stage: Stage, off: timedelta) -> None:
    (story,) = stories(stage.link)
    file = stage.world.home / ".local/state/hkn-migration/runs/R1/journal.jsonl"
    entries = [json.loads(text) for text in file.read_text().splitlines()]
    for entry in entries:
        if entry["kind"] == "result":
            entry["at"] += off.total_seconds()
    file.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    runs, _ = kept(stage.world.inv, stage.link, TODAY)
    assert [run.began for run in runs] == [datetime.fromtimestamp(story.entries[0].at, UTC).date()]
