"""What the decorator refuses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from converge.checking.statement import REGISTRY, Fails, Severity, require, statement
from converge.errors import UsageError


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    kept = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(kept)


def test_a_sentence_is_required() -> None:
    def it() -> None: ...

    with pytest.raises(UsageError, match="X-1 has no sentence"):
        statement("X-1", severity=Severity.MINOR, seed=["C1"], manual="ask")(it)


@pytest.mark.parametrize(("remedy", "manual"), [(None, None), ("a.b", "ask")])
def test_exactly_one_of_remedy_and_manual(remedy: str | None, manual: str | None) -> None:
    def it() -> None:
        """It is so."""

    with pytest.raises(UsageError, match="exactly one"):
        statement("X-1", severity=Severity.MINOR, seed=["C1"], remedy=remedy, manual=manual)(it)


def test_an_id_belongs_to_one_function() -> None:
    def it() -> None:
        """It is so."""

    def other() -> None:
        """It is otherwise."""

    statement("X-1", severity=Severity.MINOR, seed=["C1"], manual="ask")(it)
    with pytest.raises(UsageError, match="already"):
        statement("X-1", severity=Severity.MINOR, seed=["C1"], manual="ask")(other)


def test_a_failure_says_expected_seen_and_where() -> None:
    with pytest.raises(Fails) as failure:
        require(False, expected="a", seen="b", where="/c", do="type d")
    assert str(failure.value).splitlines() == [
        "expected: a",
        "seen:     b",
        "where:    /c",
        "do:       type d",
    ]
