"""Connecting to a host of the inventory, through its jump hosts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from converge.transport import ahead
from converge.transport.hop import Hop, dial
from converge.transport.link import Ask, Unreached
from converge.transport.route import Roads, Way, alias_of, config_of
from converge.transport.ssh import SshLink
from hosts.schema import Host, Inventory

if TYPE_CHECKING:
    pass

JUMPS = 8


def begin(inv: Inventory, ask: Ask | None) -> None:
    """Begin to connect to every live host in the background; ``connect`` takes what was begun, or fails as it failed.

    A question to the person is put when ``connect`` is called, not before.
    """
    ahead.begin(inv, ask, _ahead)


def connect(inv: Inventory, host: Host, *, ask: Ask | None = None) -> SshLink:
    """Connect and log in to a host of the inventory; `ask` only if a person is at a terminal.

    Raises:
        HostUnreachable: name, route, host key, login or what else failed, with the one thing that mends it.
    """
    begun = ahead.taken(inv, host)
    return begun.take() if begun else _connect(inv, host, ask, None)


def _ahead(begun: ahead.Begun) -> SshLink:
    """The link that was begun, with a session opened for the first exec."""
    inv, host = begun.inv, begun.host
    _, text = config_of(inv)
    address = ahead.likely_address(text, alias_of(inv, text, host), host.port)
    knock = ahead.Knock(address, inv.connect.timeout) if address else None
    link = _connect(inv, host, begun.ask, knock)
    link.prepare()
    return link


def _connect(inv: Inventory, host: Host, ask: Ask | None, knock: ahead.Knock | None) -> SshLink:
    roads = Roads.of(inv)
    # The library writes tracebacks to stderr for failures that are reported here in words.
    logger = logging.getLogger("paramiko")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL + 1)
    chain: list[Hop] = []
    try:
        _travel(roads.to(host), roads, ask, chain, knock)
    except BaseException:
        for hop in reversed(chain):
            hop.close()
        raise
    finally:
        if knock:
            knock.close()
    return SshLink(host.name, chain)


def _travel(way: Way, roads: Roads, ask: Ask | None, chain: list[Hop], knock: ahead.Knock | None) -> None:
    """Open the hops to `way`, each through the one before."""
    if len(chain) > JUMPS:
        raise Unreached(way.name, "configuration", f"more than {JUMPS} jump hosts", f"Look for a circle in {roads.file}.")
    jumps = [roads.jump(spec) for spec in way.jumps] if not chain else []
    for jump in jumps:
        chain.append(dial(jump, ask, chain[-1] if chain else None))
    chain.append(dial(way, ask, chain[-1] if chain else None, knock))
