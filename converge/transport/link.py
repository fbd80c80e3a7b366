"""What every link promises, and how a script is handed to a shell."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Literal, Protocol

from converge.errors import HostUnreachable, UsageError

ARGUMENT_LIMIT = 100_000
"""Bytes that a script may have as one argument: Linux refuses arguments of 128 KiB (MAX_ARG_STRLEN)."""

TIMED_OUT = 124
"""Exit status of an exec that was cut off at its limit, as timeout(1) has it."""

Stage = Literal["configuration", "name", "route", "banner", "host key", "login", "session"]
"""How far a connection came before it failed."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What an exec left: exit status, both outputs, seconds. 124 means cut off at its limit, 128+N ended by signal N."""

    rc: int
    out: bytes
    err: bytes
    seconds: float


class Link(Protocol):
    """A way to run scripts on one machine; four execs may run at the same time from different threads."""

    name: str
    """The host's name, or ``control``."""

    def exec(self, script: str, *, limit: float, stdin: bytes = b"") -> Completed:
        """Run POSIX sh once, with `stdin` and then end of file on its input, for at most `limit` seconds.

        Raises:
            ConnectionLost: the connection ended before the answer was complete; what became of the script is unknown.
            HostUnreachable: the host is connected but runs no command for us; the script did not start.
        """
        ...

    def close(self) -> None:
        """End the connection; running scripts are not waited for."""
        ...


class Ask(Protocol):
    """Asks the person at the terminal."""

    def __call__(self, prompt: str, *, echo: bool = False) -> str | None:
        """The answer, or None if the person gave none."""
        ...


class Unreached(HostUnreachable):
    """A connection that failed: at which stage, what was seen, and the one thing that mends it."""

    def __init__(self, host: str, stage: Stage, seen: str, mend: str) -> None:
        super().__init__(f"{host}: {seen}\n  {mend}")
        self.host, self.stage, self.seen, self.mend = host, stage, seen, mend


class NoPosixShell(Unreached):
    """The account's login shell cannot be given a script; none of it ran."""

    def __init__(self, host: str, said: str) -> None:
        mend = "Ask for a POSIX login shell (sh, bash, dash, ksh, zsh) for the account there."
        super().__init__(host, "session", f"its login shell is no POSIX shell: it answered {said!r}, as csh does", mend)


@dataclass(frozen=True, slots=True)
class Invocation:
    """How a script gets to a shell: the command's words, and what goes to its standard input."""

    words: tuple[str, ...]
    stdin: bytes

    @property
    def line(self) -> str:
        """One line for a login shell. The channel stays open for as long as we send.

        What is sent on a channel that the host has closed ends the whole connection, and paramiko does not keep the two in
        order. So the end of our input is not needed, or is waited for.
        """
        if self.stdin:
            return f"{shlex.join(self.words)}; cv_status=$?; cat >/dev/null; exit $cv_status"
        return f"{self.talk} </dev/null"

    @property
    def talk(self) -> str:
        """The same for a conversation: the login shell is replaced, and the input is the script's."""
        return f"exec {shlex.join(self.words)}"


UNSET = ("POSIXLY_CORRECT", "GREP_OPTIONS", "GREP_COLORS", "LS_COLORS", "LS_OPTIONS", "TIME_STYLE", "TZ", "CDPATH", "ENV")
"""What a login shell's start-up files may set by which standard tools answer otherwise.

With the first, options after a name are names (getopt(3)); IFS needs no mention, as a shell sets it as it starts.
"""
SHELL = ("/usr/bin/env", *(word for name in UNSET for word in ("-u", name)), "/bin/sh")


def invocation(script: str, stdin: bytes) -> Invocation:
    """A script as an argument, or over standard input if it is too long for one.

    Raises:
        UsageError: it is too long for an argument and standard input is taken.
    """
    words = (*SHELL, "-c", script)
    # Quoting may lengthen a script a lot; it is the quoted form that has to fit.
    if len(shlex.join(words).encode()) <= ARGUMENT_LIMIT:
        return Invocation(words, stdin)
    if stdin:
        raise UsageError(
            f"a script of {len(script)} characters is too long for an argument and cannot come over standard input, "
            "which has other data: shorten the script or send the data in several execs"
        )
    return Invocation((*SHELL, "-s"), script.encode())


def cut_off(limit: float, where: str) -> bytes:
    """The note in the error output of an exec that was cut off."""
    return f"\n[cut off after its limit of {limit:g} s{where}]\n".encode()
