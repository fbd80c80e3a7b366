"""hkn-rails, as the engine is told of it."""

from __future__ import annotations

import importlib
import pkgutil
from datetime import date
from pathlib import Path
from typing import Any

import facts
from converge.checking.application import Application, Situation
from converge.checking.record import Line
from converge.checking.statement import REGISTRY
from converge.readings import Reader, Reading, readings_in
from converge.report.checklist import load_checklist
from facts.preflight import preflight
from facts.prelude import prelude
from facts.situation import enabled_on, landscape, situation
from hosts.loader import expand, load
from hosts.tool import NAME

VERSION = "0.1.0"
TOP = Path(__file__).resolve().parent.parent


def _readings() -> dict[str, Reading[Any]]:
    found: dict[str, Reading[Any]] = {}
    for info in pkgutil.walk_packages(facts.__path__, "facts."):
        if info.name not in {"facts.application", "facts.prelude"}:
            found.update(readings_in(importlib.import_module(info.name)))
    return found


READINGS = _readings()


def application() -> Application:
    """hkn-rails: where its statements, remedies, readings and inventory are."""
    def look(read: Reader) -> Situation:
        return situation(read(landscape))

    def cut_over_on(read: Reader) -> date | None:
        return read(enabled_on)

    return Application(
        name=NAME,
        version=VERSION,
        statements="verify",
        remedies="remediate",
        load=load,
        expand=expand,
        prelude=prelude,
        readings=READINGS,
        situation=look,
        cut_over_on=cut_over_on,
        checklist=_checklist,
        standing=(landscape, enabled_on),
        preflight=preflight,
    )


def _checklist() -> list[Line]:
    return load_checklist(TOP / "verify" / "checklist.toml", REGISTRY.values())
