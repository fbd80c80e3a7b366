"""Solr answers, from the current release, with documents; its PID file tells the truth; and the application uses it."""

from __future__ import annotations

from converge.checking.statement import Severity, require, statement
from facts.solr import LOOPBACK, Solr
from facts.units.states import Masters, OurUnits
from facts.web import Search
from hosts.schema import Inventory


@statement("SOLR-1", severity=Severity.BLOCKER, on="app", seed=["P3", "CT", "OS"], needs=["HOST-2"], remedy="solr.start")
def test_our_solr_listens(solr: Solr, inv: Inventory) -> None:
    """One Solr of the account listens on its port, on loopback only."""
    where = f"{solr.host}, port {inv.solr.port}"
    rows = solr.listeners
    require(len(rows) == 1, expected="one listener", seen=", ".join(row.address for row in rows) or "none", where=where)
    require(rows[0].address in LOOPBACK, expected="127.0.0.1 only", seen=rows[0].address, where=where)
    require(solr.ours is not None, expected="a Solr of the account", seen="somebody else's process", where=where)
    require(
        solr.home.startswith(f"{inv.stages.root}/"),
        expected=f"a Solr home below {inv.stages.root}",
        seen=solr.home or "none in its command line",
        where=where,
    )


@statement(
    "SOLR-2",
    severity=Severity.MAJOR,
    on="app",
    seed=["CT", "OS"],
    needs=["SOLR-1", "DEP-1", "RUBY-4"],
    remedy="solr.move_home",
)
def test_solr_lives_in_the_current_release(solr: Solr, inv: Inventory) -> None:
    """Solr's home is the current release's."""
    home = f"{solr.current}/solr"
    where = f"{solr.host}, port {inv.solr.port}"
    require(solr.home == home, expected=home, seen=solr.home or "no Solr of the account", where=where)
    require(solr.core is not None, expected=f"core {inv.solr.core}", seen="Solr does not tell of it", where=where)
    assert solr.core is not None
    folder = solr.core.instance_dir.rstrip("/")
    require(folder.startswith(f"{home}/"), expected=f"core {inv.solr.core} below {home}", seen=folder, where=where)


@statement("SOLR-3", severity=Severity.MAJOR, on="app", seed=["CT", "OS"], needs=["SOLR-2"], remedy="solr.reindex")
def test_index_has_documents(solr: Solr, inv: Inventory) -> None:
    """Solr's index is not empty, and has more than what was saved since it was."""
    where = f"{solr.host}, core {inv.solr.core}"
    found = solr.core.found if solr.core else None
    require(found is not None, expected="a number of documents", seen="the core does not answer", where=where)
    assert found is not None
    wanted = f"{inv.solr.documents} documents, or more (solr.documents of the inventory)"
    require(found >= inv.solr.documents, expected=wanted, seen=f"{found}", where=where)


@statement(
    "SOLR-4", severity=Severity.MAJOR, on="app", seed=["P3", "OS"], needs=["SOLR-1"], remedy="solr.write_pid_file"
)
def test_solr_pid_file_is_true(solr: Solr) -> None:
    """Solr's PID file names the Solr that runs on this host."""
    named = solr.pid_owner
    what = f"process {named.pid}, {named.cmdline[:60]}" if named else "a process that does not run here"
    seen = f"{solr.pid_text!r}: {what}" if solr.pid_file_exists else "no such file"
    wanted = solr.wrapper or solr.ours
    require(
        solr.pid_is_true,
        expected=f"{wanted.pid}, Solr or what started it" if wanted else "a Solr that could be named",
        seen=seen,
        where=f"{solr.host}, {solr.pid_file}",
    )


@statement(
    "SOLR-5",
    severity=Severity.MAJOR,
    on="app",
    seed=["P3", "C10", "OS"],
    needs=["SOCK-1", "UNIT-5", "SOLR-4"],
    remedy="solr.let_app_detect",
)
def test_app_searches_with_solr(
    search: Search, solr: Solr, our_units: OurUnits, masters: Masters, inv: Inventory
) -> None:
    """The running application answers a search, and with Solr rather than its fallback."""
    main, server = masters.settled(our_units.app), solr.wrapper or solr.ours
    is_early = main is not None and server is not None and main.started < server.started
    early = " (it started before Solr did, and decides only once)" if is_early else ""
    where = f"{our_units.host}, {search.asked}"
    require(search.status == 200, expected="200", seen=search.problem or f"{search.status}", where=where)
    require(
        search.fallbacks == 0,
        expected=f"no {inv.solr.fallback_log!r} in {search.log}",
        seen=f"{search.fallbacks} such lines during one search{early}",
        where=where,
    )


@statement(
    "SOLR-6", severity=Severity.MAJOR, on="legacy", seed=["P3", "OS"], needs=["UNIT-5", "SOLR-1"], remedy="solr.stop_legacy"
)
def test_no_solr_on_the_legacy_host(solr: Solr) -> None:
    """No Solr of the account runs on a legacy host."""
    require(
        not solr.java,
        expected="no Solr process",
        seen=", ".join(f"process {p.pid}: {p.cmdline[:80]}" for p in solr.java),
        where=solr.host,
    )
