"""Runs on this machine's folders: statements about files, and remedies that write them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from converge.checking.record import Probe, Record, Verdict
from converge.checking.statement import Outcome, Severity, Statement
from converge.errors import ConnectionLost, Exit
from converge.planning.plan import Failing, Plan
from converge.probe.prober import Prober
from converge.runs import tasks
from converge.runs.run import Runner
from converge.steps import Remedy, RemedyContext, Step, Write
from converge.transport import Completed, Link, LocalLink
from facts.preflight import preflight
from tests.converge.world import World


class Severed(LocalLink):
    """A link that starts the next launch and is lost before its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.at = ""

    def exec(self, script: str, *, limit: float, stdin: bytes = b"") -> Completed:
        done = super().exec(script, limit=limit, stdin=stdin)
        if self.at and self.at in script and "setsid" in script:
            raise ConnectionLost("new: the connection ended")
        return done


class Desk(LocalLink):
    """Another machine than the stage's: its home is empty."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        home.mkdir()
        self.home = home

    def exec(self, script: str, *, limit: float, stdin: bytes = b"") -> Completed:
        return super().exec(f"HOME={self.home}; export HOME\n{script}", limit=limit, stdin=stdin)


@dataclass
class Stage:
    """Statements about files: A-N holds if file aN exists. Its remedies write them."""

    world: World
    link: Severed
    statements: dict[str, Statement] = field(default_factory=dict)
    remedies: dict[str, Remedy] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    voids: int = 0
    sent: list[str] = field(default_factory=list)
    wait: float = 0.0

    def add(self, id: str, remedy: Callable[[RemedyContext], Iterator[Step]], needs: tuple[str, ...] = ()) -> None:
        self.statements[id] = Statement(id, f"{id} is there.", Severity.MAJOR, "app", ("C1",), needs, f"z.{id}")
        self.remedies[f"z.{id}"] = remedy

    def holds(self, id: str) -> bool:
        return (self.world.root / id).exists()

    def verdict(self, id: str) -> Verdict:
        outcome = Outcome.HOLDS if self.holds(id) else Outcome.FAILS
        message = "" if self.holds(id) else "missing"
        return Verdict(
            id, "new", "", id, "major", ["C1"], outcome, message, f"z.{id}", [], epoch=len(self.sent)
        )  # fmt: skip

    def prove(self, ids: Collection[str], deadline: float) -> Mapping[str, Verdict]:  # noqa: ARG002
        return {id: self.verdict(id) for id in ids}

    def void(self, _host: str) -> None:
        self.voids += 1

    def writer(self, id: str, content: str = "x\n", **changes: object) -> Callable[[RemedyContext], Iterator[Step]]:
        def remedy(_: RemedyContext) -> Iterator[Step]:
            acts = (Write(f"{self.world.root}/{id}", content),)
            yield Step(f"{id}/write", "new", f"write {id}", acts, **changes)  # type: ignore[arg-type]

        return remedy

    def runner(self, run: str = "R1") -> Runner:
        self.sent.clear()
        links: dict[str, Link] = {"new": self.link, "old": self.link, "control": self.link}
        return Runner(
            inv=self.world.inv, links=links, prelude="", record=Record(run, "run", "demo", "0", 0.0),
            folder=str(self.world.top / "reports" / run), statements=self.statements, find=self.remedies.__getitem__,
            read=None, void=self.void, renew=self.void, sent=self.sent.append, prove=self.prove,  # type: ignore[arg-type]
            who="ada", say=self.said.append, wait=self.wait, asked=preflight,
        )  # fmt: skip

    def go(self, run: str = "R1") -> tuple[Runner, Plan, Exit | None]:
        made = self.runner(run)
        failing = [Failing(id, "new") for id in self.statements if not self.holds(id)]
        plan = made.plan(failing, {f.id for f in failing}, {})
        made.start(plan)
        try:
            return made, plan, made.execute(plan)
        finally:
            made.finish(0, "")


def build_stage(world: World, link: Severed, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A stage on which nothing is waited for."""
    monkeypatch.setattr(Prober, "start", lambda _: "")
    monkeypatch.setattr(Prober, "stop", lambda _: Probe("", 0, 0, 0, 0, 0))
    monkeypatch.setattr(tasks, "PATIENCE", 0.1)
    return Stage(world, link)


def results(plan: Plan) -> dict[str, str]:
    """What became of each step."""
    return {record.id: record.result for record in plan.steps}
