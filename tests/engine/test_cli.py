"""``python -m converge`` from its command line to its exit code."""

from __future__ import annotations

import sys

import pytest

import hosts.loader
from converge import cli
from converge.errors import Exit, HostUnreachable
from converge.transport import Ask, Link
from hosts.schema import Host, Inventory


def typed(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit code of a command line."""
    monkeypatch.setattr(sys, "argv", ["converge", *words])
    return cli.main()


@pytest.mark.parametrize("words", [("runs",), ("show", "R0"), ("rollback", "R0"), ("purge",)])
def test_whoever_is_at_the_terminal_is_asked_for_what_the_login_needs(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    asks: list[Ask | None] = []

    def person(_prompt: str, *, echo: bool = False) -> str | None:  # noqa: ARG001
        return None

    def connect(_inv: Inventory, _host: Host, *, ask: Ask | None = None) -> Link:
        asks.append(ask)
        raise HostUnreachable("new: no route")

    monkeypatch.setattr(hosts.loader, "load", lambda _target: inventory)
    monkeypatch.setattr(cli, "terminal", lambda: person)
    monkeypatch.setattr(cli, "connect", connect)
    assert typed(monkeypatch, *words) == Exit.UNREACHABLE
    assert asks == [person]
