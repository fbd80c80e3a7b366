"""Where the time of a run went, from its own record."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bench.measure import BenchError

REPORT = re.compile(r"^report: .*?([^/\s]+)/report\.html", re.MULTILINE)
DEPLOY, BOOT, WAITING = "the deploy", "the cutover: the old app's last requests, the new one's boot", "waiting"
GIT, ACTS = "the repository: clone, commit, push", "ours: the other steps"
ASKING, REST = "ours: asking the hosts and the repository", "ours: planning, judging, journal, report"
KINDS = {"deploy.deploy": DEPLOY, "units.cutover": BOOT}


def record_of(out: str, reports: Path) -> dict[str, Any]:
    """The record of the run whose output this is, as plain data.

    Raises:
        BenchError: it left no record.
    """
    found = REPORT.findall(out)
    record = reports / found[-1] / "run.json" if found else None
    if record is None or not record.is_file():
        raise BenchError(f"the run left no record in {reports}")
    found_there: dict[str, Any] = json.loads(record.read_text())
    return found_there


def dearest(record: dict[str, Any], most: int = 8) -> list[str]:
    """What the run asked, and the readings that took longest on their hosts, as lines."""
    asked = record["asked"]
    lines = [f"asked: {sum(each['times'] for each in asked)} readings in {record['execs']} execs; on the hosts they took"]
    return lines + [f"{each['seconds']:7.1f} s  {each['times']:3d} x  {each['reading']}" for each in asked[:most]]


def parts(record: dict[str, Any]) -> dict[str, float]:
    """Seconds by what they were spent on. What is no step, not waiting and not asking is the rest: ours all the same."""
    spent = dict.fromkeys((DEPLOY, BOOT, WAITING, GIT, ACTS, ASKING, REST), 0.0)
    for step in record["steps"]:
        remedy = step["remedy"]
        kind = KINDS.get(remedy) or (GIT if remedy.startswith("repo.") else ACTS)
        spent[kind] += step["seconds"]
    spent[WAITING] = record["waited"]
    spent[ASKING] = record["asking"]
    spent[REST] = max(0.0, record["seconds"] - sum(spent.values()))
    return spent
