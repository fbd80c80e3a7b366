"""Order, groups and blocks of remedies: pure."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from converge.checking.record import StepRecord
from converge.checking.statement import Severity, Statement
from converge.errors import Unobservable, UsageError
from converge.planning.order import NeedsCycle, all_needs, order
from converge.planning.plan import Failing, Plan, block, call, fill, group, sketch
from converge.steps import ByHand, NothingToDo, RemedyContext, Run, Step
from converge.steps.describe import render

CONTEXT: RemedyContext = SimpleNamespace(read=None)  # type: ignore[assignment]


def world(*rows: tuple[str, str, str, bool]) -> dict[str, Statement]:
    """Statements from rows of id, needs, remedy, late."""
    return {
        id: Statement(id, id, Severity.MAJOR, "app", ("C1",), tuple(needs.split()), remedy or None, None, late)
        for id, needs, remedy, late in rows
    }


CHAIN = world(
    ("LATE", "", "z.late", True),
    ("C", "B", "z.c", False),
    ("B", "A", "z.b", False),
    ("A", "", "z.a", False),
    ("D", "", "z.d", False),
)


def test_needs_come_first_late_ones_last_and_the_registry_decides_the_rest() -> None:
    assert order(CHAIN.keys(), CHAIN) == ["A", "B", "C", "D", "LATE"]


def test_order_reaches_over_statements_that_hold() -> None:
    assert order({"A", "C"}, CHAIN) == ["A", "C"]
    assert all_needs("C", CHAIN) == {"A", "B"}


def test_order_is_stable_for_any_order_of_the_question() -> None:
    assert order(["D", "C", "A"], CHAIN) == order(["A", "C", "D"], CHAIN) == ["A", "C", "D"]


def test_circle_is_named() -> None:
    circle = world(("A", "C", "z.a", False), ("B", "A", "z.b", False), ("C", "B", "z.c", False))
    with pytest.raises(NeedsCycle, match="A needs C needs B needs A"):
        order({"A"}, circle)


def test_one_remedy_for_several_statements_is_called_once_per_host() -> None:
    shared = world(("A", "", "z.both", False), ("B", "A", "z.both", False), ("C", "B", "z.c", False))
    failing = [Failing("A", "new"), Failing("A", "old"), Failing("B", "new"), Failing("C", "new")]
    tasks = group(order({"A", "B", "C"}, shared), failing, shared)
    assert [(t.remedy, t.host, t.statements) for t in tasks] == [
        ("z.both", "new", ["A", "B"]),
        ("z.both", "old", ["A"]),
        ("z.c", "new", ["C"]),
    ]


def test_shared_remedy_is_called_again_for_what_only_a_later_one_makes_possible() -> None:
    solr = world(("UP", "", "solr.start", False), ("DEPLOY", "UP", "d.d", False), ("HOME", "DEPLOY", "solr.start", False))
    failing = [Failing(id, "new") for id in solr]
    tasks = group(order(set(solr), solr), failing, solr)
    assert [t.statements for t in tasks] == [["UP"], ["DEPLOY"], ["HOME"]]


def planned(*ids: str, unproven: set[str] | None = None, manual: dict[str, str] | None = None) -> Plan:
    plan = sketch([Failing(id, "new") for id in ids], CHAIN, manual or {})
    block(plan, unproven if unproven is not None else set(ids))
    return plan


def test_need_that_fails_and_is_not_chosen_blocks() -> None:
    plan = planned("B", "C", unproven={"A", "B", "C"})
    assert [(t.statements, t.blocked_by) for t in plan.tasks] == [(["B"], ["A"]), (["C"], ["B"])]


def test_need_that_holds_or_is_chosen_does_not_block() -> None:
    assert [t.blocked_by for t in planned("B", "C").tasks] == [[], []]


def test_manual_statement_is_no_task_and_blocks_what_needs_it() -> None:
    plan = planned("A", "B", manual={"A": "do it by hand"})
    assert plan.manual == {"A": "do it by hand"}
    assert [(t.statements, t.blocked_by) for t in plan.tasks] == [(["B"], ["A"])]


def test_remedies_are_asked_and_their_reasons_kept() -> None:
    def works(_: RemedyContext) -> Iterator[Step]:
        yield Step("A/1", "new", "one", (Run("true"),))
        yield Step("A/2", "new", "two", (Run("true"),))

    def idle(_: RemedyContext) -> Iterator[Step]:
        raise NothingToDo("it is there already")
        yield

    def blind(_: RemedyContext) -> Iterator[Step]:
        raise Unobservable("no bus")
        yield

    remedies = {"z.a": works, "z.b": idle, "z.c": blind}
    plan = fill(sketch([Failing(i, "new") for i in "ABC"], CHAIN, {}), remedies.__getitem__, lambda _: CONTEXT, render)
    assert [s.id for s in plan.steps] == ["A/1", "A/2"]
    assert [t.note for t in plan.tasks] == [
        "",
        "nothing to do: it is there already",
        "what it must know could not be read: no bus",
    ]
    assert not plan.is_empty


def test_a_remedy_that_leaves_it_to_a_person_makes_its_statement_manual_and_blocks_what_needs_it() -> None:
    def asks(_: RemedyContext) -> Iterator[Step]:
        raise ByHand("type this")
        yield

    def works(_: RemedyContext) -> Iterator[Step]:
        yield Step("B/1", "new", "one", (Run("true"),))

    remedies = {"z.a": asks, "z.b": works}
    plan = fill(sketch([Failing(i, "new") for i in "AB"], CHAIN, {}), remedies.__getitem__, lambda _: CONTEXT, render)
    block(plan, {"A", "B"})
    assert plan.manual == {"A": "type this"}
    assert [t.blocked_by for t in plan.tasks] == [[], ["A"]]


def test_step_for_a_person_makes_the_plan_empty_and_its_statements_manual() -> None:
    plan = sketch([Failing("A", "new"), Failing("B", "new")], CHAIN, {})
    plan.tasks[0].steps = [StepRecord("A/1", "z.a", ["A"], "new", "s", "", [], "", None, "manual", "type this")]
    plan.tasks[1].steps = [StepRecord("B/1", "z.b", ["B"], "new", "s", "", [], "", None)]
    block(plan, {"A", "B"})
    assert plan.manual == {"A": "type this"}
    assert plan.steps[1].result == "blocked"
    assert plan.steps[1].reason == "not attempted, because A is not proven"
    assert plan.is_empty


def test_all_that_a_person_does_of_a_task_is_said_in_its_order() -> None:
    plan = sketch([Failing("A", "new")], CHAIN, {})
    texts = {"A/gate": "lay the gate", "A/clone": "", "A/deploy": "deploy"}
    plan.tasks[0].steps = [
        StepRecord(id, "z.a", ["A"], "new", "s", "", [], "", None, "manual" if text else "planned", text)
        for id, text in texts.items()
    ]
    block(plan, {"A"})
    assert plan.manual == {"A": "lay the gate\ndeploy"}


def test_remedy_that_returns_a_list_is_told_so() -> None:
    with pytest.raises(UsageError, match=r"z\.list must be a generator"):
        call(lambda _: iter([]), CONTEXT, "z.list")


def test_statement_that_holds_behind_a_mended_one_follows() -> None:
    plan = sketch([Failing("A", "new")], CHAIN, {}, [Failing(id, "new") for id in ("B", "C", "D", "LATE")])
    assert [(t.statements, t.follows) for t in plan.tasks] == [(["A"], False), (["B"], True), (["C"], True)]
    for task in plan.tasks[1:]:
        task.steps = [StepRecord("B/1", "z.b", ["B"], "new", "s", "", [], "", None)]
    assert plan.is_empty, "what follows is no reason to act"


def test_statement_that_follows_joins_the_remedy_that_it_shares() -> None:
    deploy = world(("REPO", "", "r.r", False), ("DEP", "REPO", "d.d", False), ("GEMS", "DEP", "d.d", False))
    plan = sketch([Failing("REPO", ""), Failing("GEMS", "new")], deploy, {}, [Failing("DEP", "new")])
    assert [(t.statements, t.needs, t.follows) for t in plan.tasks] == [
        (["REPO"], [], False),
        (["DEP", "GEMS"], ["REPO"], False),
    ]
