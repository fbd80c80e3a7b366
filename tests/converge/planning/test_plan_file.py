"""Plans are exact: as a file that is carried out or refused, and as what a run does, step by step."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from converge.errors import Exit
from converge.planning.plan import Failing, Plan
from converge.planning.plan_file import PlanFileError, PlanMoved, SavedPlan, differences, load, refuse_if_moved, rows, write
from converge.steps import Aside, Condition, Remedy, RemedyContext, Step, Write
from hosts.schema import Inventory
from tests.converge.site import Site, mending
from tests.converge.stage import Severed, Stage, build_stage, results
from tests.converge.world import build


@pytest.fixture
def stage(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return build_stage(build(tmp_path, inventory, monkeypatch), Severed(), monkeypatch)


def planned(stage: Stage, run: str = "R1") -> Plan:
    failing = [Failing(id, "new") for id in stage.statements if not stage.holds(id)]
    standing = [Failing(id, "new") for id in stage.statements if stage.holds(id)]
    return stage.runner(run).plan(failing, {f.id for f in failing}, {}, standing)


def save(plan: Plan, folder: Path, run: str = "R1") -> SavedPlan:
    file = write(plan, folder, target="demo", version="0", run=run, at=1.0)
    return load(file, target="demo", version="0")


def test_plan_made_again_elsewhere_is_the_same(stage: Stage) -> None:
    def remedy(ctx: RemedyContext) -> Iterator[Step]:
        yield Step("A/1", "control", "write it", (Write(f"{ctx.workdir}/x", ctx.run_id),))

    stage.add("A", remedy)
    folder = stage.world.top / "reports"
    saved = save(planned(stage, "R1"), folder / "R1")
    refuse_if_moved(saved, planned(stage, "R2"), "R2", str(folder / "R2"))
    assert "R1" not in json.dumps(saved.steps)


def test_difference_says_what_is_new_gone_and_changed(stage: Stage, tmp_path: Path) -> None:
    stage.add("A", stage.writer("A", when=(Condition("process 1 runs", "true"),)))
    stage.add("B", stage.writer("B"))
    saved = save(planned(stage), tmp_path)
    stage.add("A", stage.writer("A", "other\n", when=(Condition("process 2 runs", "true"),)))
    stage.add("C", stage.writer("C"))
    (stage.world.root / "B").write_text("x")
    with pytest.raises(PlanMoved) as caught:
        refuse_if_moved(saved, planned(stage), "R1", str(tmp_path))
    text = str(caught.value)
    assert "new: C/write at new, write C" in text
    assert "gone: B/write at new, write B" in text
    assert "changed: A/write at new, write A: its commands; it relied on: process 1 runs; now: process 2 runs" in text
    assert caught.value.exit_code is Exit.STATE_MOVED


def test_another_order_is_a_difference(stage: Stage) -> None:
    stage.add("A", stage.writer("A"))
    stage.add("B", stage.writer("B"))
    found = rows(planned(stage), "R1", "/x")
    assert differences(found, found) == []
    assert differences(found, found[::-1]) == ["another order: B/write, A/write"]


def test_steps_of_one_name_are_compared_each(stage: Stage) -> None:
    stage.add("A", stage.writer("A"))
    (row,) = rows(planned(stage), "R1", "/x")
    changed = {**row, "commands": "another"}
    assert differences([row, row], [changed, row]) == ["changed: A/write at new, write A: its commands"]
    assert differences([row, row], [row]) == ["gone: A/write at new, write A"]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda d: d | {"target": "production"}, "for target production, not for demo"),
        (lambda d: d | {"version": "9"}, "for version 9, not for 0"),
        (lambda d: d | {"schema": 2}, r"no plan of schema 1 \(read: 2\)"),
        (lambda d: d | {"kind": "run"}, "no plan of schema 1"),
        (lambda d: d | {"steps": [{"id": "A"}]}, "cannot be understood"),
        (lambda _: [], "no plan of schema 1"),
    ],
)
def test_file_that_is_not_meant_for_this_is_refused(
    stage: Stage, tmp_path: Path, edit: Callable[[Any], Any], words: str
) -> None:
    stage.add("A", stage.writer("A"))
    save(planned(stage), tmp_path)
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(edit(json.loads(file.read_text()))))
    with pytest.raises(PlanFileError, match=words) as caught:
        load(file, target="demo", version="0")
    assert caught.value.exit_code is Exit.USAGE
    assert "\n" not in str(caught.value)


def test_file_that_is_not_there_or_broken_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PlanFileError, match="cannot be read"):
        load(tmp_path / "none", target="demo", version="0")
    (tmp_path / "half").write_text("{")
    with pytest.raises(PlanFileError, match="is no plan"):
        load(tmp_path / "half", target="demo", version="0")


def test_step_that_the_plan_does_not_have_is_refused_in_the_run(stage: Stage) -> None:
    def grows(ctx: RemedyContext) -> Iterator[Step]:
        yield from stage.writer("first")(ctx)
        if stage.holds("first"):
            yield from stage.writer("A")(ctx)

    stage.add("A", grows)
    made = stage.runner()
    made.mender.only_planned = True
    plan = made.plan([Failing("A", "new")], {"A"}, {})
    made.start(plan)
    assert made.execute(plan) is Exit.STATE_MOVED
    made.finish(11, "")
    assert results(plan) == {"first/write": "done", "A/write": "refused"}
    assert not stage.holds("A")


@pytest.mark.parametrize("seed", range(12))
def test_run_does_what_the_plan_says_in_its_order(stage: Stage, seed: int) -> None:
    draw = random.Random(seed)
    ids = [f"S{n}" for n in range(6)]
    for number, id in enumerate(ids):
        needs = tuple(draw.sample(ids[:number], draw.randint(0, min(2, number))))
        stage.add(id, several(stage, id, draw.randint(1, 2), draw.choice([None, *ids[number + 1 :]])), needs)
        if draw.random() < 0.4:
            (stage.world.root / id).write_text("x")
    plan = planned(stage)
    promised = [step.id for task in plan.tasks if not task.follows for step in task.steps]
    possible = [step.id for step in plan.steps]
    made = stage.runner()
    made.start(plan)
    made.execute(plan)
    made.finish(0, "")
    acted = [step.id for step in plan.steps if step.result == "done"]
    assert [id for id in possible if id in acted] == acted, "in the plan's order, and nothing else"
    assert [id for id in acted if id in promised] == promised, "all of it"


# As a person types it ------------------------------------------------------------------------------------------------


@pytest.fixture
def site(project: pytest.Pytester, inventory: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return mending(project, build(tmp_path / "host", inventory, monkeypatch), "new", seconds=0)


def session(project: pytest.Pytester, *words: str) -> pytest.RunResult:
    return project.runpytest_subprocess("verify", *words)


def the_plan(site: Site) -> Path:
    (file,) = (site.top / "reports").glob("*/plan.json")
    return file


def test_plan_is_written_and_carried_out(project: pytest.Pytester, site: Site) -> None:
    looked = session(project, "--plan")
    assert looked.ret == 1
    file = the_plan(site)
    near = f"./{file.relative_to(site.top)}"
    looked.stdout.fnmatch_lines([f"this plan, and nothing else, is carried out by: *hkn remediate --plan-file {near} *"])
    assert (site.world.root / "word").read_text() == "bad"
    done = session(project, "--remediate", "--yes", "--plan-file", str(file))
    assert done.ret == 0, done.outlines
    assert (site.world.root / "word").read_text() == "good"
    again = session(project, "--remediate", "--yes", "--plan-file", str(file))
    assert again.ret == 11
    again.stdout.fnmatch_lines(["*is not what would be done now*", "*gone: A-1/wait at new*"])


def test_plan_for_another_target_is_4_and_does_nothing(project: pytest.Pytester, site: Site) -> None:
    session(project, "--plan")
    file = the_plan(site)
    file.write_text(file.read_text().replace('"target": "demo"', '"target": "production"'))
    (site.top / "connected").unlink()
    result = session(project, "--remediate", "--yes", "--plan-file", str(file))
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*this plan is for target production, not for demo*"])
    assert (site.world.root / "word").read_text() == "bad"
    assert not (site.top / "connected").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [("none", None, "none: cannot be read"), ("half", "{", "half: is no plan"), (".", None, ".: is no file"),
     ("deep", "[" * 100_000, "deep: is no plan")],
)  # fmt: skip
def test_plan_file_is_looked_at_before_anything_is_connected_to(
    project: pytest.Pytester, site: Site, name: str, content: str | None, words: str
) -> None:
    if content is not None:
        (site.top / name).write_text(content)
    result = session(project, "--remediate", "--yes", "--plan-file", name)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: {words}*"])
    assert not (site.top / "connected").exists()
    assert not (site.top / "reports").exists()


@pytest.mark.parametrize("flags", [[], ["--plan"], ["--remediate", "--plan"]])
def test_plan_file_goes_with_remediate_alone(project: pytest.Pytester, flags: list[str]) -> None:
    result = session(project, *flags, "--plan-file", "x")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--plan-file names a plan to carry out*"])


def several(stage: Stage, id: str, count: int, breaks: str | None) -> Remedy:
    """A remedy of so many steps, the last of which makes the statement hold; it may break one that comes later."""

    def remedy(_: RemedyContext) -> Iterator[Step]:
        root = stage.world.root
        for number in range(1, count):
            yield Step(f"{id}/{number}", "new", "prepare", (Write(f"{root}/{id}.{number}", "x"),))
        harm = (Aside(f"{root}/{breaks}"),) if breaks and stage.holds(breaks) else ()
        yield Step(f"{id}/last", "new", "finish", (Write(f"{root}/{id}", "x"), *harm))

    return remedy
