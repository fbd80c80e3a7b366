"""The prober's own process: asks for pages, searches, slow pages and saves at a steady pace, and prints each answer.

``python -m converge.probe.worker`` reads its errand, one line of JSON, from standard input, and asks until that input ends:
it does not outlive who sent it, and nothing that goes on there delays it. It imports little, so that it starts at once.
Further lines, ``ease`` and ``go``, say whether it asks seldom or at its pace.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from hosts.tool import NAME

AGENT = f"{NAME}-prober/1"
TIMEOUT = 5.0
EASE = 10.0
"""So many times longer are the pauses while nothing acts."""
Kind = Literal["page", "slow", "search", "save"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: when sent and answered (seconds since the epoch), status (0: none), what went wrong, who answered.

    `eased` is how many seconds longer than at its pace nobody had asked.
    """

    sent: float
    answered: float
    status: int
    error: str = ""
    release: str = ""
    kind: Kind = "page"
    eased: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether a visitor got what they asked for."""
        return 200 <= self.status < 400


@dataclass(frozen=True, slots=True)
class Road:
    """How requests go: scheme, the address connected to, port, the name asked for, the authority that is trusted."""

    scheme: str
    address: str
    port: int
    name: str
    ca_file: str | None = None

    def __str__(self) -> str:
        return f"{self.scheme}://{self.name} at {self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked again and again, every `pace` seconds; one at a time, for at most `limit` seconds."""

    kind: Kind
    path: str
    pace: float
    limit: float = TIMEOUT

    @property
    def method(self) -> str:
        """GET, or POST for what changes something."""
        return "POST" if self.kind == "save" else "GET"


@dataclass(frozen=True, slots=True)
class Errand:
    """The road, the questions, and the header of an answer that names who answered (empty: none does)."""

    road: Road
    questions: list[Question] = field(default_factory=list)
    header: str = ""

    @classmethod
    def parse(cls, text: str) -> Errand:
        """From the line that ``text`` made."""
        data = json.loads(text)
        return cls(Road(**data["road"]), [Question(**each) for each in data["questions"]], data["header"])

    def text(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


class Direct(http.client.HTTPConnection):
    """A connection to an address, with the name of the site in TLS and in the request."""

    def __init__(self, way: Road, context: ssl.SSLContext | None, limit: float) -> None:
        super().__init__(way.name, way.port, timeout=limit)
        self._way, self._context, self._limit = way, context, limit

    def connect(self) -> None:
        """Connect to the road's address instead of what the name resolves to."""
        plain = socket.create_connection((self._way.address, self._way.port), self._limit)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._context.wrap_socket(plain, server_hostname=self._way.name) if self._context else plain


def tls(way: Road) -> ssl.SSLContext | None:
    """What the road's certificates are judged by."""
    return ssl.create_default_context(cafile=way.ca_file) if way.scheme == "https" else None


def ask(way: Road, context: ssl.SSLContext | None, question: Question, header: str = "") -> Sample:
    """One request on a connection of its own; who answered is what the `header` says."""
    sent = time.time()
    connection = Direct(way, context, question.limit)
    try:
        headers = {"Host": way.name, "User-Agent": AGENT, "Connection": "close"}
        connection.request(question.method, question.path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        release = (answer.getheader(header) if header else "") or ""
        error = "" if answer.status < 400 else f"status {answer.status}"
        return Sample(sent, time.time(), answer.status, error, release, question.kind)
    except (OSError, http.client.HTTPException) as problem:
        return Sample(sent, time.time(), 0, f"{type(problem).__name__}: {problem}", "", question.kind)
    finally:
        connection.close()


def keep_asking(
    errand: Errand, question: Question, over: threading.Event, easy: threading.Event, guard: threading.Lock
) -> None:
    """Ask one question until `over`, seldom while `easy`; each answer is a line on standard output."""
    context = tls(errand.road)
    due, eased = time.monotonic(), 0.0
    while not over.is_set():
        line = json.dumps(asdict(replace(ask(errand.road, context, question, errand.header), eased=eased)))
        with guard:
            print(line, flush=True)
        # After a slow answer the missed beats are not made up for: that would be a burst.
        eased = question.pace * (EASE - 1) if easy.is_set() else 0.0
        due = max(due + question.pace, time.monotonic() - question.pace) + eased
        over.wait(max(0.0, due - time.monotonic()))


def main() -> None:
    """Ask until standard input ends."""
    errand = Errand.parse(sys.stdin.readline())
    over, easy, guard = threading.Event(), threading.Event(), threading.Lock()
    threads = [threading.Thread(target=keep_asking, args=(errand, each, over, easy, guard)) for each in errand.questions]
    for thread in threads:
        thread.start()
    for word in sys.stdin:
        (easy.set if word.strip() == "ease" else easy.clear)()
    over.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
