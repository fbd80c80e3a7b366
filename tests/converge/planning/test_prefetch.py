"""What a remedy asked before is asked at once when it comes to the same part again."""

from __future__ import annotations

from typing import Any

from converge.planning.prefetch import Foresight
from converge.readings import Raw, Reading


def reading(name: str) -> Reading[str]:
    return Reading(name, "app", lambda _context: "", lambda raw, _context: raw.out)


def test_each_part_has_its_own_memory() -> None:
    one, two, three = reading("one"), reading("two"), reading("three")
    asked: list[list[str]] = []

    def read(what: Reading[Any], at: str | None = None) -> Any:  # noqa: ARG001
        return Raw(0, what.name, "")

    foresight = Foresight(read, lambda wants: asked.append([what.name for what, _ in wants]))
    for _ in range(2):
        course = foresight.course("units.start", "new")
        course(one)
        course(two)
        course.turn()
        course(three)
    assert asked == [[], ["one"], [], ["one", "two"], ["one", "two"], ["three"]]
    asked.clear()
    foresight.course("units.start", "old")(one)
    assert asked == [[]]


def test_a_step_that_is_not_needed_joins_two_parts() -> None:
    one, two, three, four, five = map(reading, ["one", "two", "three", "four", "five"])
    asked: list[list[str]] = []

    def read(what: Reading[Any], at: str | None = None) -> Any:  # noqa: ARG001
        return Raw(0, what.name, "")

    foresight = Foresight(read, lambda wants: asked.append([what.name for what, _ in wants]))
    planned = foresight.course("units.stop", "new")
    for part in ([one], [two, three], [four]):
        for what in part:
            planned(what)
        planned.turn()
    asked.clear()
    course = foresight.course("units.stop", "new")
    for what in (one, three, two, five):
        course(what)
    assert asked == [["one"], ["one", "two", "three"], ["one", "two", "three"], ["one", "two", "three"]]
