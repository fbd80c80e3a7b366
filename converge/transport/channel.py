"""One exec over one channel: both outputs read at the same time, the input closed, cut off at the limit."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from paramiko import Channel
from paramiko.ssh_exception import SSHException

from converge.errors import ConnectionLost
from converge.transport.link import TIMED_OUT, Completed, Invocation, Unreached, cut_off

CHUNK = 1 << 16
NO_STATUS = 255
DEATH_NOTICE = 0.5
"""Seconds in which a connection that died is known to be dead: channels are told before the transport is marked."""


class Exchange:
    """Runs one invocation over a fresh channel, which it uses up."""

    def __init__(self, host: str, channel: Channel, call: Invocation, limit: float) -> None:
        self.host, self.channel, self.call, self.limit = host, channel, call, limit
        self.expired = threading.Event()
        self.began = time.monotonic()

    def complete(self) -> Completed:
        """Run it and wait for all of the answer. Raises as ``Link.exec`` does."""
        # Closing the channel wakes up everyone who waits on it, whatever for: one clock for request, input and outputs.
        clock = threading.Timer(self.limit, self._expire)
        clock.daemon = True
        clock.start()
        out, err = bytearray(), bytearray()
        try:
            if self._request():
                self._transfer(out, err)
        finally:
            clock.cancel()
            self._close()
        return self._judge(bytes(out), bytes(err))

    def _expire(self) -> None:
        self.expired.set()
        self._close()

    def _close(self) -> None:
        # Over a dead connection the farewell cannot be sent; the channel is closed on this side all the same.
        with contextlib.suppress(OSError, EOFError):
            self.channel.close()

    def _request(self) -> bool:
        """Ask for the exec; False if the limit was over before it was granted."""
        try:
            self.channel.exec_command(self.call.line)
        except (SSHException, EOFError, OSError) as problem:
            if self.expired.is_set():
                return False
            if self._dead():
                raise self._lost() from None
            seen = f"it lets us log in, but runs no command ({problem or 'refused'})"
            raise Unreached(self.host, "session", seen, "Ask for a login shell for the account there.") from None
        return True

    def _transfer(self, out: bytearray, err: bytearray) -> None:
        # A full window of one stream stops the other too, so each has a reader of its own.
        workers = [threading.Thread(target=_drain, args=(self.channel.recv_stderr, err), daemon=True)]
        if self.call.stdin:
            workers.append(threading.Thread(target=self._feed, daemon=True))
        for worker in workers:
            worker.start()
        _drain(self.channel.recv, out)
        for worker in workers:
            worker.join()
        self.channel.status_event.wait()

    def _feed(self) -> None:
        # The clock may close it meanwhile.
        with contextlib.suppress(OSError, EOFError):
            self.channel.sendall(self.call.stdin)
            self.channel.shutdown_write()

    def _judge(self, out: bytes, err: bytes) -> Completed:
        seconds, status = time.monotonic() - self.began, self.channel.exit_status
        if self.expired.is_set():
            if status >= 0:
                note = f"\n[ended, but something it left behind still held its output after {self.limit:g} s]\n"
                return Completed(status, out, err + note.encode(), seconds)
            return Completed(TIMED_OUT, out, err + cut_off(self.limit, "; it may still be running"), seconds)
        if (status < 0 or not self.channel.eof_received) and self._dead():
            raise self._lost(out, err)
        if status < 0:
            return Completed(NO_STATUS, out, err + b"\n[ended by a signal]\n", seconds)
        return Completed(status, out, err, seconds)

    def _dead(self) -> bool:
        transport = self.channel.get_transport()
        end = time.monotonic() + DEATH_NOTICE
        while transport.is_active() and time.monotonic() < end:
            time.sleep(0.02)
        return not transport.is_active()

    def _lost(self, out: bytes = b"", err: bytes = b"") -> ConnectionLost:
        seconds = time.monotonic() - self.began
        return ConnectionLost(
            f"{self.host}: the connection was lost {seconds:.1f} s into a script; whether it ran to its end is unknown, "
            "and it was not repeated. Look at what it was to do before you run it again.",
            out,
            err,
        )


def _drain(receive: Callable[[int], bytes], into: bytearray) -> None:
    with contextlib.suppress(OSError, EOFError):
        while data := receive(CHUNK):
            into += data
