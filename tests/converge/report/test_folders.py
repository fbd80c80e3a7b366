"""The reports on this machine, and two of them beside each other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from converge.checking.record import Record, Verdict
from converge.checking.statement import Outcome
from converge.report.compare import changes
from converge.report.folders import AT_WORK, folders, remove, surplus
from tests.converge.report.samples import red_check

NOW = 1_800_000_000.0
DAY = 86400.0
IDS = [f"2019042{n}T020000.007Z-ab1{n}" for n in range(4)]

BROKEN = ('"targets": null', '"targets": [1]', '"targets": 5', '"target": null')
"""What a ``run.json`` of ours never says."""


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Four sessions' folders, one a day until now, and what is not ours."""
    for age, id in enumerate(reversed(IDS)):
        (tmp_path / id).mkdir()
        file = tmp_path / id / "run.json"
        file.write_text('{"kind": "check", "target": "lab", "exit_code": 1}')
        for each in (file, tmp_path / id):
            os.utime(each, (NOW - age * DAY, NOW - age * DAY))
    (tmp_path / "mine").mkdir()
    (tmp_path / f"{IDS[0]}.txt").touch()
    (tmp_path / "20180101T000000.000Z-0000").symlink_to(tmp_path / "mine")
    return tmp_path


def test_only_the_folders_of_sessions_are_listed(reports: Path) -> None:
    found = folders(reports)
    assert [each.id for each in found] == IDS
    assert {(each.kind, each.target, each.exit_code) for each in found} == {("check", "lab", 1)}


@pytest.mark.parametrize(
    "text",
    [
        *("[half of", "[]", "{}", '{"kind": 5, "target": "lab", "exit_code": 1}', "[" * 100_000),
        *(f'{{"kind": "check", "exit_code": 1, {rest}}}' for rest in BROKEN),
    ],
)
def test_a_folder_without_a_record_is_listed_too(reports: Path, text: str) -> None:
    (reports / IDS[0] / "run.json").write_text(text)
    found = folders(reports)[0]
    assert (found.kind, found.target, found.exit_code) == ("", "", None)


def test_a_survey_of_many_targets_takes_one_row(reports: Path) -> None:
    targets = ", ".join(['{"target": "a"}'] * 50)
    text = f'{{"kind": "check", "targets": [{targets}], "exit_code": 0}}'
    (reports / IDS[0] / "run.json").write_text(text)
    assert folders(reports)[0].target == "50 targets"


def test_what_a_session_takes_away_meanwhile_is_left_out(
    reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Path.lstat

    def late(file: Path) -> os.stat_result:
        if file.name == "run.json" or IDS[0] in file.parts:
            raise FileNotFoundError(2, "gone")
        return look(file)

    monkeypatch.setattr(Path, "lstat", late)
    assert [each.id for each in folders(reports)] == IDS[1:]


@pytest.mark.parametrize(
    ("keep", "days", "gone"),
    [
        (1, None, IDS[:3]),
        (3, None, IDS[:1]),
        (9, None, []),
        (None, 1.5, IDS[:2]),
        (None, 0, IDS[:3]),
        (3, 1.5, IDS[:1]),
    ],
)
def test_what_is_spared(
    reports: Path, keep: int | None, days: float | None, gone: list[str]
) -> None:
    # The newest was written to a moment ago: a session may still be at work there.
    found = surplus(folders(reports), keep, days, NOW + AT_WORK / 2)
    assert [each.id for each in found] == gone
    for each in found:
        remove(each)
    assert {each.name for each in reports.iterdir()} == {
        *(set(IDS) - set(gone)), "mine", f"{IDS[0]}.txt", "20180101T000000.000Z-0000",
    }  # fmt: skip


def test_a_run_that_has_not_ended_stays(reports: Path) -> None:
    for id, text in zip(IDS, ('{"kind": "plan"}\n', '{"kind": "plan"}\n{"kind": "end"}\n'), strict=False):
        (reports / id / "journal.jsonl").write_text(text)
    assert [each.journal for each in folders(reports)] == ["open", "ended", "none", "none"]
    later = max(each.changed for each in folders(reports)) + 2 * AT_WORK
    assert [each.id for each in surplus(folders(reports), 1, None, later)] == IDS[1:3]


def test_what_changed_between_two_reports() -> None:
    old, new = red_check(), red_check()
    worse, better, gone, fresh = old.verdicts[0], old.verdicts[1], old.verdicts[2], new.verdicts[3]
    turn(old, worse, Outcome.HOLDS)
    turn(new, worse, Outcome.FAILS)
    turn(old, better, Outcome.FAILS)
    turn(new, better, Outcome.HOLDS)
    new.verdicts.remove(
        next(each for each in new.verdicts if (each.id, each.host) == (gone.id, gone.host))
    )
    old.verdicts.remove(
        next(each for each in old.verdicts if (each.id, each.host) == (fresh.id, fresh.host))
    )
    found = {str(each).partition(": ")[2].rpartition(": ")[0] for each in changes([old], [new])}
    assert len(found) == 4
    assert any(worse.id in text and "holds -> fails" in text for text in found)
    assert any(better.id in text and "fails -> holds" in text for text in found)
    assert any(gone.id in text and "-> not asked" in text for text in found)
    assert any(fresh.id in text and "not asked -> " in text for text in found)
    assert changes([new], [new]) == []


def turn(record: Record, like: Verdict, outcome: Outcome) -> None:
    for each in record.verdicts:
        if (each.id, each.host) == (like.id, like.host):
            each.outcome = outcome
