"""The lab's own bridge and address range, named after the lab and checked to be free."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import NetworkFailed

Range = ipaddress.IPv4Network


@dataclass(frozen=True)
class Network:
    """A bridge with a /24 of private addresses; the hosts have no route out of it."""

    bridge: str
    range: Range

    @property
    def gateway(self) -> str:
        """This machine's address on the bridge."""
        return f"{self.range[1]}/{self.range.prefixlen}"

    def address(self, number: int) -> str:
        """The host address with that last byte."""
        return str(self.range[number])

    def create(self) -> None:
        """Make the bridge, or keep it if it stands as it should. Raises NetworkFailed."""
        if self.bridge not in _links():
            _ip("link", "add", self.bridge, "type", "bridge")
            # Duplicate address detection would keep the first packets waiting.
            flag = Path(f"/proc/sys/net/ipv6/conf/{self.bridge}/disable_ipv6")
            if flag.exists():
                flag.write_text("1")
        _ip("address", "replace", self.gateway, "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")

    def remove(self) -> None:
        """Remove the bridge; safe to repeat."""
        remove_link(self.bridge)


def remove_link(name: str) -> None:
    """Remove a network interface of this machine if it is there."""
    if name in _links():
        try:
            _ip("link", "delete", name)
        except NetworkFailed:
            # A veth goes by itself when its host's network namespace ends, perhaps just now.
            if name in _links():
                raise


def choose(ident: str) -> Network:
    """A network for the lab of that identity, in a range that this machine has no route into."""
    taken = [destination for route in _ask("route", "show", "table", "all") for destination in _destination(route)]
    return Network(f"hkl-{ident}", free_range(ident, taken))


def free_range(ident: str, taken: Iterable[Range]) -> Range:
    """The first of the lab's candidate ranges that overlaps none of ``taken``; NetworkFailed if all do."""
    used = list(taken)
    for candidate in _candidates(ident):
        if not any(candidate.overlaps(other) for other in used):
            return candidate
    raise NetworkFailed(
        "None of the lab's candidate ranges in 10.64.0.0/10 is free: this machine has routes into all of them. "
        "`ip route` shows them; leave one /24 of 10.64.0.0/10 free."
    )


def _candidates(ident: str) -> Iterator[Range]:
    for attempt in range(64):
        first, second = hashlib.sha256(f"{ident}/{attempt}".encode()).digest()[:2]
        yield Range(f"10.{64 + first % 64}.{second}.0/24")


def _destination(route: dict[str, Any]) -> list[Range]:
    try:
        return [Range(route["dst"], strict=False)]
    except ValueError:
        return []  # the default route, or one of IPv6


def _links() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


def _ask(*words: str) -> list[dict[str, Any]]:
    said = _ip("-json", *words)
    answer: list[dict[str, Any]] = json.loads(said) if said.strip() else []
    return answer


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NetworkFailed(
            f"`ip {' '.join(words)}` said: {done.stderr.strip()}. The lab needs to make a bridge and veth pairs: it must "
            "run as root with the kernel modules bridge and veth (`modprobe bridge veth`)."
        )
    return done.stdout
