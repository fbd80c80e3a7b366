"""The way to a target's hosts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from converge.transport import Link, LocalLink, connect, terminal
from hosts.loader import load
from hosts.schema import Inventory


@contextmanager
def reached(target: str, *, everything: bool) -> Iterator[tuple[Inventory, dict[str, Link]]]:
    """The target's inventory, and links to its app host or to all its live hosts."""
    inv = load(target)
    links: dict[str, Link] = {"control": LocalLink()}
    ask = terminal()
    try:
        for host in inv.live if everything else [inv.app_host]:
            links[host.name] = connect(inv, host, ask=ask)
        yield inv, links
    finally:
        for link in links.values():
            link.close()
