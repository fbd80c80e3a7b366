"""Writes a session's reports into its folder: ``run.json`` for programs, ``report.md`` for the issue."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from converge.checking.record import Record, Survey
from converge.report.fleet import survey_markdown
from converge.report.markdown import markdown
from converge.report.run_json import json_text, survey_texts


def write_reports(result: Record | Survey, folder: Path) -> None:
    """Write ``run.json`` for programs and ``report.md`` for the issue; pytest-html writes the page.

    What they are to keep to themselves has been masked: a session's end does that, once for these and for the page.
    Each is written beside its place and renamed, so that a reader never meets half of one.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(result, Survey):
        _write(folder / "run.json", survey_texts(result))
        _write(folder / "report.md", [survey_markdown(result)])
    else:
        _write(folder / "run.json", [json_text(result)])
        _write(folder / "report.md", [markdown(result)])


def _write(file: Path, texts: Iterable[str]) -> None:
    beside = file.with_name(f".{file.name}.new")
    with beside.open("w", encoding="utf-8") as out:
        out.writelines(texts)
    beside.replace(file)
