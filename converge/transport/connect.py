"""Connecting to a host of the inventory, through its jump hosts."""

from __future__ import annotations

import logging

from converge.transport.hop import Hop, dial
from converge.transport.link import Ask, Unreached
from converge.transport.route import Roads, Way
from converge.transport.ssh import SshLink
from hosts.schema import Host, Inventory

JUMPS = 8


def connect(inv: Inventory, host: Host, *, ask: Ask | None = None) -> SshLink:
    """Connect and log in to a host of the inventory; `ask` only if a person is at a terminal.

    Raises:
        HostUnreachable: name, route, host key, login or what else failed, with the one thing that mends it.
    """
    roads = Roads.of(inv)
    # The library writes tracebacks to stderr for failures that are reported here in words.
    logger = logging.getLogger("paramiko")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL + 1)
    chain: list[Hop] = []
    try:
        _travel(roads.to(host), roads, ask, chain)
    except BaseException:
        for hop in reversed(chain):
            hop.close()
        raise
    return SshLink(host.name, chain)


def _travel(way: Way, roads: Roads, ask: Ask | None, chain: list[Hop]) -> None:
    """Open the hops to `way`, each through the one before."""
    if len(chain) > JUMPS:
        raise Unreached(way.name, "configuration", f"more than {JUMPS} jump hosts", f"Look for a circle in {roads.file}.")
    jumps = [roads.jump(spec) for spec in way.jumps] if not chain else []
    for jump in jumps:
        chain.append(dial(jump, ask, chain[-1] if chain else None))
    chain.append(dial(way, ask, chain[-1] if chain else None))
