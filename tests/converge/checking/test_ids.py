"""Ids of checks and runs."""

from __future__ import annotations

import time

from converge.checking.session import new_id


def test_ids_stand_in_the_order_of_time_within_a_second_too() -> None:
    ids = []
    for _ in range(30):
        ids.append(new_id())
        time.sleep(0.0015)
    assert ids == sorted(ids)
