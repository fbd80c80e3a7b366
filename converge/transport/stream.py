"""A conversation with one process on a host, for what must end when we do."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from typing import Protocol, runtime_checkable

from paramiko import Channel


class Stream(Protocol):
    """Standard input and output of one process. When we go, it reads the end of its input."""

    def send(self, data: bytes) -> None:
        """Write to its input.

        Raises:
            OSError: it has ended, or the connection has.
        """
        ...

    def receive(self, timeout: float) -> bytes:
        """What it wrote next, empty at its end.

        Raises:
            TimeoutError: nothing came within `timeout` seconds.
        """
        ...

    def close(self) -> None:
        """End its input, and wait for it a moment."""
        ...


@runtime_checkable
class Talks(Protocol):
    """A link that can hold a conversation."""

    def talk(self, script: str) -> Stream:
        """Start POSIX sh with `script`, its standard input being the stream."""
        ...


class ChannelStream:
    """A stream over an ssh channel; what comes before `mark`, which the process says first, is not its own."""

    def __init__(self, channel: Channel, line: str, mark: bytes) -> None:
        self._channel, self._mark, self._before = channel, mark, b""
        channel.exec_command(line)

    def send(self, data: bytes) -> None:
        """See ``Stream.send``."""
        self._channel.sendall(data)

    def receive(self, timeout: float) -> bytes:
        """See ``Stream.receive``."""
        end = time.monotonic() + timeout
        while self._mark:
            self._channel.settimeout(max(0.01, end - time.monotonic()))
            piece = self._channel.recv(65536)
            _, found, own = (self._before + piece).partition(self._mark)
            if not piece:
                return b""
            self._before = b"" if found else (self._before + piece)[-len(self._mark) :]
            if found:
                self._mark = b""
                if own:
                    return own
        self._channel.settimeout(max(0.01, end - time.monotonic()))
        return self._channel.recv(65536)

    def close(self) -> None:
        """See ``Stream.close``."""
        with contextlib.suppress(Exception):
            self._channel.shutdown_write()
            self._channel.settimeout(5)
            while self._channel.recv(65536):
                pass
        with contextlib.suppress(Exception):
            self._channel.close()


class ProcessStream:
    """A stream to a local process, in a session of its own."""

    def __init__(self, words: list[str]) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, start_new_session=True)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in, self._out = self.process.stdin, self.process.stdout

    def send(self, data: bytes) -> None:
        """See ``Stream.send``."""
        self._in.write(data)
        self._in.flush()

    def receive(self, timeout: float) -> bytes:
        """See ``Stream.receive``."""
        if not select.select([self._out], [], [], timeout)[0]:
            raise TimeoutError(f"nothing came within {timeout:g} s")
        return os.read(self._out.fileno(), 65536)

    def close(self) -> None:
        """See ``Stream.close``."""
        with contextlib.suppress(OSError):
            self._in.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self._out.close()
