"""Typed tables: strict, immutable, equal by value, and every mistake at once."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

import pytest

from hosts.model import Field, Mistakes, Model


class Inner(Model):
    """A table in a table."""

    on: date
    flag: bool = False


class Outer(Model):
    """A table with one of each."""

    kind: Literal["a", "b"]
    number: int = Field(ge=0)
    share: float = Field(default=1.0, gt=0)
    note: str | None = None
    inner: dict[str, Inner] = Field(default_factory=dict)
    many: list[str] = Field(default_factory=list)


GOOD = {"kind": "a", "number": 1, "inner": {"x": {"on": date(2019, 4, 23)}}, "share": 2}


def test_values_and_defaults() -> None:
    made = Outer.model_validate(GOOD)
    assert (made.kind, made.number, made.share, made.note, made.many) == ("a", 1, 2.0, None, [])
    assert made.inner["x"] == Inner(on=date(2019, 4, 23), flag=False)
    assert made.model_dump()["inner"] == {"x": {"on": date(2019, 4, 23), "flag": False}}


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"kind": "c"}, ("kind",)),
        ({"number": True}, ("number",)),
        ({"number": -1}, ("number",)),
        ({"number": 1.0}, ("number",)),
        ({"share": 0}, ("share",)),
        ({"share": True}, ("share",)),
        ({"note": 3}, ("note",)),
        ({"many": [1]}, ("many", 0)),
        ({"inner": []}, ("inner",)),
        ({"inner": {"x": {"on": datetime(2019, 4, 23)}}}, ("inner", "x", "on")),
        ({"inner": {"x": {"on": "2019-04-23"}}}, ("inner", "x", "on")),
        ({"inner": {"x": {}}}, ("inner", "x", "on")),
        ({"inner": {"x": {"on": date(2019, 4, 23), "of": 1}}}, ("inner", "x", "of")),
    ],
)
def test_mistakes(change: dict[str, object], place: tuple[str | int, ...]) -> None:
    with pytest.raises(Mistakes) as caught:
        Outer.model_validate({**GOOD, **change})
    assert [mistake.place for mistake in caught.value.found] == [place]


def test_all_mistakes_at_once() -> None:
    with pytest.raises(Mistakes) as caught:
        Outer.model_validate({"kind": 1, "nubmer": 2, "many": [3, 4]})
    assert len(caught.value.found) == 5


def test_there_and_back_over_json() -> None:
    made = Outer.model_validate(GOOD)
    assert Outer.model_validate_json(made.model_dump_json(), strict=False) == made


def test_it_is_copied_not_changed() -> None:
    made = Outer.model_validate(GOOD)
    assert made.model_copy(update={"number": 5}).number == 5
    with pytest.raises(AttributeError, match="model_copy"):
        made.number = 5  # type: ignore[misc]
    with pytest.raises(TypeError, match="nubmer"):
        made.model_copy(update={"nubmer": 5})
    assert made.number == 1
