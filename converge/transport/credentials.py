"""What a person answered at a login, for the next login of the same session.

A step that puts itself back unless it is confirmed is confirmed over a new connection, within a minute. Who gave a password
for the first one may not be there for the second. It is kept in this process's memory, and nowhere else: it is not written,
shown or logged, and ends with the process.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from paramiko import PKey

PASSWORD = re.compile(r"\s*(\S+'s )?password( for \S+)?\s*:?\s*", re.IGNORECASE)
"""Questions of a host that are answered the same the next time. A code is not: it works once."""


@dataclass(frozen=True, slots=True)
class Whom:
    """Who asks: a machine is the one that has proven to have this key, whatever its address leads to."""

    user: str
    at: str
    fingerprint: str


class Remembered:
    """Answers by who asked for what, and unlocked keys. It never shows what it holds."""

    def __init__(self) -> None:
        self._answers: dict[tuple[Whom, str], str] = {}
        self._keys: dict[tuple[Path, bytes], PKey] = {}
        self._wanting: set[Whom] = set()

    def answer(self, whom: Whom, question: str) -> str | None:
        """What was answered to this, if it was accepted."""
        return self._answers.get((whom, question))

    def suffices(self, whom: Whom) -> bool:
        """Whether a login to this machine may be tried with what it was answered, and nobody to ask."""
        return whom not in self._wanting and any(known == whom for known, _ in self._answers)

    def wants_person(self, whom: Whom) -> None:
        """Keep that it asked for what nobody can answer beforehand."""
        self._wanting.add(whom)

    def keep(self, whom: Whom, question: str, answer: str) -> None:
        """Keep an answer that was accepted."""
        self._answers[whom, question] = answer

    def drop(self, whom: Whom, question: str) -> None:
        """Forget an answer that was refused."""
        self._answers.pop((whom, question), None)

    def key(self, file: Path) -> PKey | None:
        """The key that was unlocked, if the file is still the same."""
        return self._keys.get((file, _content(file)))

    def keep_key(self, file: Path, key: PKey) -> None:
        """Keep a key that a passphrase unlocked."""
        self._keys[file, _content(file)] = key


REMEMBERED = Remembered()
"""This session's."""


def is_lasting(question: str, *, echo: bool) -> bool:
    """Whether the answer to a host's question may be given again."""
    return not echo and bool(PASSWORD.fullmatch(question))


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
