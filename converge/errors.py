"""Exit codes and the named errors of the engine.

Every error that a user can meet derives from ``ConvergeError``; its message says what was seen, where, and what to do.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes: 0 to 5 as pytest has them (``pytest.ExitCode``), from 10 on our own."""

    HOLDS = 0
    FAILS = 1
    INTERRUPTED = 2
    INTERNAL = 3
    USAGE = 4
    NOTHING_RAN = 5
    LOCK_HELD = 10
    STATE_MOVED = 11
    ROLLED_BACK = 12
    UNKNOWN = 13
    UNREACHABLE = 14
    PUBLISHING_FAILED = 15
    DECLINED = 16


RANK = (Exit.INTERNAL, Exit.INTERRUPTED, Exit.UNKNOWN, Exit.ROLLED_BACK, Exit.STATE_MOVED, Exit.FAILS)
"""Of several that are true of a run the first is told. That something held before and does not any more comes before
STATE_MOVED: who serves now comes before all that follows from it, and what is broken before what was not done."""


def comes_before(code: Exit, other: Exit) -> bool:
    """Whether `code` is told where both are true of a run."""
    return RANK.index(code) < RANK.index(other)


class ConvergeError(Exception):
    """A foreseen failure: shown as one message, without a traceback, ending the session with ``exit_code``."""

    exit_code: Exit = Exit.USAGE


class UsageError(ConvergeError):
    """Flags or definitions that make no sense together."""


class HostUnreachable(ConvergeError):
    """A host of the target could not be connected to or logged in to."""

    exit_code = Exit.UNREACHABLE


class ConnectionLost(ConvergeError):
    """The connection ended during an exec: what became of the command is unknown, and it is never repeated.

    `out` and `err` are what it had said by then.
    """

    exit_code = Exit.UNKNOWN

    def __init__(self, message: str, out: bytes = b"", err: bytes = b"") -> None:
        super().__init__(message)
        self.out, self.err = out, err


class LockHeld(ConvergeError):
    """Another run holds the target's lock."""

    exit_code = Exit.LOCK_HELD


class StateMoved(ConvergeError):
    """A precondition did not hold any more just before the act."""

    exit_code = Exit.STATE_MOVED


class Declined(ConvergeError):
    """The person at the terminal said no."""

    exit_code = Exit.DECLINED


class Unobservable(Exception):
    """A reading could not be made: says nothing about the state, is never a pass and never a remedy's cue."""


class TooYoung(Unobservable):
    """A process has not run long enough to be called stable; it is read again in `seconds_left` seconds."""

    def __init__(self, what: str, seconds_left: float) -> None:
        super().__init__(f"{what}: too young to be judged, {seconds_left:.0f} s more are needed")
        self.seconds_left = seconds_left


class NotAllowed(UsageError):
    """A step asks for something that no step may do; nothing of it was run."""
