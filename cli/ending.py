"""How a command of ours ends: what was foreseen in one message, all else as a defect, each with its exit code.

Where standard output takes nothing, the command goes on: what it does on a host must not stop in the middle for that.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, TextIO

import typer

from converge.errors import ConvergeError, Exit
from converge.text.masking import mask
from hosts.errors import InventoryError

SHOWN = 4
"""Calls of a defect's traceback that are shown, the last ones."""

CTRL_C = 130
"""What the library makes of it, as a shell does; none of our commands ends so."""


class Output:
    """Standard output. When it cannot be written to, `problem` says why, and what would still be said is dropped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.problem: OSError | None = None

    def write(self, text: str) -> int:
        """Write, or drop it."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush, or drop it."""
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as problem:
            self.problem = self.problem or problem
            # What is buffered is written once more when the process ends, and would fail again.
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)


def ended(program: str, command: Callable[[], object]) -> int:
    """Run a command line; the exit code. `program` is what its messages begin with."""
    open_streams()
    output = Output(sys.stdout)
    with contextlib.redirect_stdout(output):
        code = _code(program, command)
        output.flush()
    # Who reads only the beginning (head, less) has what was wanted.
    if output.problem is None or isinstance(output.problem, BrokenPipeError):
        return code
    lost = f"standard output cannot be written to ({output.problem.strerror}): what was to be said there is lost"
    tell(f"{program}: {lost}; the command itself ended with {code}")
    return code or int(Exit.USAGE)


def open_streams() -> None:
    """Lead standard streams that are closed nowhere, before the next file or connection is opened in the place of one."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(nowhere, True)  # the lab takes this process's place
            setattr(sys, name, os.fdopen(nowhere, "w" if number else "r", encoding="utf-8"))


def tell(text: str) -> None:
    """Say something on standard error, if that can be."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _code(program: str, command: Callable[[], object]) -> int:
    try:
        code = command()
    except typer.Exit as end:
        code = end.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return int(Exit.INTERRUPTED)
    except (ConvergeError, InventoryError) as problem:
        tell(f"{program}: {problem}")
        return int(getattr(problem, "exit_code", Exit.USAGE))
    except Exception as problem:
        if hasattr(problem, "show") and hasattr(problem, "format_message"):  # the library's own, as for unknown options
            if problem.format_message():  # empty where the help has just been printed
                problem.show()
            return int(Exit.USAGE)
        return _defect(program, problem)
    except SystemExit as end:
        if isinstance(end.__context__, OSError):  # the library takes every broken pipe for standard output's, which is ours
            return _defect(program, end.__context__)
        raise
    if code == CTRL_C:
        return int(Exit.INTERRUPTED)
    return int(code) if isinstance(code, int) else int(Exit.HOLDS)


def _defect(program: str, problem: Exception) -> int:
    """Say of a failure that nobody foresaw what it was, and the end of the way to it."""
    way = "".join(traceback.format_exception(problem, limit=-SHOWN)).rstrip()
    first = f"{program}: a defect of this program: {type(problem).__name__}: {problem}"
    tell(mask(f"{first}\nPlease report it, with these lines:\n{way}"))
    return int(Exit.INTERNAL)
