"""Whether the site answers, asked on the host that serves it."""

from __future__ import annotations

from lab.machine import Machine
from lab.payload.places import SOCKETS


def wait(machine: Machine, *, solr: bool | None = None, stage: str | None = None) -> None:
    """Return when the application answers on its own socket, with search on or off and from the directory asked for."""
    wanted = ["^HTTP/1.1 200"]
    if solr is not None:
        wanted.append(f"^x-hkn-solr: {str(solr).lower()}")
    if stage is not None:
        wanted.append(f"^x-hkn-stage: {stage}")
    asks = " && ".join(f"printf '%s' \"$answer\" | grep -qi '{pattern}'" for pattern in wanted)
    machine.wait_until(f"answer=$(curl -s -i -m 5 --unix-socket {SOCKETS}/prod.sock http://x/); {asks}")
