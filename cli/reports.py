"""``./hkn reports``: what checks and runs left on this machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from cli.common import REPORTS, Yes, confirm, example, out, say
from converge.checking.record import Record
from converge.errors import Exit, UsageError
from converge.report.compare import changes
from converge.report.folders import folders, remove, surplus
from converge.report.run_json import records_of
from converge.text.display import count
from hosts.command_line import command_line

Report = Annotated[str, typer.Argument(help="an id, as `list` has it; or a folder")]
Keep = Annotated[int | None, typer.Option("--keep", min=1, metavar="N", help="keep the newest N")]
Days = Annotated[float | None, typer.Option("--days", min=0, metavar="DAYS", help="keep what is younger")]

NARROWEST = 80
"""A narrower table would cut ids."""

app = typer.Typer(
    help="The reports on this machine: list, compare, prune.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=example("reports", "list"),
)


@app.command("list", epilog=example("reports", "list"))
def list_() -> None:
    """The folders of reports, the newest last."""
    width = NARROWEST if out.width < NARROWEST else None
    table = Table(Column("id", no_wrap=True), "kind", "target", "exit code", "MB", box=None, width=width)
    for each in folders(REPORTS):
        code = "" if each.exit_code is None else str(each.exit_code)
        table.add_row(each.id, each.kind or "no report", each.target, code, f"{each.size / 1e6:.1f}")
    out.print(table)


@app.command(epilog=example("reports", "compare", "OLD", "NEW"))
def compare(old: Report, new: Report) -> None:
    """Which statements changed between two reports.

    Ends with 1 if one that held does not hold any more.
    """
    found = changes(_records(old), _records(new))
    for each in found:
        say(str(each))
    say(count(len(found), "statement") + " changed")
    if any(each.is_worse for each in found):
        raise typer.Exit(Exit.FAILS)


@app.command(epilog=example("reports", "prune", "--keep", "20"))
def prune(keep: Keep = None, days: Days = None, yes: Yes = False) -> None:
    """Delete old reports: those that neither --keep nor --days spares.

    Lists them, and asks. What was written to within the last hour stays, and runs that have not ended.
    """
    if keep is None and days is None:
        raise UsageError("say what is to stay: --keep N (the newest ones), --days DAYS (younger ones), or both")
    old = surplus(folders(REPORTS), keep, days, time.time())
    for each in old:
        back = ", and the way back of its steps on this machine" if each.journal == "ended" else ""
        say(f"{each.id}  {each.kind or 'no report'} {each.target}{back}")
    if not old:
        say("nothing to delete (what changed within the last hour stays, and runs that have not ended)")
        return
    confirm(f"Delete {count(len(old), 'report')} ({sum(each.size for each in old) / 1e6:.1f} MB)?", yes)
    # Meanwhile a session may have begun to write to one.
    still = {each.path for each in surplus(folders(REPORTS), keep, days, time.time())}
    kept = [f"{each.path}: changed meanwhile" for each in old if each.path not in still]
    for each in old:
        if each.path in still:
            try:
                remove(each)
            except OSError as problem:
                kept.append(f"{each.path}: could not be deleted whole ({problem.strerror})")
    say(f"{count(len(old) - len(kept), 'report')} deleted")
    if kept:
        raise UsageError("\n".join(["not deleted:", *kept]))


def _records(named: str) -> list[Record]:
    try:
        folder = Path(named) if Path(named).is_dir() else REPORTS / named
        if not folder.is_dir():
            raise UsageError(f"{named}: there is no such report: `{command_line('reports', 'list')}` has all")
        return records_of((folder / "run.json").read_text(encoding="utf-8"), str(folder))
    except OSError as problem:
        raise UsageError(f"{named}: its run.json cannot be read ({problem.strerror}), so it is no report") from None
    except UnicodeDecodeError as problem:
        raise UsageError(f"{named}: not a record of a check or a run: {problem}") from None
