"""The prober: asks the site through the web server on the app host while others act, and keeps every answer."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

from converge.checking.record import Outage, Probe
from converge.probe.worker import AGENT, TIMEOUT, Errand, Question, Road, Sample, ask, tls
from hosts.schema import Inventory

__all__ = ["AGENT", "Prober", "Road", "Sample", "questions", "road", "summary"]

TOP = Path(__file__).resolve().parents[2]
SEARCH, SAVE, SLOW = 10, 20, 5
"""So many times seldomer than for pages it asks for what costs the application more."""
SLOW_LIMIT = 60.0


def road(inv: Inventory) -> Road:
    """The road to the web server of the app host itself, never by the public name, where others limit the rate."""
    name = inv.web.server_name
    urls = [urlsplit(u.url) for u in inv.web.urls]
    mine = next((u for u in urls if u.hostname == name), None)
    scheme = mine.scheme if mine else "http"
    port = (mine.port if mine else None) or (443 if scheme == "https" else 80)
    return Road(scheme, inv.web.resolve.get(name) or inv.app_host.address, port, name, inv.web.ca_file)


def questions(inv: Inventory) -> list[Question]:
    """What is asked, and how often; slow pages and saves only where the inventory names one."""
    web, pace = inv.web, 1 / inv.limits.probe_per_second
    found = [Question("page", web.probe_path, pace), Question("search", web.search_path, SEARCH * pace)]
    if web.slow_path:
        found.append(Question("slow", web.slow_path, SLOW * pace, SLOW_LIMIT))
    if web.save_path:
        found.append(Question("save", web.save_path, SAVE * pace))
    return found


def summary(url: str, started: float, ended: float, samples: Sequence[Sample]) -> Probe:
    """What the samples say. The longest gap, in seconds, is between two good pages, or between one and the probe's ends."""
    pages = sorted((s for s in samples if s.kind in {"page", "slow"}), key=lambda s: s.sent)
    searches, saves = ([s for s in samples if s.kind == kind] for kind in ("search", "save"))
    # A slow page is long on its way by itself; who waits for it is not without an answer.
    return Probe(
        url=url,
        started=started,
        ended=ended,
        sent=len(pages),
        failed=sum(not s.is_good for s in pages),
        longest_gap=longest_gap(started, ended, [s for s in pages if s.kind == "page"]),
        outages=outages(pages),
        answered_by=answered_by(pages),
        searches_sent=len(searches),
        searches_failed=sum(not s.is_good for s in searches),
        search_gap=longest_gap(started, ended, searches) if searches else 0.0,
        saves_sent=len(saves),
        saves_failed=sum(not s.is_good for s in saves),
        first_good=next((s.sent for s in pages if s.is_good), None),
    )


def longest_gap(started: float, ended: float, samples: Sequence[Sample]) -> float:
    """Seconds between two good answers, or between one and the probe's ends, at most; that nobody asked is no gap."""
    answers = sorted((s.answered, s.eased) for s in samples if s.is_good)
    moments = [(started, 0.0), *answers, (ended, 0.0)]
    return round(max((b - eased - a for (a, _), (b, eased) in pairwise(moments)), default=0.0), 3)


def outages(pages: Sequence[Sample]) -> list[Outage]:
    """Stretches of failed requests, from the first one's sending to the next good answer (or the last failure)."""
    found: list[Outage] = []
    is_open = False
    for place, sample in enumerate(pages):
        if sample.is_good:
            if is_open:
                # A slow page is answered long after the site answers again.
                found[-1].end = min(each.answered for each in pages[place:] if each.is_good)
            is_open = False
        elif is_open:
            found[-1].failed += 1
            found[-1].end = sample.answered
        else:
            error = sample.error or f"status {sample.status}"
            found.append(Outage(sample.sent, sample.answered, 1, error, sample.answered))
            is_open = True
    return found


def answered_by(pages: Sequence[Sample]) -> list[tuple[float, str]]:
    """When which release began to answer, as far as answers say so: where the inventory names no header, none does."""
    found: list[tuple[float, str]] = []
    for sample in sorted(pages, key=lambda s: s.answered):
        quick = sample.kind == "page"  # a slow page was begun by whom it was asked of, long ago
        if quick and sample.is_good and sample.release and (not found or found[-1][1] != sample.release):
            found.append((sample.answered, sample.release))
    return found


class Prober:
    """Asks from ``start`` to ``stop``, in a process of its own, a connection per request. `log` gets every answer."""

    def __init__(self, inv: Inventory, log: Path | None = None) -> None:
        self.errand = Errand(road(inv), questions(inv), inv.web.release_header)
        self.log, self.measures = log, False
        self._samples: list[Sample] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._asks = threading.Event()
        self._started = 0.0

    def start(self) -> str:
        """Begin to ask. Returns what keeps it from measuring, empty if nothing does."""
        first = self.look()
        self._started = time.time()
        if first.status == 0:
            way = self.errand.road
            return (
                f"the site's web server could not be asked directly ({way}): {first.error}: downtime is not measured, and a "
                "cutover is not looked at from outside, but on the host itself, through its web server"
            )
        try:
            self._begin()
        except OSError as problem:
            return f"the prober could not be started ({problem}): downtime is not measured"
        self.measures = True
        self._asks.wait(2 * TIMEOUT)
        return ""

    def _begin(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "converge.probe.worker"],
            env={**os.environ, "PYTHONPATH": str(TOP)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # Ctrl-C is for us: it goes on asking until we have stopped.
            start_new_session=True,
        )
        assert self._process.stdin
        self._process.stdin.write(self.errand.text() + "\n")
        self._process.stdin.flush()
        self._reader = threading.Thread(target=self._collect, args=(self._process,), name="prober", daemon=True)
        self._reader.start()

    def ease(self, easy: bool) -> None:
        """Ask seldom from now on, or at the usual pace again."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self._process.stdin.write("ease\n" if easy else "go\n")
                self._process.stdin.flush()

    def stop(self) -> Probe:
        """Stop asking; what was seen."""
        ended = time.time()
        if self._process is not None and self._reader is not None:
            assert self._process.stdin
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            self._reader.join(2 * TIMEOUT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(TIMEOUT)
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
        way = self.errand.road
        url = f"{way.scheme}://{way.name}{self.errand.questions[0].path}"
        return summary(url, self._started, ended, list(self._samples))

    def look(self) -> Sample:
        """Ask once for the page, from this process."""
        way = self.errand.road
        try:
            context = tls(way)
        except OSError as problem:
            return Sample(time.time(), time.time(), 0, f"{way.ca_file}: {problem}")
        return ask(way, context, self.errand.questions[0])

    def _collect(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        with contextlib.ExitStack() as stack:
            log = None
            if self.log is not None:
                # Without a place for the log the counts are still kept.
                with contextlib.suppress(OSError):
                    self.log.parent.mkdir(parents=True, exist_ok=True)
                    log = stack.enter_context(self.log.open("w", encoding="utf-8"))
            for line in process.stdout:
                self._samples.append(Sample(**json.loads(line)))
                self._asks.set()
                if log:
                    log.write(line)
