"""What differs between the page and the real host."""

from __future__ import annotations

from lab.lab import Lab
from lab.payload import web
from lab.payload.places import SOCKETS


def pass_directly(lab: Lab) -> None:
    """Let nginx lead to the socket that the application binds, with no link between."""
    web.point(lab, f"{SOCKETS}/prod.sock")
    lab.app.run(["rm", f"{SOCKETS}/hkn.sock"])
