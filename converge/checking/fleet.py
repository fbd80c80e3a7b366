"""Several targets in one session: read at the same time, each judged as soon as its own answers are there. No pytest here.

Threads, not an event loop: the links are paramiko's, which blocks, and a target's thread does nothing but wait for the
network and for its host. What does work here, key exchange and parsing, would hold up a loop as it holds the interpreter.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from queue import SimpleQueue

from converge.checking.session import Chosen, Session

AT_ONCE = 64
"""Targets that are read at the same time at most; the others follow as these are done."""


class Fleet:
    """The sessions of several targets, by the targets' names and in their order."""

    def __init__(self, sessions: Mapping[str, Session]) -> None:
        self.sessions = dict(sessions)
        self.said: dict[str, list[str]] = {name: [] for name in sessions}
        self._read = {name: threading.Event() for name in sessions}
        self._came: SimpleQueue[str] = SimpleQueue()
        self._work: dict[str, Chosen] = {}

    @property
    def has_begun(self) -> bool:
        """Whether anything is being read."""
        return bool(self._work)

    def begin(self, work: Mapping[str, Chosen]) -> None:
        """Start to read for each target what its chosen instances ask for."""
        self._work = dict(work)
        waiting = deque(work)
        # Daemons: a host that never answers must not keep an interrupted session from ending.
        for _ in range(min(AT_ONCE, len(waiting))):
            threading.Thread(target=self._attend, args=(waiting,), daemon=True).start()

    def arrivals(self) -> Iterator[str]:
        """The targets that are being read, each as soon as it has been or cannot be."""
        for _ in self._work:
            yield self._came.get()

    def wait(self, name: str) -> None:
        """Until a target has been read or cannot be."""
        self._read[name].wait()

    def _attend(self, waiting: deque[str]) -> None:
        while True:
            try:
                name = waiting.popleft()
            except IndexError:
                return
            self.sessions[name].attend(self._work[name], self.said[name].append)
            self._read[name].set()
            self._came.put(name)
