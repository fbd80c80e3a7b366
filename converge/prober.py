"""The prober: asks the site through the web server on the app host while others act, and keeps every answer."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import urlsplit

from converge.record import Outage, Probe
from hosts.schema import Inventory

AGENT = "hkn-migration-prober/1"
PACE = 0.1
SEARCH_PACE = 1.0
TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: when sent and answered (seconds since the epoch), status (0: none), what went wrong, who answered."""

    sent: float
    answered: float
    status: int
    error: str = ""
    release: str = ""
    is_search: bool = False

    @property
    def is_good(self) -> bool:
        """Whether a visitor got what they asked for."""
        return 200 <= self.status < 400


@dataclass(frozen=True, slots=True)
class Road:
    """How requests go: scheme, the address connected to, port, the name asked for."""

    scheme: str
    address: str
    port: int
    name: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.name} at {self.address}:{self.port}"


def road(inv: Inventory) -> Road:
    """The road to the web server of the app host itself, never by the public name, where others limit the rate."""
    name = inv.web.server_name
    urls = [urlsplit(u.url) for u in inv.web.urls]
    mine = next((u for u in urls if u.hostname == name), None)
    scheme = mine.scheme if mine else "http"
    port = (mine.port if mine else None) or (443 if scheme == "https" else 80)
    return Road(scheme, inv.web.resolve.get(name) or inv.app_host.address, port, name)


def summary(url: str, started: float, ended: float, samples: Sequence[Sample]) -> Probe:
    """What the samples say. The longest gap, in seconds, is between two good pages, or between one and the probe's ends."""
    pages = sorted((s for s in samples if not s.is_search), key=lambda s: s.sent)
    searches = [s for s in samples if s.is_search]
    answers = sorted(s.answered for s in pages if s.is_good)
    moments = [started, *answers, ended]
    gap = max((b - a for a, b in pairwise(moments)), default=0.0)
    return Probe(
        url=url,
        started=started,
        ended=ended,
        sent=len(pages),
        failed=sum(not s.is_good for s in pages),
        longest_gap=round(gap, 3),
        outages=outages(pages),
        answered_by=answered_by(pages),
        searches_sent=len(searches),
        searches_failed=sum(not s.is_good for s in searches),
    )


def outages(pages: Sequence[Sample]) -> list[Outage]:
    """Stretches of failed requests, from the first one's sending to the next good answer (or the last failure)."""
    found: list[Outage] = []
    is_open = False
    for sample in pages:
        if sample.is_good:
            if is_open:
                found[-1].end = sample.answered
            is_open = False
        elif is_open:
            found[-1].failed += 1
            found[-1].end = sample.answered
        else:
            found.append(Outage(sample.sent, sample.answered, 1, sample.error or f"status {sample.status}"))
            is_open = True
    return found


def answered_by(pages: Sequence[Sample]) -> list[tuple[float, str]]:
    """When which release began to answer, as far as answers say so."""
    found: list[tuple[float, str]] = []
    for sample in pages:
        if sample.is_good and sample.release and (not found or found[-1][1] != sample.release):
            found.append((sample.answered, sample.release))
    return found


class Direct(http.client.HTTPConnection):
    """A connection to an address, with the name of the site in TLS and in the request."""

    def __init__(self, way: Road, context: ssl.SSLContext | None) -> None:
        super().__init__(way.name, way.port, timeout=TIMEOUT)
        self._way, self._context = way, context

    def connect(self) -> None:
        """Connect to the road's address instead of what the name resolves to."""
        plain = socket.create_connection((self._way.address, self._way.port), TIMEOUT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._context.wrap_socket(plain, server_hostname=self._way.name) if self._context else plain


class Prober:
    """Asks for a page ten times and for a search once a second, from ``start`` to ``stop``; a connection per request."""

    def __init__(self, inv: Inventory) -> None:
        self.way = road(inv)
        self.page, self.search = inv.web.probe_path, inv.web.search_path
        self._context = ssl.create_default_context(cafile=inv.web.ca_file) if self.way.scheme == "https" else None
        self._samples: list[Sample] = []
        self._quit = threading.Event()
        self._threads: list[threading.Thread] = []
        self._started = 0.0

    def start(self) -> str:
        """Begin to ask. Returns what keeps it from measuring, empty if nothing does."""
        first = self.ask(self.page, is_search=False)
        self._started = time.time()
        if first.status == 0:
            return f"the site's web server could not be asked directly ({self.way}): {first.error}: downtime is not measured"
        for path, pace, is_search in ((self.page, PACE, False), (self.search, SEARCH_PACE, True)):
            thread = threading.Thread(target=self._loop, args=(path, pace, is_search), name="prober", daemon=True)
            thread.start()
            self._threads.append(thread)
        return ""

    def stop(self) -> Probe:
        """Stop asking; what was seen."""
        self._quit.set()
        for thread in self._threads:
            thread.join(TIMEOUT + 1)
        return summary(f"{self.way.scheme}://{self.way.name}{self.page}", self._started, time.time(), list(self._samples))

    def ask(self, path: str, *, is_search: bool) -> Sample:
        """One request on a connection of its own."""
        sent = time.time()
        connection = Direct(self.way, self._context)
        try:
            connection.request("GET", path, headers={"Host": self.way.name, "User-Agent": AGENT, "Connection": "close"})
            answer = connection.getresponse()
            answer.read()
            release = answer.getheader("X-Hkn-Release") or ""
            error = "" if answer.status < 400 else f"status {answer.status}"
            return Sample(sent, time.time(), answer.status, error, release, is_search)
        except (OSError, http.client.HTTPException) as problem:
            return Sample(sent, time.time(), 0, f"{type(problem).__name__}: {problem}", "", is_search)
        finally:
            connection.close()

    def _loop(self, path: str, pace: float, is_search: bool) -> None:
        due = time.monotonic()
        while not self._quit.is_set():
            self._samples.append(self.ask(path, is_search=is_search))
            # After a slow answer the missed beats are not made up for: that would be a burst.
            due = max(due + pace, time.monotonic() - pace)
            self._quit.wait(max(0.0, due - time.monotonic()))
