"""The application writes where people will look."""

from __future__ import annotations

from converge.checking.statement import Severity, require, statement
from facts.logs import OpenLogs
from facts.units.states import Masters, OurUnits
from hosts.schema import Inventory


@statement("LOG-1", severity=Severity.MINOR, on="app", seed=["C3"], needs=["UNIT-5"], remedy="logs.reopen")
def test_app_writes_to_current_logs(open_logs: OpenLogs, our_units: OurUnits, masters: Masters, inv: Inventory) -> None:
    """The application has its current log files open, not ones that were rotated away."""
    masters.settled(our_units.app)
    where = f"{inv.app.unit}, {inv.shared}/log"
    require(open_logs.main is not None, expected="a main process", seen="none", where=where)
    require(bool(open_logs.paths), expected="an open log file", seen="none", where=where)
    require(not open_logs.stale, expected="current log files", seen=", ".join(open_logs.stale), where=where)
