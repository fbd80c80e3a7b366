"""``./hkn reports``: what is on this machine, two of them beside each other, and what may go."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

import cli.common
from cli import reports
from cli.__main__ import main
from converge.checking.statement import Outcome
from converge.errors import Exit
from converge.report.folders import Folder
from converge.report.write import write_reports
from tests.converge.report.samples import green_run, red_check

OLD, NEW = "20190422T020000.007Z-ab12", "20190423T020000.007Z-ab12"


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A red check and the green run after it, both long ago."""
    for name, record in ((OLD, red_check()), (NEW, green_run())):
        record.target = "lab:door"
        write_reports(record, tmp_path / name)
        for each in (*(tmp_path / name).iterdir(), tmp_path / name):
            os.utime(each, (0, 0))
    monkeypatch.setattr(reports, "REPORTS", tmp_path)
    return tmp_path


def typed(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["hkn", "reports", *words])
    return main()


def test_the_list_names_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(monkeypatch, "list") == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["id", "kind", "target"]
    assert [row.split()[:3] for row in rows] == [
        [OLD, "check", "lab:door"],
        [NEW, "run", "lab:door"],
    ]


def test_two_are_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kept: Path
) -> None:
    assert typed(monkeypatch, "compare", OLD, str(kept / NEW)) == 0
    *changed, last = capsys.readouterr().out.splitlines()
    assert last == f"{len(changed)} statements changed"
    wrong = sum(each.outcome is Outcome.FAILS for each in red_check().verdicts)
    assert wrong > 5
    assert (
        sum(line.startswith("lab:door: ") and "fails -> holds: " in line for line in changed)
        == wrong
    )
    assert typed(monkeypatch, "compare", NEW, OLD) == Exit.FAILS, "what held does not hold any more"


def test_one_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(monkeypatch, "compare", OLD, "mine") == Exit.USAGE
    assert "mine: there is no such report" in capsys.readouterr().err


def test_old_ones_go_when_a_person_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kept: Path
) -> None:
    (kept / "mine").mkdir()
    assert typed(monkeypatch, "prune") == Exit.USAGE
    assert "say what is to stay" in capsys.readouterr().err
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        assert typed(monkeypatch, "prune", "--keep", "1") == Exit.USAGE
    assert "no terminal to ask at" in capsys.readouterr().err
    assert (kept / OLD).exists()
    (kept / OLD / "journal.jsonl").write_text('{"kind": "end"}')
    for each in (kept / OLD / "journal.jsonl", kept / OLD):
        os.utime(each, (0, 0))
    assert typed(monkeypatch, "prune", "--keep", "1", "--yes") == 0
    assert "and the way back of its steps on this machine" in capsys.readouterr().out
    assert sorted(each.name for each in kept.iterdir()) == [NEW, "mine"]
    assert typed(monkeypatch, "prune", "--keep", "1", "--yes") == 0
    assert "nothing to delete" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", [b"half of", b"\xff", b'{"targets": 5}', b"[" * 100_000, b'{"targets": [5]}', b"5"]
)
def test_one_that_is_no_record_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kept: Path, content: bytes
) -> None:
    (kept / NEW / "run.json").write_bytes(content)
    assert typed(monkeypatch, "compare", OLD, NEW) == Exit.USAGE
    said = capsys.readouterr().err
    assert f"{NEW}: not a record of a check or a run: " in said
    (kept / NEW / "run.json").unlink()
    assert typed(monkeypatch, "compare", OLD, NEW) == Exit.USAGE
    assert f"{NEW}: its run.json cannot be read (No such file" in capsys.readouterr().err
    assert typed(monkeypatch, "compare", OLD, "x" * 300) == Exit.USAGE


def test_a_name_is_no_markup_and_an_id_is_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kept: Path
) -> None:
    record = red_check()
    record.target = "./[fleet]/[/x]"
    write_reports(record, kept / OLD)
    monkeypatch.setattr(cli.common.out, "_width", 30)
    assert typed(monkeypatch, "list") == 0
    assert [OLD, "check", record.target] in [
        row.split()[:3] for row in capsys.readouterr().out.splitlines()
    ]


def test_what_could_not_be_deleted_is_named_and_the_rest_goes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kept: Path
) -> None:
    def remove(folder: Folder) -> None:
        if folder.id == OLD:
            raise PermissionError(13, "Permission denied", "run.json")
        shutil.rmtree(folder.path)

    monkeypatch.setattr(reports, "remove", remove)
    assert typed(monkeypatch, "prune", "--days", "1", "--yes") == Exit.USAGE
    said = capsys.readouterr()
    assert f"{kept / OLD}: could not be deleted whole (Permission denied)" in said.err
    assert said.out.splitlines()[-1] == "1 report deleted"
    assert [each.name for each in kept.iterdir()] == [OLD]


def test_what_changes_while_one_is_asked_stays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kept: Path
) -> None:
    monkeypatch.setattr(reports, "confirm", lambda *_: os.utime(kept / OLD))
    assert typed(monkeypatch, "prune", "--days", "1") == Exit.USAGE
    assert f"{kept / OLD}: changed meanwhile" in capsys.readouterr().err
    assert [each.name for each in kept.iterdir()] == [OLD]


@pytest.mark.parametrize(("end", "code"), [(EOFError, Exit.DECLINED), (KeyboardInterrupt, 2)])
def test_the_end_of_input_is_a_no(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kept: Path,
    end: type[BaseException], code: int,
) -> None:  # fmt: skip
    def asked(*_: object) -> str:
        raise end

    monkeypatch.setattr("typer._click.termui.visible_prompt_func", asked)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert typed(monkeypatch, "prune", "--days", "1") == code
    assert ("nothing was done" in capsys.readouterr().err) == (code == Exit.DECLINED)
    assert (kept / OLD).exists()
