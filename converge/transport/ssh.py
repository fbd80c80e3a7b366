"""Hosts over ssh: strict host keys, time limits everywhere, nothing ever run twice."""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
import time
from dataclasses import replace

from paramiko import Channel, Transport
from paramiko.ssh_exception import ChannelException, SSHException

from converge.errors import ConnectionLost
from converge.transport.channel import Exchange
from converge.transport.hop import Hop
from converge.transport.link import TIMED_OUT, Completed, NoPosixShell, Unreached, invocation
from converge.transport.stream import ChannelStream

PARALLEL = 4
"""Execs at the same time: sshd allows 10 sessions (MaxSessions), and closed ones count for a while."""
REFUSAL_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds before asking again for a session that was refused: none was opened, so nothing is repeated."""
CHANNEL_LIMIT = 20.0
KEEPALIVE = 15
SHOWN = 300
"""Characters, at most, of what a login shell said instead of running a script."""
CSH = (b"Unmatched '''.", b"Unmatched '.", b": Event not found.")
"""What csh says of a script whose quotes it cannot read, of which it has run nothing."""


class SshLink:
    """An open connection; made by ``connect``."""

    def __init__(self, name: str, chain: list[Hop]) -> None:
        self.name = name
        self.way, self.fingerprint, self.login = chain[-1].way, chain[-1].fingerprint, chain[-1].login
        self.asks_again = tuple(question for hop in chain for question in hop.asks_again)
        """What a further connection would ask the person for, as the answers are good for once."""
        self._transport: Transport = chain[-1].transport
        self._transport.set_keepalive(KEEPALIVE)
        self._chain = chain
        self._slots = threading.BoundedSemaphore(PARALLEL)
        self._mark = f"::{secrets.token_hex(8)}"
        """What every script says first, so that its answer is told from what a login shell prints before."""

    @property
    def alive(self) -> bool:
        """Whether the connection stands, as far as this side knows."""
        return self._transport.is_active()

    def exec(self, script: str, *, limit: float, stdin: bytes = b"") -> Completed:
        """See ``Link.exec``. A script that is cut off may go on running there: closing a channel stops nobody."""
        call = invocation(self._marked(script), stdin)
        with self._slots:
            done = Exchange(self.name, self._channel(), call, limit).complete()
        # A start-up file may lead both outputs to one place, or through a terminal.
        began = re.search(rb"%s\r?\n" % self._mark.encode(), done.out)
        second = re.compile(rb"%s-err\r?\n" % self._mark.encode())
        if began:
            out, err = done.out[began.end() :], second.split(done.err, maxsplit=1)[-1]
            return replace(done, out=second.sub(b"", out, count=1), err=err)
        if done.rc == TIMED_OUT:
            return replace(done, out=b"")
        raise self._not_run(done)

    def _not_run(self, done: Completed) -> Unreached:
        said = (done.err.strip() or done.out.strip()).decode("utf-8", "replace")[-SHOWN:]
        if done.rc == 1 and not done.out and done.err.rstrip().endswith(CSH):
            return NoPosixShell(self.name, said.splitlines()[-1])
        seen = f"its login shell ended with status {done.rc} without running what it was sent"
        return Unreached(
            self.name,
            "session",
            f"{seen}, and said {said!r}" if said else seen,
            "Look at the account's login shell there (`getent passwd`) and at its start-up files (.bashrc and the like).",
        )

    def _marked(self, script: str) -> str:
        return f"echo {self._mark}; echo {self._mark}-err >&2\n{script}"

    def talk(self, script: str) -> ChannelStream:
        """See ``Talks.talk``; it has a channel of its own, beside those of ``exec``."""
        return ChannelStream(self._channel(), invocation(self._marked(script), b"").talk, f"{self._mark}\n".encode())

    def close(self) -> None:
        """End the connection, and those to jump hosts."""
        for hop in reversed(self._chain):
            with contextlib.suppress(Exception):
                hop.close()

    def _channel(self) -> Channel:
        for pause in (*REFUSAL_PAUSES, None):
            began = time.monotonic()
            try:
                return self._transport.open_session(timeout=CHANNEL_LIMIT)
            except ChannelException as problem:
                if pause is None:
                    seen = f"it refuses another session ({problem.text})"
                    mend = "Close other connections of this account there, or ask for a higher MaxSessions."
                    raise Unreached(self.name, "session", seen, mend) from None
                time.sleep(pause)
            except (SSHException, EOFError, OSError) as problem:
                if self.alive and pause is not None and time.monotonic() - began < CHANNEL_LIMIT:
                    # paramiko keeps one exception for all threads: another one took our refusal, and it is not told why.
                    time.sleep(pause)
                    continue
                if self.alive:
                    seen = f"it opened no session within {CHANNEL_LIMIT:g} s"
                    raise Unreached(self.name, "session", seen, "Look at the host's load, and try again.") from None
                raise ConnectionLost(
                    f"{self.name}: the connection was lost before a script could be sent ({problem or 'closed'}); "
                    "the script did not start. Connect again."
                ) from None
        raise AssertionError("unreachable")
