"""What a run did not attempt, because it needs a statement that is not proven: an outcome of its own, and a failure."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from converge.checking.judge import Instance, Policy, classify
from converge.checking.statement import Fails, Outcome, Severity, Statement
from converge.planning.plan import Plan, Task
from converge.runs.convergence import not_attempted
from hosts.schema import Inventory, Waiver
from tests.converge.site import Site, mending
from tests.converge.world import build

NEEDY = Statement("B-1", "b.", Severity.MAJOR, "app", ("C1",), ("A-1",), "z.b")
WHY = "not attempted, because A-1 is not proven"
BLOCKING = Policy(blocked={Instance("B-1", "new"): WHY})


def judged(
    inv: Inventory, statement: Statement = NEEDY, at: str = "new", policy: Policy = BLOCKING, do: str = ""
) -> Outcome:
    return classify(statement, at, inv, Fails("a", "b", "c", do), policy)[0]


def test_blocked_says_what_it_waits_for(inventory: Inventory) -> None:
    outcome, message = classify(NEEDY, "new", inventory, Fails("a", "b", "c"), BLOCKING)
    assert outcome is Outcome.BLOCKED
    assert not outcome.is_well
    assert message.splitlines() == ["expected: a", "seen:     b", "where:    c", f"why:      {WHY}"]


def test_blocked_is_the_instance_and_only_if_it_fails(inventory: Inventory) -> None:
    assert judged(inventory, at="old") is Outcome.FAILS
    assert classify(NEEDY, "new", inventory, None, BLOCKING) == (Outcome.HOLDS, "")


def test_what_else_is_said_of_a_failing_statement_comes_first(inventory: Inventory) -> None:
    waived = inventory.changed({"waivers": [Waiver(id="B-1", why="known", until=date.max)]})
    assert judged(waived) is Outcome.WAIVED
    assert judged(inventory.changed({"soak_days": 9}), replace(NEEDY, soak=True)) is Outcome.DUE
    assert judged(inventory, replace(NEEDY, severity=Severity.MINOR)) is Outcome.ADVICE
    assert judged(inventory, policy=replace(BLOCKING, manual={"B-1": "type it"})) is Outcome.MANUAL
    assert judged(inventory, do="type it") is Outcome.MANUAL


def test_a_minor_statement_is_blocked_where_advice_is_a_failure(inventory: Inventory) -> None:
    minor = replace(NEEDY, severity=Severity.MINOR)
    assert judged(inventory, minor, policy=replace(BLOCKING, strict=True)) is Outcome.BLOCKED


def test_of_a_run_only_what_was_passed_over_is_blocked() -> None:
    over = [Task("z.a", "new", ["A-1"], [], state="unproven", note="stopped at A-1/x: failed")]
    over += [Task("z.b", "new", ["B-1", "B-2"], ["A-1"], state="blocked", note=WHY)]
    over += [Task("z.c", "", ["C-1"], ["A-1"], state="not reached", blocked_by=["A-1"])]
    assert not_attempted(Plan(over)) == {Instance("B-1", "new"): WHY, Instance("B-2", "new"): WHY}


def test_of_a_plan_that_cannot_be_carried_out_what_it_lacks_is_named() -> None:
    plan = Plan([Task("z.b", "", ["B-1"], ["A-1", "A-2"], blocked_by=["A-1", "A-2"]), Task("z.a", "", ["A-1"], [])])
    assert not_attempted(plan) == {Instance("B-1", None): "not attempted, because A-1, A-2 are not proven"}


# A whole session ------------------------------------------------------------------------------------------------------

STATEMENTS = '''
from converge.checking.statement import Severity, require, statement

def good(word):
    require(word == "good", expected="good", seen=word, where="word")

@statement("A-1", severity=Severity.BLOCKER, seed=["C1"], remedy="words.spoil")
def test_word_is_good(word):
    """The word is good."""
    good(word)

@statement("B-1", severity=Severity.BLOCKER, on="live", seed=["C1"], needs=["A-1"], remedy="words.write")
def test_word_is_said(word):
    """The word is said."""
    good(word)

@statement("C-1", severity=Severity.MAJOR, seed=["C1"], needs=["B-1"], remedy="words.tell")
def test_word_is_heard(word):
    """The word is heard."""
    good(word)
'''

REMEDIES = '''
from converge.steps import Run, Step, Write

def spoil(ctx):
    yield Step("A-1/spoil", "new", "fail", (Run("exit 1"),))

def tell(ctx):
    yield from write(ctx)

def write(ctx):
    yield Step(f"W/write-{ctx.at}", "new", "write it", (Write(f"{ctx.inv.stages.root}/word", "good"),))
'''


@pytest.fixture
def site(project: pytest.Pytester, inventory: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    made = mending(project, build(tmp_path / "host", inventory, monkeypatch), "new", seconds=0)
    (made.top / "verify/test_words.py").write_text(STATEMENTS)
    (made.top / "mend/words.py").write_text(REMEDIES)
    return made


def outcomes(site: Site, key: str = "verdicts") -> dict[str, str]:
    return {f"{v['id']} {v['host']}": v["outcome"] for v in site.record()[key]}


def test_a_run_says_what_it_did_not_attempt(site: Site) -> None:
    out, _ = (session := site.begin()).communicate(timeout=90)
    assert session.returncode == 1, out
    assert (site.world.root / "word").read_text() == "bad"
    assert outcomes(site, "before") == dict.fromkeys(["A-1 new", "B-1 new", "B-1 old", "C-1 new"], "fails")
    assert outcomes(site) == {"A-1 new": "fails", "B-1 new": "blocked", "B-1 old": "blocked", "C-1 new": "blocked"}
    assert "1 fails, 3 blocked" in out
    assert "B-1 (new), B-1 (old): blocked: not attempted, because A-1 is not proven" in out
    assert "C-1 (new): blocked: not attempted, because B-1 is not proven" in out
    markdown = next((site.top / "reports").glob("*/report.md")).read_text()
    assert "**B-1 (new), B-1 (old): blocked**" in markdown
    page = next((site.top / "reports").glob("*/report.html")).read_text()
    assert '<span class="chip blocked">3 blocked</span>' in page


def test_what_needs_a_statement_that_was_not_chosen_is_blocked_by_it(site: Site) -> None:
    out, _ = (session := site.begin("--id", "B-1")).communicate(timeout=90)
    assert session.returncode == 1, out
    assert outcomes(site) == {"B-1 new": "blocked", "B-1 old": "blocked"}
    assert {v["message"].splitlines()[-1] for v in site.record()["verdicts"]} == {f"why:      {WHY}"}
    assert (site.world.root / "word").read_text() == "bad"


def test_a_plan_blocks_nothing_since_nothing_was_to_be_attempted(project: pytest.Pytester, site: Site) -> None:
    assert project.runpytest_subprocess("verify", "--plan").ret == 1
    assert set(outcomes(site).values()) == {"fails"}
