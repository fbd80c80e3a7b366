"""Connections that were begun beforehand: taken once, failing as they would have, asking nobody too early."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from converge.errors import HostUnreachable
from converge.transport import abandon, begin, connect
from converge.transport.ahead import likely_address
from tests.sshd import Sshd, keygen, needs_sshd, running


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    keygen(tmp_path / "client_locked", "open sesame")
    with running(tmp_path) as sshd:
        yield sshd
    abandon()


@needs_sshd
def test_it_is_taken_once(sshd: Sshd) -> None:
    begin(sshd.inv, None)
    first, second = connect(sshd.inv, sshd.host), connect(sshd.inv, sshd.host)
    assert first is not second
    for link in (first, second, first):
        assert link.exec("echo it", limit=5).out == b"it\n"
    first.close()
    second.close()


@needs_sshd
def test_it_fails_as_it_would_have(sshd: Sshd) -> None:
    sshd.known_hosts.write_text("")
    begin(sshd.inv, None)
    with pytest.raises(HostUnreachable, match="is not known here"):
        connect(sshd.inv, sshd.host)


@needs_sshd
def test_another_inventory_is_not_served(sshd: Sshd) -> None:
    begin(sshd.inv, None)
    other = sshd.inv.changed({"soak_days": 99})
    link = connect(other, other.app_host)
    assert link.exec("echo it", limit=5).rc == 0
    link.close()


@needs_sshd
def test_nobody_is_asked_before_it_is_wanted(sshd: Sshd) -> None:
    asked: list[str] = []

    def ask(prompt: str, *, echo: bool = False) -> str | None:  # noqa: ARG001
        asked.append(prompt)
        return "open sesame"

    sshd.client(key="client_locked")
    begin(sshd.inv, ask)
    time.sleep(1.0)
    assert not asked
    link = connect(sshd.inv, sshd.host)
    assert len(asked) == 1
    link.close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("Host app\nHostName a.example\nPort 2222\nHost *\nPort 23", ("a.example", 2222)),
        ("Host other\nHostName a.example", ("app", 22)),
        ("Host * !app\nHostName a.example\nHost app\nHostName=b.example", ("b.example", 22)),
        ("Host app\nProxyJump gate\nHostName a.example", None),
        ("Match host app\nHostName a.example", None),
        ("HostName %h.example", None),
        ("Port ssh", None),
    ],
)
def test_the_address_is_guessed_only_where_the_file_is_plain(text: str, address: tuple[str, int] | None) -> None:
    assert likely_address(text, "app", None) == address
