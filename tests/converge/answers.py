"""A session whose statements ask for files of this machine, over links that note in their order what is sent."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from converge.checking import session
from converge.checking.application import Application, Situation
from converge.checking.record import Probe
from converge.checking.session import Session
from converge.checking.statement import Severity, Statement, require
from converge.errors import Unobservable
from converge.planning.plan import Plan
from converge.probe.prober import Prober
from converge.readings import Context, Raw, Reading
from converge.readings.answers import CONTROL
from converge.runs import convergence, tasks
from converge.runs.run import Runner
from converge.steps import RemedyContext, Step, Write
from converge.transport import Completed, LocalLink
from hosts.schema import Inventory
from tests.converge.world import World

Remedy = Callable[[RemedyContext], Iterator[Step]]


class Noting(LocalLink):
    """A link that notes ``new: asks a, b`` or ``new: write A`` in a list that all links share; all else is left out."""

    def __init__(self, host: str, heard: list[str]) -> None:
        super().__init__()
        self.host, self.heard = host, heard

    def exec(self, script: str, *, limit: float, stdin: bytes = b"") -> Completed:
        if asked := re.findall(r": reading (\w+)", script):
            self.heard.append(f"{self.host}: asks {', '.join(sorted(asked))}")
        elif "setsid" in script and (label := re.search(r"step \d+: ([^'\n]+)", script)):
            self.heard.append(f"{self.host}: {label[1]}")
        return super().exec(script, limit=limit, stdin=stdin)


@dataclass
class Answers:
    """A target whose statement A holds if file A exists, as reading ``a`` says; what ``heard`` has was sent to hosts."""

    world: World
    session: Session
    remedies: dict[str, Remedy] = field(default_factory=dict)
    statements: dict[str, Statement] = field(default_factory=dict)
    readings: dict[str, Reading[Any]] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def reading(self, name: str, script: str = "", **settings: Any) -> Reading[str]:
        """The reading of this name; it says ``there`` if the file does not tell otherwise."""
        if name not in self.readings:
            text = script or f"[ ! -e {self.world.root}/{name.upper()} ] || echo there"
            made = Reading(name, "app", lambda _: f": reading {name}\n{text}", told, **settings)
            self.readings[name] = made
        return self.readings[name]

    def add(self, id: str, remedy: Remedy | None = None, needs: tuple[str, ...] = (), *, soak: bool = False) -> None:
        """A statement, its reading, and a remedy that writes the file in one step."""
        self.reading(id.lower())

        def holds(**seen: str) -> None:
            require(set(seen.values()) == {"there"}, expected="there", seen=seen, where="the folder")

        asked = [inspect.Parameter(id.lower(), inspect.Parameter.KEYWORD_ONLY)]
        holds.__signature__ = inspect.Signature(asked)  # type: ignore[attr-defined]
        self.statements[id] = Statement(
            id, f"{id} is there.", Severity.MAJOR, "app", ("C1",), needs, f"z.{id}", soak=soak, function=holds
        )
        self.remedies[f"z.{id}"] = remedy or self.writer(id)

    def write(self, id: str, number: str = "") -> Step:
        return Step(f"{id}/write{number}", "new", f"write {id}{number}", (Write(f"{self.world.root}/{id}{number}", "x\n"),))

    def writer(self, id: str, *asks: str) -> Remedy:
        """A remedy that asks the readings of these names first, and then writes the file."""

        def remedy(ctx: RemedyContext) -> Iterator[Step]:
            for name in asks:
                ctx.read(self.reading(name))
            yield self.write(id)

        return remedy

    def plan(self) -> tuple[Runner, Plan]:
        """Read everything and plan; what was heard for that is forgotten."""
        everything = self.session.everything()
        self.session.read_until_stable(everything, self.said.append)
        made = convergence.make_runner(self.session, self.said.append, SimpleNamespace())
        plan = convergence.make_plan(made, self.session.judge_all(everything), everything)
        self.heard.clear()
        return made, plan

    def go(self) -> Plan:
        """Plan and run."""
        made, plan = self.plan()
        made.start(plan)
        try:
            assert made.execute(plan) is None
        finally:
            made.finish(0, "")
        return plan


def told(raw: Raw, _context: Context) -> str:
    """What a reading of these says."""
    if raw.rc:
        raise Unobservable("not this time")
    return raw.out.strip()


def build_answers(world: World, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """A target without statements, of which nothing is waited for; its standing readings are ``landscape`` and ``since``."""
    app = Application(
        name="demo", version="0", statements="", remedies="", load=no_inventory, prelude=lambda _inv: "", readings={},
        situation=lambda _read: Situation(""), cut_over_on=lambda _read: None, checklist=list,
    )  # fmt: skip
    made = Answers(world, Session(app, world.inv, world.top / "reports"))
    landscape, since = made.reading("landscape", "echo as ever"), made.reading("since", "echo 2026-01-01")
    made.session.app = replace(
        app, readings=made.readings, standing=(landscape, since), situation=lambda read: Situation(read(landscape)),
        cut_over_on=lambda read: date.fromisoformat(read(since)),
    )  # fmt: skip
    made.session.judge.known = made.readings
    made.session.links.update({name: Noting(name, made.heard) for name in [CONTROL, *world.inv.hosts]})
    monkeypatch.setattr(Prober, "start", lambda _: "")
    monkeypatch.setattr(Prober, "stop", lambda _: Probe("", 0, 0, 0, 0, 0))
    monkeypatch.setattr(tasks, "PATIENCE", 0.1)
    monkeypatch.setattr(session, "REGISTRY", made.statements)
    monkeypatch.setattr(convergence, "REGISTRY", made.statements)
    monkeypatch.setattr(convergence, "finder", lambda _package: made.remedies.__getitem__)
    return made


def no_inventory(target: str, *, offline: bool = False) -> Inventory:
    raise AssertionError(target, offline)
