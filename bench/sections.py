"""What is measured: one host, many hosts, growth, and a remediation from end to end."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import generated, ours
from bench.measure import BenchError, Command, Meter, Result, Row, Sample, interleaved
from bench.place import Place, cpu_files, fresh, make, proxied
from bench.properties import PROPERTIES, drifted
from bench.rivals import RIVALS
from bench.timeline import dearest, parts, record_of
from bench.venvs import TOP
from hosts.loader import load
from lab.lab import Lab

TRIP = 0.05
"""Seconds there and back of the delayed way."""
MANY = 50
SIZES = (10, 50, 200)

FLOOR = "floor: paramiko"
WHOLE, HOST_ONLY, FORTY = "ours: verify/, whole", "ours: verify/, what the host alone decides", "ours: the forty"
FLOOR_GIT, FLOOR_HOST, FLOOR_FORTY = f"{FLOOR}, and git", f"{FLOOR}, the host's part", f"{FLOOR}, the forty"


@dataclass
class Aim:
    """A figure with what was wanted of it; `limit` None for one that is only shown."""

    text: str
    value: float
    unit: str = "x"
    limit: float | None = None
    least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether it is as wanted."""
        if self.limit is None:
            return None
        return self.value >= self.limit if self.least else self.value <= self.limit


@dataclass
class Table:
    """Rows under one set of conditions."""

    section: str
    title: str
    results: list[Result]
    aims: list[Aim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> Result:
        return next(result for result in self.results if result.name == name)

    def wall(self, name: str) -> float:
        """Median wall time of a row in seconds."""
        return self[name].median("wall")

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; the commands' output is left out."""
        rows = [{"name": r.name, "samples": [_plain(sample) for sample in r.samples]} for r in self.results]
        aims = [asdict(aim) | {"met": aim.met} for aim in self.aims]
        return {"section": self.section, "title": self.title, "rows": rows, "aims": aims, "notes": self.notes}


def _plain(sample: Sample) -> dict[str, Any]:
    data = asdict(sample)
    del data["out"]
    return data


@dataclass
class Bench:
    """One run of the bench on a settled lab. `work` is an empty folder of its own."""

    lab: Lab
    work: Path
    rounds: int
    say: Callable[[str], None]

    def measure(self, rows: Sequence[Row]) -> list[Result]:
        """All rounds of these rows."""
        return interleaved(rows, self.rounds, Meter(cpu_files(self.lab)).run, self.say)

    def place(self, trip: float) -> Place:
        """The way of that length; its files are made once."""
        folder = self.work / f"{round(trip * 1000)}ms"
        if folder.exists():
            shutil.rmtree(folder)
        return make(self.lab, folder, trip)

    # One host -----------------------------------------------------------------------------------------------------------

    def one(self) -> Iterator[Table]:
        """Whole checks, and the forty against the peers, directly and over the delayed way."""
        for trip in (0.0, TRIP):
            with proxied(self.lab, TRIP):
                place = self.place(trip)
                self.say(f"one host at {place.ms} ms: the suite")
                yield self._suite(place)
                self.say(f"one host at {place.ms} ms: the forty")
                yield self._forty(place)

    def _suite(self, place: Place) -> Table:
        questions = ours.asked(TOP, place, place.folder / "asked")
        whole, part = questions["whole"], questions["host"]
        inv, target = load(str(place.target)), [str(place.target)]
        rows = [
            Row(FLOOR, ours.paramiko(place, whole)),
            Row(FLOOR_GIT, ours.with_git(place, whole, inv.repository.url, inv.repository.branch)),
            Row(WHOLE, ours.check(TOP, "verify", target)),
            Row(FLOOR_HOST, ours.paramiko(place, part)),
            Row(HOST_ONLY, ours.check(TOP, "verify", target, part.ids)),
        ]
        table = Table("one", f"one host, {place.ms} ms: the suite's own statements", self.measure(rows))
        limit = 1.1 if place.trip else 1.5
        table.aims += [
            Aim(f"{WHOLE} / {FLOOR}, {place.ms} ms", table.wall(WHOLE) / table.wall(FLOOR), limit=limit),
            Aim(f"{WHOLE} / {FLOOR_GIT}, {place.ms} ms", table.wall(WHOLE) / table.wall(FLOOR_GIT)),
            Aim(f"{HOST_ONLY} / {FLOOR_HOST}, {place.ms} ms", table.wall(HOST_ONLY) / table.wall(FLOOR_HOST), limit=limit),
        ]
        table.notes.append(f"the script has {whole.size:,} bytes for all {len(whole.ids)} statements")
        return table

    def _forty(self, place: Place) -> Table:
        project = self.work / f"forty_{place.ms}"
        generated.forty(fresh(project))
        question = ours.asked(project, place, place.folder / "asked-forty")["whole"]
        rows = [
            Row(FLOOR_FORTY, ours.paramiko(place, question)),
            Row(FORTY, ours.check(project, generated.STATEMENTS, [str(place.target)], count=len(PROPERTIES))),
        ]
        rows += [Row(name, rival(place, PROPERTIES, fresh(place.folder / rival.__name__))) for name, rival in RIVALS.items()]
        table = Table("one", f"one host, {place.ms} ms: the same forty assertions", self.measure(rows))
        mine = table.wall(FORTY)
        limit = 1.1 if place.trip else 1.5
        table.aims.append(Aim(f"{FORTY} / {FLOOR_FORTY}, {place.ms} ms", mine / table.wall(FLOOR_FORTY), limit=limit))
        for name in RIVALS:
            least = 8.0 if place.trip and name.startswith("testinfra") else 1.0
            table.aims.append(Aim(f"{name} / ours, {place.ms} ms", table.wall(name) / mine, limit=least, least=True))
        if not place.trip:
            table.notes += self._who_notices(place)
        return table

    def _who_notices(self, place: Place) -> list[str]:
        """One expectation is wrong: which peers end with something else than 0?"""
        meter, notes = Meter(cpu_files(self.lab)), []
        for name, rival in RIVALS.items():
            sample = meter.run(rival(place, drifted(), fresh(place.folder / f"{rival.__name__}-drifted")))
            ended = "ends with an error" if sample.wrong.startswith("ended with") else "ends with 0"
            notes.append(f"one of the forty drifted: {name} {ended}")
        return notes

    # Many hosts ---------------------------------------------------------------------------------------------------------

    def many(self) -> list[Table]:
        """Fifty targets, each an alias of the app host, over the delayed way."""
        with proxied(self.lab, TRIP):
            place = self.place(TRIP)
            fleet = fresh(place.folder / "fleet")
            for number in range(MANY):
                shutil.copy(place.target, fleet / f"host{number:02d}.toml")
            project = self.work / "forty_many"
            generated.forty(fresh(project))
            question = ours.asked(project, place, place.folder / "asked")["whole"]
            mine = f"ours: {MANY} targets"
            floors = (f"floor: asyncssh, {MANY} at once", f"floor: ssh(1), {MANY} at once")
            rows = [
                Row(floors[0], ours.asyncssh_many(place, question, MANY)),
                Row(floors[1], ours.ssh_many(place, question, MANY)),
                Row(mine, ours.check(project, generated.STATEMENTS, [f"{fleet}/*.toml"], count=MANY * len(PROPERTIES))),
            ]
            table = Table("many", f"{MANY} targets, {place.ms} ms: the same forty assertions on each", self.measure(rows))
        table.aims = [Aim(f"{MANY} targets / {floor}", table.wall(mine) / table.wall(floor), limit=1.5) for floor in floors]
        table.aims.append(Aim("memory of ours", max(s.memory for s in table[mine].samples), "MiB", 300.0))
        table.notes.append("all targets are aliases of one host, which shares this machine's cores with the client")
        table.notes.append("one connection and one exec a target, in each row")
        return [table]

    # Growth -------------------------------------------------------------------------------------------------------------

    def growth(self) -> list[Table]:
        """More statements, each with a reading of its own, against the same script alone."""
        place, rows = self.place(0.0), []
        for size in SIZES:
            project = self.work / f"grown_{size}"
            generated.growing(fresh(project), size)
            question = ours.asked(project, place, place.folder / f"asked-{size}")["whole"]
            rows.append(Row(f"{FLOOR}, {size}", ours.paramiko(place, question)))
            mine = ours.check(project, generated.STATEMENTS, [str(place.target)], count=size)
            rows.append(Row(f"ours, {size}", mine))
        table = Table("growth", "growth with the number of statements, 0 ms", self.measure(rows))
        over = {size: table.wall(f"ours, {size}") - table.wall(f"{FLOOR}, {size}") for size in SIZES}
        used = {size: table[f"ours, {size}"].median("client") for size in SIZES}
        least, most = SIZES[0], SIZES[-1]
        per = 1000 / (most - least)
        table.aims = [
            Aim("wall over the floor, per statement", (over[most] - over[least]) * per, "ms", 2.0),
            Aim("client's CPU, per statement", (used[most] - used[least]) * per, "ms"),
        ]
        return [table]


def convergence(lab: Lab, reports: Path, say: Callable[[str], None]) -> Table:
    """From the state ``migrated``, in which the lab is, to green, once; the split is of the run's own record."""
    command = ours.check(TOP, "verify", [f"lab:{lab.name}"])
    words = (*command.words, "--remediate", "--yes")
    say("remediating: some minutes")
    sample = Meter(cpu_files(lab, list(lab.machines))).run(Command(words, TOP, command.judge))
    if sample.wrong:
        raise BenchError(f"the remediation did not end green: {sample.wrong}\n{sample.out[-3000:]}")
    record = record_of(sample.out, reports)
    found = parts(record)
    total = sum(found.values())
    table = Table("convergence", "from migrated to green", [Result("the whole remediation", [sample])])
    table.notes = [f"{seconds:7.1f} s  {100 * seconds / total:4.1f} %  {what}" for what, seconds in found.items()]
    table.notes += dearest(record)
    share = 100 * sum(seconds for what, seconds in found.items() if what.startswith("ours")) / total
    table.aims = [Aim("ours, of the whole", share, "%", 10.0), Aim("wall time", sample.wall, "s")]
    return table
