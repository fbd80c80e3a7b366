"""testinfra's own modules (``host.file(...)``, ``host.user(...)``) as readings: their commands go out with all the others.

Which commands a module will send is found by asking it beforehand on a stand-in that answers as Debian would to what
chooses testinfra's classes. A command that was not found so is sent when it is asked for, and counted as a miss.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from converge.errors import Unobservable
from converge.readings.reading import Context, Raw, Reading, Where

T = TypeVar("T")

DEBIAN = {
    "uname -s": "Linux",
    "uname -m": "x86_64",
    "cat /etc/os-release": "ID=debian",
}
"""What chooses testinfra's classes, with what Debian says. Whatever else is asked works and says nothing."""

LOOK_UP = "command -v "
ABSENT = ("test -e /bin/busybox",)
"""What Debian denies, where more would be asked if it did not."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ModuleReading(Reading[T], Generic[T]):
    """An object of testinfra's as a reading's value: `build` makes it, `uses` are the questions that will be put to it."""

    build: Callable[[Any, Context], T]
    uses: Sequence[Callable[[T], Any]]

    def commands(self, context: Context) -> list[str]:
        """The command lines that building and using the object will send to a Debian host, in their order."""
        sent: dict[str, None] = {}
        host = AnswerHost(AnswerBackend(context.at, functools.partial(_as_debian, sent)))
        # testinfra may stumble over an answer that says nothing, in ways of its own: by then it has asked.
        with contextlib.suppress(Exception):
            value = self.build(host, context)
            for use in self.uses:
                with contextlib.suppress(Exception):
                    use(value)
        return list(sent)


def module(
    *uses: Callable[[Any], Any], on: Where = "app"
) -> Callable[[Callable[[Any, Context], T]], ModuleReading[T]]:
    """Make the decorated function ``(testinfra's host, context) -> object`` a reading; a fixture of its name exists.

    `uses` are what statements ask of the object, one question each: ``lambda file: file.mode``.
    """

    def decorate(build: Callable[[Any, Context], T]) -> ModuleReading[T]:
        return ModuleReading(build.__name__, on, None, None, doc=build.__doc__ or "", build=build, uses=uses)

    return decorate


_COMMANDS: dict[tuple[str, Where], Reading[Raw]] = {}


def command(text: str, on: Where) -> Reading[Raw]:
    """One command of testinfra's as a reading of its own; the same object for the same command, so it is asked once."""
    # Targets are read by threads of their own; setdefault gives all of them the one that was first.
    return _COMMANDS.setdefault((text, on), Reading(text, on, lambda _context: text, lambda raw, _context: raw))


def is_command(reading: Reading[Any]) -> bool:
    """Whether a reading is such a command."""
    return _COMMANDS.get((reading.name, reading.on)) is reading


def _as_debian(sent: dict[str, None], text: str) -> Raw:
    sent[text] = None
    if text.startswith(LOOK_UP):
        return Raw(0, f"/usr/bin/{text.removeprefix(LOOK_UP)}", "")
    return Raw(1 if text in ABSENT else 0, DEBIAN.get(text, ""), "")


Answer = Callable[[str], Raw]
"""Answers one command line; raises ``Unobservable`` if it cannot."""


class AnswerBackend(BaseBackend):  # type: ignore[misc]
    """Runs nothing: what testinfra's modules ask for is answered by a function."""

    NAME = "answers"

    def __init__(self, name: str, answer: Answer) -> None:
        super().__init__(hostname=name)
        self.answer = answer

    def run(self, command: str, *args: str, **_kwargs: Any) -> CommandResult:
        """Have a command answered; `args` are quoted into its ``%s``. Raises what the answering function raises."""
        text = self.get_command(command, *args)
        raw = self.answer(text)
        return self.result(raw.rc, self.encode(text), raw.out, raw.err)

    def get_encoding(self) -> str:
        """Known, so that no Python has to be looked for on the host."""
        return "utf-8"


class AnswerHost(Host):  # type: ignore[misc]
    """testinfra's ``Host``, for which a command that did not work is no answer, instead of a wrong state."""

    def run_expect(self, expected: list[int], command: str, *args: str, **kwargs: Any) -> CommandResult:
        """The result of a command.

        Raises:
            Unobservable: its exit status is none of `expected`.
        """
        done = self.run(command, *args, **kwargs)
        if done.rc not in expected:
            text = self.backend.quote(command, *args)
            said = done.stderr.strip() or "it said nothing"
            raise Unobservable(f"{self.backend.hostname}: {text} ended with status {done.rc}: {said}")
        return done

    def check_output(self, command: str, *args: str, **kwargs: Any) -> str:
        """The output of a command without its line's end. Raises ``Unobservable`` if it did not work."""
        return str(self.run_expect([0], command, *args, **kwargs).stdout).rstrip("\r\n")
