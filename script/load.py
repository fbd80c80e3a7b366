"""Light load on a target's site: a steady trickle of requests until it is told to stop, then one line of what came of it.

``script/load.py TARGET [REQUESTS_PER_SECOND]``; SIGTERM or Ctrl-C ends it. It speaks to the lab only.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path

import urllib3

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from converge.errors import ConvergeError, UsageError
from hosts.errors import InventoryError
from hosts.loader import load
from hosts.schema import Inventory

WORKERS = 2


class Tally:
    """What the requests came to; ``worst`` is the slowest answer in seconds."""

    def __init__(self) -> None:
        self.sent = 0
        self.failed = 0
        self.worst = 0.0
        self._lock = threading.Lock()

    def add(self, ok: bool, seconds: float) -> None:
        with self._lock:
            self.sent += 1
            self.failed += not ok
            self.worst = max(self.worst, seconds)

    def __str__(self) -> str:
        return f"{self.sent} requests, {self.failed} failed, the slowest answer took {self.worst:.2f} s"


def pool(inv: Inventory) -> urllib3.HTTPSConnectionPool:
    """Connections to the app host's web server under the site's public name; the lab's own CA is asked."""
    name = inv.web.server_name
    return urllib3.HTTPSConnectionPool(
        inv.web.resolve[name],
        server_hostname=name,
        assert_hostname=name,
        ca_certs=inv.web.ca_file,
        headers={"Host": name, "Connection": "close", "User-Agent": "hkn-migration-load"},
        timeout=10.0,
        retries=False,
        maxsize=WORKERS,
    )


def ask(site: urllib3.HTTPSConnectionPool, path: str, pause: float, tally: Tally, stop: threading.Event) -> None:
    """Ask for `path`, every `pause` seconds, until `stop`."""
    while not stop.wait(pause):
        began = time.monotonic()
        try:
            ok = site.request("GET", path, redirect=False).status < 400
        except urllib3.exceptions.HTTPError:
            ok = False
        tally.add(ok, time.monotonic() - began)


def main(arguments: list[str]) -> int:
    """Ask until a signal comes."""
    target = arguments[0] if arguments else "lab"
    rate = float(arguments[1]) if len(arguments) > 1 else 10.0
    if target.partition(":")[0] != "lab":
        raise UsageError(f"load: {target} is not a lab: load is put on labs only")
    inv = load(target)
    stop, tally, site = threading.Event(), Tally(), pool(inv)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    asking = [
        threading.Thread(target=ask, args=(site, inv.web.probe_path, WORKERS / rate, tally, stop)) for _ in range(WORKERS)
    ]
    for thread in asking:
        thread.start()
    stop.wait()
    for thread in asking:
        thread.join()
    print(f"load: {tally}", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (ConvergeError, InventoryError) as error:
        sys.exit(f"{error}")
