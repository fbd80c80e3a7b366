"""The control machine as a link: a local shell."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time

from converge.transport.link import SHELL, TIMED_OUT, Completed, cut_off, invocation
from converge.transport.stream import ProcessStream

LAST_WORDS = 1.0
"""Seconds that output is still read for after everything was killed."""


class LocalLink:
    """Runs scripts on the control machine, each in a process group of its own, which is killed at the limit."""

    def __init__(self) -> None:
        self.name = "control"

    def exec(self, script: str, *, limit: float, stdin: bytes = b"") -> Completed:
        """See ``Link.exec``; nothing of it can be lost here."""
        call = invocation(script, stdin)
        began = time.monotonic()
        # A session of its own: a script's children die with it, and Ctrl-C reaches them through us only.
        process = subprocess.Popen(
            call.words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        try:
            out, err = process.communicate(call.stdin, timeout=limit)
        except subprocess.TimeoutExpired:
            _kill(process)
            out, err = _rest(process)
            return Completed(TIMED_OUT, out, err + cut_off(limit, ""), time.monotonic() - began)
        except BaseException:
            _kill(process)
            raise
        rc = process.returncode
        return Completed(rc if rc >= 0 else 128 - rc, out, err, time.monotonic() - began)

    def talk(self, script: str) -> ProcessStream:
        """See ``Talks.talk``."""
        return ProcessStream([*SHELL, "-c", script])

    def close(self) -> None:
        """Nothing is held open."""


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


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
