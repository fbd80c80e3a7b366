"""The socket between the web server and the application, and unicorn's PID file."""

from __future__ import annotations

from converge.checking.statement import Severity, require, statement
from facts.sockets import PidFile, Sockets, Upstream
from facts.units.states import Masters, OurUnits
from hosts.schema import Inventory


@statement(
    "SOCK-1",
    severity=Severity.BLOCKER,
    on="app",
    seed=["OS"],
    needs=["HOST-1"],
    manual="the web server's configuration ({inv.web.vhosts}) is made by the hoster: ask OCF staff to let"
    " {inv.web.server_name} lead to one socket in {inv.web.socket_dir}",
)
def test_upstream_is_known(upstream: Upstream, inv: Inventory) -> None:
    """The web server sends the site's requests to one socket in the account's socket directory."""
    paths = upstream.paths or ((upstream.chosen,) if upstream.chosen else ())
    require(
        len(paths) == 1,
        expected=f"one proxy_pass to a unix socket for {inv.web.server_name}",
        seen=", ".join(paths) or "none",
        where=upstream.config,
    )
    require(
        paths[0].startswith(f"{inv.web.socket_dir}/"),
        expected=f"a socket in {inv.web.socket_dir}",
        seen=paths[0],
        where=upstream.config,
    )
    require(
        inv.web.socket in {"auto", paths[0]},
        expected=f"{inv.web.socket}, as the inventory says",
        seen=f"{paths[0]}: the web server's word counts, so the inventory is probably stale",
        where=f"{upstream.config} and {inv.file}",
    )


@statement(
    "SOCK-2", severity=Severity.BLOCKER, on="app", seed=["OS", "C9"], needs=["SOCK-1", "UNIT-5"], remedy="sockets.open_up"
)
def test_upstream_is_a_live_socket(
    upstream: Upstream, sockets: Sockets, our_units: OurUnits, masters: Masters
) -> None:
    """The web server's socket exists, somebody listens on it, and the web server may connect."""
    masters.settled(our_units.app)
    path = upstream.chosen
    entry = sockets.at(path)
    require(entry is not None, expected="a socket, or a link to one", seen="nothing of this name", where=path)
    assert entry is not None
    leads = f" (leads to {entry.leads_to or 'itself'})" if entry.link else ""
    require(entry.is_socket, expected="a socket, or a link to one", seen=f"{entry.end_kind or 'nothing'}{leads}", where=path)
    require(bool(sockets.listening_on(path)), expected="a listener", seen=f"a dead socket{leads}", where=path)
    require(
        entry.end_mode & 0o006 == 0o006,
        expected="readable and writable for the web server (mode 777)",
        seen=f"mode {entry.end_mode:o}{leads}",
        where=path,
    )


@statement(
    "SOCK-3",
    severity=Severity.BLOCKER,
    on="app",
    seed=["CT", "OS", "C9"],
    needs=["SOCK-1", "UNIT-5"],
    remedy="sockets.single",
)
def test_app_unit_alone_listens(upstream: Upstream, sockets: Sockets, our_units: OurUnits, masters: Masters) -> None:
    """One listener answers on the web server's socket, and it belongs to the app's unit."""
    masters.settled(our_units.app)
    path = upstream.chosen
    found = sockets.listening_on(path)
    require(len(found) == 1, expected="one listener", seen=f"{len(found)}", where=path)
    owners = sockets.owners(path)
    require(bool(owners), expected=f"held by {our_units.app.name}", seen="held by another account", where=path)
    strangers = [process for process in owners if process.unit != our_units.app.name]
    require(
        not strangers,
        expected=f"held by {our_units.app.name} alone",
        seen=", ".join(f"process {p.pid} of {p.unit or p.cgroup} in {p.cwd}" for p in strangers[:4]),
        where=path,
    )


@statement("SOCK-4", severity=Severity.MINOR, on="app", seed=["OS"], needs=["SOCK-3"], remedy="sockets.sweep")
def test_no_stray_sockets(upstream: Upstream, sockets: Sockets, inv: Inventory) -> None:
    """The socket directory holds the site's socket, those of the account's other applications, and nothing else."""
    known = known_names(upstream, inv)
    strays = [entry.name for name, entry in sockets.entries.items() if name not in known]
    require(not strays, expected=f"only {', '.join(sorted(known))}", seen=", ".join(strays), where=inv.web.socket_dir)


def known_names(upstream: Upstream, inv: Inventory) -> set[str]:
    """Names that belong in the socket directory; what a run moved aside lies there too, out of the way."""
    ours = {upstream.chosen.rsplit("/", 1)[-1], inv.web.listen.rsplit("/", 1)[-1]}
    return {*ours, *inv.web.allowed_sockets, ".attic"} - {""}


@statement(
    "SOCK-5", severity=Severity.BLOCKER, on="app", seed=["CT", "OS"], needs=["SOCK-1", "REPO-4"], remedy="sockets.relink"
)
def test_listen_and_upstream_are_one(upstream: Upstream, sockets: Sockets, inv: Inventory) -> None:
    """The path on which the application listens and the web server's socket are one and the same."""
    listen, path = inv.web.listen, upstream.chosen
    if listen == path:
        return
    mine, theirs = sockets.at(listen), sockets.at(path)
    lead = {entry.leads_to for entry in (mine, theirs) if entry}
    same = len(lead) == 1 and theirs is not None and (mine is None or mine.end_inode == theirs.end_inode)
    require(
        same,
        expected=f"{path} is, or leads to, {listen}",
        seen=f"it leads to {theirs.leads_to}" if theirs else "nothing of this name",
        where=path,
    )


@statement(
    "PID-1", severity=Severity.MAJOR, on="app", seed=["OS", "C9"], needs=["UNIT-5"], remedy="sockets.write_pid_file"
)
def test_pid_file_names_the_app(unicorn_pid_file: PidFile, our_units: OurUnits, masters: Masters) -> None:
    """Unicorn's PID file names the app's main process, and no upgrade left its old one behind."""
    file = unicorn_pid_file
    main = masters.settled(our_units.app)
    require(main is not None, expected="a main process to be named", seen=f"{our_units.app.name} runs none", where=file.path)
    assert main is not None
    require(
        file.pid == main.pid,
        expected=f"{main.pid}, the main process of {our_units.app.name}",
        seen=repr(file.text) if file.exists else "no such file",
        where=file.path,
    )
    require(not file.old_exists, expected="no such file", seen=repr(file.old_text), where=f"{file.path}.oldbin")
