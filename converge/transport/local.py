"""The control machine as a link: a local shell."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from converge.transport.link import TIMED_OUT, Completed, cut_off, invocation
from converge.transport.stream import ProcessStream

FAREWELL = 5.0
"""Seconds that what is not wanted any more has to clean up."""
LAST_WORDS = 1.0
"""Seconds that output is still read for after everything was killed."""


class LocalLink:
    """Runs scripts on the control machine, each in a process group of its own, which is killed at the limit."""

    def __init__(self) -> None:
        self.name = "control"

    def exec(self, script: str, *, limit: float, stdin: bytes = b"") -> Completed:
        """See ``Link.exec``; nothing of it can be lost here."""
        return Running(script, stdin).complete(limit)

    def talk(self, script: str) -> ProcessStream:
        """See ``Talks.talk``."""
        return ProcessStream(["/bin/sh", "-c", script])

    def close(self) -> None:
        """Nothing is held open."""


class Running:
    """One script that is going on here, in a session of its own: Ctrl-C reaches it through us only."""

    def __init__(self, script: str, stdin: bytes = b"") -> None:
        call = invocation(script, stdin)
        self._stdin, self._began = call.stdin, time.monotonic()
        self._process = subprocess.Popen(
            call.words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )

    def complete(self, limit: float) -> Completed:
        """See ``Link.exec``; the limit counts from when it was started."""
        process = self._process
        try:
            out, err = process.communicate(self._stdin, timeout=max(0.0, self._began + limit - time.monotonic()))
        except subprocess.TimeoutExpired:
            _kill(process)
            out, err = _rest(process)
            return Completed(TIMED_OUT, out, err + cut_off(limit, ""), time.monotonic() - self._began)
        except BaseException:
            _kill(process)
            raise
        rc = process.returncode
        return Completed(rc if rc >= 0 else 128 - rc, out, err, time.monotonic() - self._began)

    def end(self) -> None:
        """Nobody wants its answer: end what it started, so that it can clean up, and wait until it has."""
        process = self._process
        # timeout(1) leads a group of its own, and hands on what it is sent; if the group had it too, the second one would
        # hit what cleans up. The shell around it ends when it has.
        leaders = _groups(process.pid) - {process.pid}
        for leader in leaders:
            with contextlib.suppress(ProcessLookupError):
                os.kill(leader, signal.SIGTERM)
        if not leaders:
            _send(process.pid, signal.SIGTERM)
        try:
            process.communicate(timeout=FAREWELL)
        except subprocess.TimeoutExpired:
            for group in _groups(process.pid) | {process.pid}:
                _send(group, signal.SIGKILL)
            _rest(process)


def _groups(session: int) -> set[int]:
    """The process groups of a session, as far as the system tells."""
    found: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            _state, _parent, group, its = stat.read_text().rpartition(")")[2].split()[:4]
            if int(its) == session:
                found.add(int(group))
    return found


def _send(group: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, what)


def _kill(process: subprocess.Popen[bytes]) -> None:
    _send(process.pid, signal.SIGKILL)


def _rest(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """Output so far; a child that left the group may hold the pipes for ever, so not until their end."""
    try:
        return process.communicate(timeout=LAST_WORDS)
    except subprocess.TimeoutExpired as late:
        process.wait()  # itself it is dead: it could not leave its own group
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()
        return late.stdout or b"", late.stderr or b""
