"""Reports: every one is a pure function of a record (``converge.record.Record``)."""

from __future__ import annotations

from pathlib import Path

from converge.record import Record
from converge.report.checklist import load_checklist

__all__ = ["load_checklist", "write_reports"]


def write_reports(record: Record, folder: Path) -> None:
    """Write ``run.json`` for programs and ``report.md`` for the issue; pytest-html writes the page.

    Each is written beside its place and renamed, so that a reader never meets half of one.

    Raises:
        OSError: the folder cannot be written.
    """
    from converge.masking import masked
    from converge.report.json import json_text
    from converge.report.markdown import markdown

    safe = masked(record)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("run.json", json_text(safe)), ("report.md", markdown(safe))):
        beside = folder / f".{name}.new"
        beside.write_text(content, encoding="utf-8")
        beside.replace(folder / name)
