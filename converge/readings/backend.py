"""testinfra without a connection of its own: over answers that are known, or that somebody else fetches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from converge.errors import Unobservable
from converge.readings import Raw

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
