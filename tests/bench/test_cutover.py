"""What the bench of the cutover makes of its record."""

from __future__ import annotations

import json

import pytest

from bench.cutover import WAYS, Run, asked, complaints, counted, needed, table
from bench.load import question


def line(answered: float, status: int = 200, kind: str = "page") -> str:
    return json.dumps({"sent": answered, "answered": answered, "status": status, "kind": kind})


def test_a_gap_is_between_good_pages_and_searches_are_counted_apart() -> None:
    run = counted("switch", [line(1), line(2, 502), line(3, 200, "slow"), line(3.5, 500, "search")], 10)
    assert run == Run("switch", 3, 1, 1, 1, 2.0, 10)


def test_a_site_that_does_not_come_back_has_a_gap_to_the_end() -> None:
    assert counted("brief", [line(1), line(2), line(9, 502)], 10).gap == 7.0


def test_a_way_without_loss_is_measured_by_booting_aside() -> None:
    quiet = Run("aside", 100, 0, 1, 0, 0.5, 20)
    assert complaints([quiet, Run("switch", 100, 0, 1, 0, 0.9, 20), Run("brief", 100, 50, 1, 0, 5, 20)]) == []
    assert len(complaints([quiet, Run("switch", 100, 1, 1, 0, 0.9, 20), Run("rename", 100, 0, 1, 0, 1.1, 20)])) == 2


def test_every_way_has_its_row() -> None:
    assert "switch      2       200       1" in table([Run("switch", 100, n, 5, 0, 0.5, 20) for n in (0, 1)])


def test_slow_pages_and_searches_are_among_the_requests() -> None:
    assert {question(n)[0] for n in range(200)} == {"page", "slow", "search"}


def test_what_a_cutover_needs_is_known() -> None:
    assert {"DEP-1", "SOLR-3", "UNIT-1"} <= set(needed("UNIT-5"))


def test_only_ways_that_there_are_are_measured() -> None:
    assert asked([]).ways == list(WAYS)
    assert asked(["switch", "--rounds", "2"]).ways == ["switch"]
    for words in (["sideways"], ["--rounds", "0"]):
        with pytest.raises(SystemExit):
            asked(words)
