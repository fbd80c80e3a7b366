"""What differs between the page and the real host."""

from __future__ import annotations

from lab.lab import Lab
from lab.payload import site, web
from lab.payload.places import SOCKETS


def pass_directly(lab: Lab) -> None:
    """Let nginx lead to the socket that the application binds, with no link between."""
    web.point(lab, f"{SOCKETS}/prod.sock")
    lab.app.run(["rm", f"{SOCKETS}/hkn.sock"])
    # Ruby may lose a signal that comes while it loads Bundler: a host put off then waits 90 s for systemd to kill the app.
    site.wait(lab.app)
