"""What must be true of an inventory beyond the types of its values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from hosts.schema import Inventory

HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
LONGEST_NAME = 64
"""Characters that Linux lets a machine's name have (HOST_NAME_MAX)."""
USER_NAME = re.compile(r"[a-z_][a-z0-9_-]*")
FILE_NAME = re.compile(r"[^/\s]+")
UNIT_NAME = re.compile(r"[A-Za-z0-9:_.@-]+")
BRANCH_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]*")
VERSION = re.compile(r"\d+(\.\d+)+")

FASTEST, SLOWEST = 20.0, 0.01
"""Pages a second: as many as the hoster lets one visitor ask for by the public name, and as few as still say something."""

MOST_ENTRIES = 100_000_000
"""What a shell of the hosts surely counts to."""

Broken = tuple[str, str]
"""The key, and what is wrong with it."""


def broken(inv: Inventory) -> Iterator[Broken]:
    """Every rule that the inventory breaks."""
    yield from _hosts(inv)
    yield from _paths(inv)
    yield from _units(inv)
    yield from _application(inv)
    yield from _repository(inv)
    yield from _web(inv)
    yield from _sockets(inv)
    yield from _limits(inv)


def _hosts(inv: Inventory) -> Iterator[Broken]:
    apps = [h for h in inv.hosts.values() if h.role == "app"]
    if len(apps) != 1:
        names = ", ".join(h.name for h in apps) or "none"
        yield "hosts", f'exactly one host must have role = "app"; read {len(apps)} ({names})'
    for host in apps:
        if host.retired:
            yield f"hosts.{host.name}.retired", "the app host cannot be retired"
    for name, host in inv.hosts.items():
        same = [other.name for other in inv.hosts.values() if other.name != name and other.hostname == host.hostname]
        if same and host.role != "app":
            # What is meant for the one host would be done on the other.
            yield f"hosts.{name}.hostname", f"read {host.hostname!r}, which is {same[0]}'s; each host has a name of its own"
        if not HOST_NAME.fullmatch(host.hostname) or len(host.hostname) > LONGEST_NAME:
            yield f"hosts.{name}.hostname", f"read {host.hostname!r}, allowed: exactly what `uname -n` prints there"
        if not HOST_NAME.fullmatch(name):
            yield f"hosts.{name}", "a host's name has letters, digits, dots and hyphens only"
        if name == "control":
            yield "hosts.control", "this name is taken by the machine that the suite runs on"
        if not host.address or host.address.startswith("-") or re.search(r"\s", host.address):
            yield f"hosts.{name}.address", f"read {host.address!r}, allowed: a name or an address"
    if not USER_NAME.fullmatch(inv.account.user):
        yield "account.user", f"read {inv.account.user!r}, allowed: a login name"


def _paths(inv: Inventory) -> Iterator[Broken]:
    absolute = {
        "account.home": inv.account.home,
        "app.logrotate_config": inv.app.logrotate_config,
        "app.logrotate_state": inv.app.logrotate_state,
        "stages.root": inv.stages.root,
        "ruby.executable": inv.ruby.executable,
        "web.socket_dir": inv.web.socket_dir,
        "web.listen": inv.web.listen,
        "web.vhosts": inv.web.vhosts,
    }
    if inv.web.socket != "auto":
        absolute["web.socket"] = inv.web.socket
    for key, path in absolute.items():
        if not path.startswith("/") or path != "/" + "/".join(p for p in path.split("/") if p not in {"", ".", ".."}):
            yield key, f"read {path!r}, allowed: an absolute path without .. and without a slash at its end"
    relative = {"stages.linked_dirs": inv.stages.linked_dirs, "stages.linked_files": inv.stages.linked_files}
    relative["solr.pid_file"] = [inv.solr.pid_file]
    for key, paths in relative.items():
        for path in paths:
            if not _is_relative(path):
                yield key, f"read {path!r}, allowed: a path relative to a release"
    for names in inv.stages.release_files:
        if not all(_is_relative(name) and not re.search(r"[*?\[].*/|/$", name) for name in names.split("|")):
            yield "stages.release_files", (
                f"read {names!r}, allowed: a path relative to a release, with * and ? in its last part only, and | between "
                "alternatives"
            )


def _is_relative(path: str) -> bool:
    return bool(path) and not path.startswith(("/", "~")) and ".." not in path.split("/")


def _units(inv: Inventory) -> Iterator[Broken]:
    services = {"app.unit": [inv.app.unit], "app.legacy_units": inv.app.legacy_units}
    services["app.logrotate_unit"] = [inv.app.logrotate_unit]
    for key, names in services.items():
        for name in names:
            if not name.endswith(".service") or not UNIT_NAME.fullmatch(name):
                yield key, f"read {name!r}, allowed: a unit's name that ends in .service"
    if not inv.app.logrotate_timer.endswith(".timer") or not UNIT_NAME.fullmatch(inv.app.logrotate_timer):
        yield "app.logrotate_timer", f"read {inv.app.logrotate_timer!r}, allowed: a unit's name that ends in .timer"
    if inv.app.logrotate_unit == inv.app.unit or inv.app.logrotate_unit in inv.app.legacy_units:
        yield "app.logrotate_unit", f"{inv.app.logrotate_unit} is a unit of the application; the logs' is another one"
    if inv.app.unit in inv.app.legacy_units:
        yield "app.legacy_units", f"{inv.app.unit} is the unit that must run; it cannot be one to retire"


def _application(inv: Inventory) -> Iterator[Broken]:
    for key, names in {"stages.target": [inv.stages.target], "stages.legacy": inv.stages.legacy}.items():
        for name in names:
            if not FILE_NAME.fullmatch(name) or name in {".", ".."}:
                yield key, f"read {name!r}, allowed: the name of a directory in stages.root"
    if inv.stages.target in inv.stages.legacy:
        yield "stages.legacy", f"{inv.stages.target} is the target stage; it cannot be one to retire"
    if "{version}" not in inv.ruby.executable:
        yield "ruby.executable", f"read {inv.ruby.executable!r}, allowed: a path with {{version}} in it"
    if inv.ruby.version != "auto" and not VERSION.fullmatch(inv.ruby.version):
        yield "ruby.version", f'read {inv.ruby.version!r}, allowed: a version as "2.5.1", or "auto"'
    for key, port in {"solr.port": inv.solr.port, "solr.stop_port": inv.solr.stop_port}.items():
        if not 0 < port < 65536:
            yield key, f"read {port}, allowed: 1 to 65535"


def _repository(inv: Inventory) -> Iterator[Broken]:
    repo = inv.repository
    for key, name in {"repository.branch": repo.branch, "repository.legacy_branch": repo.legacy_branch}.items():
        # git-check-ref-format(1), as far as a name could be taken for an option, a pattern or a path.
        if not BRANCH_NAME.fullmatch(name) or ".." in name or name.endswith((".", "/", ".lock")):
            yield key, f"read {name!r}, allowed: the name of a branch"
    if repo.branch == repo.legacy_branch:
        yield "repository.legacy_branch", f"{repo.branch} is the branch that is deployed; it cannot be one to retire"


def _sockets(inv: Inventory) -> Iterator[Broken]:
    retired = inv.web.retired_sockets
    for key, names in {"web.allowed_sockets": inv.web.allowed_sockets, "web.retired_sockets": retired}.items():
        for name in names:
            if not FILE_NAME.fullmatch(name) or name in {".", ".."}:
                yield key, f"read {name!r}, allowed: the name of a socket in web.socket_dir, without directory"
    if both := [name for name in retired if name in inv.web.allowed_sockets]:
        yield "web.retired_sockets", f"{both[0]} is another application's, by web.allowed_sockets; it cannot be moved aside"
    if inv.web.listen.rpartition("/")[2] in inv.web.allowed_sockets:
        # No step may touch those.
        yield "web.allowed_sockets", f"{inv.web.listen} is what the application must listen on; it cannot be another's"


def _web(inv: Inventory) -> Iterator[Broken]:
    for key, path in {"web.listen": inv.web.listen, "web.socket": inv.web.socket}.items():
        if path != "auto" and not path.startswith(f"{inv.web.socket_dir}/"):
            yield key, f"read {path!r}, allowed: a path in web.socket_dir, {inv.web.socket_dir}"
    for number, url in enumerate(inv.web.urls):
        if wrong := _wrong_url(url.url):
            yield f"web.urls[{number}].url", f"read {url.url!r}, allowed: {wrong}"
    for key, path in {"web.search_path": inv.web.search_path, "web.probe_path": inv.web.probe_path}.items():
        if not path.startswith("/"):
            yield key, f"read {path!r}, allowed: a path that starts with /"
    for key, path in {"web.slow_path": inv.web.slow_path, "web.save_path": inv.web.save_path}.items():
        if path and not path.startswith("/"):
            yield key, f"read {path!r}, allowed: a path that starts with /, or nothing"


def _wrong_url(url: str) -> str:
    """What a URL must be that this one is not; empty for one that can be asked."""
    if not url.startswith(("https://", "http://")):
        return "a URL with http:// or https://"
    try:
        parts = urlsplit(url)
        port, name = parts.port, parts.hostname or ""
    except ValueError as problem:
        return f"a URL of a host and, if need be, a port from 1 to 65535 ({problem})"
    if port == 0:
        return "a URL with a port from 1 to 65535, or without"
    return "" if name and not re.search(r"\s", name) else "a URL with the name of a host"


def _limits(inv: Inventory) -> Iterator[Broken]:
    limits = inv.limits
    if not 1 <= limits.entries <= MOST_ENTRIES:
        yield "limits.entries", f"read {limits.entries}, allowed: 1 to {MOST_ENTRIES}"
    if not 0 < limits.attic_gib < float("inf"):
        yield "limits.attic_gib", f"read {limits.attic_gib:g}, allowed: a number of GiB above 0"
    if limits.spare_mib < 0:
        yield "limits.spare_mib", f"read {limits.spare_mib}, allowed: 0 or more"
    if not SLOWEST <= limits.probe_per_second <= FASTEST:
        yield "limits.probe_per_second", f"read {limits.probe_per_second:g}, allowed: {SLOWEST:g} to {FASTEST:g}"
