"""Where the deployment stands, told from a few facts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from converge.errors import Unobservable
from facts.situation import BEFORE, FINISHED, HALF_WAY, MIGRATED, UNLIKE, Landscape, landscape, situation
from tests.targets import parse

ROOT = "/home/h/hk/hkn/hkn-rails"
LEGACY = "hkn-rails-migrate.service"
DONE = Landscape(
    app_unit="hkn-rails.service", app_file=True, app_fits=True, app_active=True, app_enabled=True, legacy_active=(),
    legacy_enabled=(), legacy_files=(), legacy_units=(LEGACY,), legacy_trees=(), trees_with_release=(f"{ROOT}/prod",),
    serving=("hkn-rails.service",), stranger="",
)  # fmt: skip
TODAY = replace(
    DONE, app_fits=False, app_active=False, app_enabled=False, legacy_active=(LEGACY,), legacy_enabled=(LEGACY,),
    legacy_files=(LEGACY,), legacy_trees=(f"{ROOT}/migrate",), serving=(LEGACY,),
)  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "name"),
    [
        (DONE, FINISHED),
        (TODAY, MIGRATED),
        (replace(DONE, app_active=False, serving=()), FINISHED),
        (replace(DONE, app_active=False, app_fits=False, app_enabled=False, serving=()), BEFORE),
        (replace(DONE, legacy_files=(LEGACY,)), HALF_WAY),
        (replace(TODAY, app_active=True, app_fits=True), HALF_WAY),
        (replace(TODAY, legacy_active=(), serving=()), HALF_WAY),
        (replace(DONE, trees_with_release=()), UNLIKE),
        (replace(DONE, app_file=False), UNLIKE),
    ],
)
def test_situation(seen: Landscape, name: str) -> None:
    found = situation(seen)
    assert found.name == name
    assert found.refuse is (name == UNLIKE)
    assert found.detail or name in {FINISHED, HALF_WAY}


def test_what_stands_out_is_said() -> None:
    assert "both active" in situation(replace(TODAY, app_active=True)).detail[0]
    assert "hkn-dev.service" in situation(replace(DONE, stranger="hkn-dev.service")).detail[0]
    assert "soak" in situation(replace(DONE, legacy_trees=(f"{ROOT}/migrate",))).detail[0]


def test_landscape() -> None:
    out = (
        "[hkn-rails.service]\nNames=hkn-rails.service\nActiveState=inactive\nenabled=disabled\nfile=yes\n|[Unit]\n|ConditionHost=werewolves\n\n"
        f"[{LEGACY}]\nNames={LEGACY}\nActiveState=active\nenabled=enabled\nfile=yes\n|[Unit]\n\n"
        f"[trees]\ntree={ROOT}/prod\nrelease={ROOT}/prod\ntree={ROOT}/migrate\nrelease={ROOT}/migrate\n"
        f"[serving]\nprocess=7\t1\t9.0\t/a/{LEGACY}\t/r/1\t/x\tunicorn_rails master\n"
    )
    assert parse(landscape, out) == TODAY.__class__(
        **{**{f: getattr(TODAY, f) for f in TODAY.__slots__}, "trees_with_release": (f"{ROOT}/prod", f"{ROOT}/migrate")}
    )
    with pytest.raises(Unobservable, match="cannot be reached"):
        parse(landscape, "", "Failed to connect to bus: No medium found", 1)
