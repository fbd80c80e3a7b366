"""Ids as people type them."""

from __future__ import annotations

import pytest

from converge.checking.selection import ids_in, selected
from converge.errors import UsageError

KNOWN = ["UNIT-1", "UNIT-2", "WEB-1", "UNIT-10"]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["unit-2"], ["UNIT-2"]),
        (["WEB-1", "Unit-1"], ["WEB-1", "UNIT-1"]),
        (["unit"], ["UNIT-1", "UNIT-2", "UNIT-10"]),
        (["UNIT-10", "UNIT"], ["UNIT-10", "UNIT-1", "UNIT-2"]),
        ([], []),
    ],
)
def test_an_id_is_meant_in_any_case_and_a_group_by_its_name(
    words: list[str], meant: list[str]
) -> None:
    assert selected(words, KNOWN) == meant


@pytest.mark.parametrize(
    ("word", "near"),
    [("UNIT-3", "UNIT-"), ("wbe-1", "WEB-1"), ("units", "UNIT"), ("UNIT-", "UNIT")],
)
def test_an_unknown_one_names_the_nearest(word: str, near: str) -> None:
    with pytest.raises(UsageError, match=rf"no statement has the id {word}: did you mean .*{near}"):
        selected([word], KNOWN)


def test_where_nothing_is_near_nothing_is_suggested() -> None:
    with pytest.raises(UsageError, match=r"no statement has the id everything$"):
        selected(["everything"], KNOWN)


def test_ids_in_an_expression_of_pytests() -> None:
    assert ids_in("not unit-1 or test_x or WEB-1 and WEB-7", KNOWN) == ["UNIT-1", "WEB-1"]
