"""testinfra over our own link."""

from __future__ import annotations

from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult

from converge.transport.link import Completed, Link

LIMIT = 30.0
"""Seconds that one command of testinfra's modules may take."""


class LinkBackend(BaseBackend):  # type: ignore[misc]
    """Runs what testinfra's modules ask for over a link."""

    NAME = "link"

    def __init__(self, link: Link, limit: float = LIMIT) -> None:
        super().__init__(hostname=link.name)
        self.link, self.limit = link, limit

    def run(self, command: str, *args: str, **_kwargs: Any) -> CommandResult:
        """Run a command; `args` are quoted into its ``%s``. Raises what ``Link.exec`` raises."""
        text = self.get_command(command, *args)
        done = self.answer(text)
        return self.result(done.rc, self.encode(text), done.out, done.err)

    def answer(self, command: str) -> Completed:
        """The seam for a backend that knows some answers already."""
        return self.link.exec(command, limit=self.limit)

    def get_encoding(self) -> str:
        """Known, so that no Python has to be looked for on the host."""
        return "utf-8"

    def decode(self, data: bytes) -> str:
        """Undecodable bytes are kept as ``\\xNN``: a log line in Latin-1 must not break a reading."""
        return data.decode("utf-8", "backslashreplace")
