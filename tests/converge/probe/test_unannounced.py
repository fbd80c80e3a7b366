"""Which pages that were lost are a run's loss: each case of the rule, on made-up outages and steps."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from converge.checking.record import Probe, StepRecord
from converge.errors import Exit
from converge.probe.prober import summary
from converge.probe.unannounced import ROOM, Loss, losses, lost_in_all, overran, told, weighed
from converge.probe.worker import TIMEOUT, Sample
from converge.report.run_json import made


def page(at: float, *, good: bool = True, took: float = 0.0, kind: Any = "page") -> Sample:
    return Sample(at, at + took, 200 if good else 502, "" if good else "status 502", kind=kind)


def seen(*bad: tuple[float, float], until: float = 100.0) -> Probe:
    """A site that is asked every half second, and gives no good answer from the one moment to the other."""
    asked = [n / 2 for n in range(int(until * 2))]
    return summary("u", 0, until, [page(at, good=not any(a <= at < b for a, b in bad)) for at in asked])


def step(id: str, started: float, seconds: float, **changes: Any) -> StepRecord:
    made_of = StepRecord(id, "z", [], "new", id, "", [], "", None, "done", started=started, seconds=seconds)
    return replace(made_of, **changes)


FIRST = step("FIRST", 5, 1)
BRIEF = step("BRIEF", 10, 20, interrupts=5.0)


def test_nothing_lost_is_no_loss() -> None:
    assert losses(seen(), [FIRST, BRIEF]) == []
    assert losses(None, [FIRST]) == []


def test_page_that_no_step_announced_is_lost_and_told_with_its_moment_and_step() -> None:
    found = losses(seen((12, 13), (40, 41)), [FIRST, step("QUIET", 10, 20)])
    assert found == [
        Loss(2, 12.0, 1.0, "status 502", "QUIET", during=True),
        Loss(2, 40.0, 1.0, "status 502", "QUIET", during=False),
    ]
    assert told(found) == (
        "4 pages were lost that no step had announced: 2 in 1.00 s from 00:00:12.0 UTC (status 502), during QUIET; "
        "2 in 1.00 s from 00:00:40.0 UTC (status 502), after QUIET"
    )


@pytest.mark.parametrize(("end", "lost"), [(15.0, False), (10.0 + 5.0 + ROOM, False), (10.5 + 5.0 + ROOM, True)])
def test_what_a_step_announced_is_no_loss_and_more_than_that_is_told_and_fails_nothing(end: float, lost: bool) -> None:
    found = losses(seen((10, end)), [FIRST, BRIEF])
    assert bool(found) is lost
    assert told(found) == lost_in_all(found) == ""
    assert weighed((Exit.HOLDS, ""), found) == (Exit.HOLDS, "")
    assert overran(found) == ("BRIEF had announced about 5.00 s without service, and took 10.5 s" if lost else "")


def test_room_is_what_one_page_may_wait() -> None:
    assert ROOM == TIMEOUT


def test_stretches_of_one_step_are_added_up() -> None:
    (found,) = losses(seen((11, 17), (20, 26)), [FIRST, BRIEF])
    assert (found.failed, found.start, found.seconds, found.announced) == (24, 11.0, 12.0, 5.0)


def test_step_that_announced_something_excuses_only_its_own_time() -> None:
    assert [found.step for found in losses(seen((50, 51)), [FIRST, BRIEF])] == ["BRIEF"]
    assert [found.step for found in losses(seen((7, 8)), [FIRST, BRIEF])] == ["FIRST"]


def test_process_that_is_told_to_end_takes_its_time_to() -> None:
    assert losses(seen((12, 14)), [FIRST, step("END", 10, 0.1, interrupts=2.0)]) == []
    assert losses(seen((13, 14)), [FIRST, step("END", 10, 0.1, interrupts=2.0)])


def test_site_that_was_down_before_loses_nothing() -> None:
    assert losses(seen((0, 30)), [FIRST, step("START", 10, 20, serves=True)]) == []
    assert losses(seen((0, 100)), [FIRST]) == []


def test_site_that_comes_and_is_lost_again_is_a_loss() -> None:
    found = losses(seen((0, 30), (50, 51)), [FIRST, step("START", 10, 20, serves=True)])
    assert [(loss.start, loss.step) for loss in found] == [(50.0, "START")]


def test_what_was_lost_before_the_first_step_is_not_the_runs() -> None:
    assert losses(seen((2, 8)), [FIRST]) == []
    assert losses(seen((2, 8)), []) == []


def test_step_that_was_never_begun_or_never_done_announces_nothing() -> None:
    for idle in (
        replace(BRIEF, started=0.0, result="not reached"),
        replace(BRIEF, result="manual"),
    ):
        assert [found.step for found in losses(seen((12, 13)), [FIRST, idle])] == ["FIRST"]


@pytest.mark.parametrize("result", ["failed", "rolled back", "unknown"])
def test_step_that_went_wrong_had_announced_it_all_the_same(result: Any) -> None:
    assert losses(seen((12, 13)), [FIRST, replace(BRIEF, result=result, seconds=0.0 if result == "unknown" else 20)]) == []


def test_plain_start_of_what_a_step_before_ended_takes_as_long_as_it_takes() -> None:
    end, start = step("END", 10, 1, interrupts=2.0), step("START", 13, 20, serves=True)
    assert losses(seen((11, 30)), [FIRST, end, start]) == []
    assert losses(seen((11, 30)), [FIRST, end, replace(start, serves=False)])
    assert losses(seen((11, 60)), [FIRST, end, start]), "it goes on after the start has ended"


def test_plain_start_excuses_nothing_of_what_nobody_announced() -> None:
    (found,) = losses(seen((20, 30)), [FIRST, step("START", 25, 20, serves=True)])
    assert (found.step, found.during) == ("FIRST", False)


def test_step_of_a_person_may_have_begun_since_one_was_waited_for() -> None:
    by_hand = replace(BRIEF, started=40.0, waited=20.0)
    assert losses(seen((38, 42)), [FIRST, by_hand]) == []
    assert losses(seen((38, 42)), [FIRST, replace(by_hand, waited=0.0)])
    assert losses(seen((38, 42)), [FIRST, replace(by_hand, interrupts=None)])


def test_person_may_let_the_site_wait_between_the_end_and_the_start() -> None:
    end = step("END", 10, 1, interrupts=2.0, waited=8.0)
    assert losses(seen((10.5, 60)), [FIRST, end, step("START", 55, 10, serves=True, waited=12.0)]) == []


TYPED = step("TYPED", 105, 60, waited=10.0, begun=100.0)
"""Asked for at 10 s, typed between the looks at 100 and 105 s."""


def timed_out(*bad: tuple[float, float]) -> Probe:
    """Pages of which no answer came at all."""
    probe = seen(*bad, until=200)
    probe.outages = [replace(outage, first_error="TimeoutError: timed out") for outage in probe.outages]
    return probe


def test_pages_without_an_answer_are_lost_by_a_step_that_was_typed_once_it_had_begun() -> None:
    (found,) = losses(timed_out((120, 130)), [FIRST, TYPED])
    assert (found.step, found.during, found.start, found.seconds) == ("TYPED", True, 120.0, 10.0)
    assert losses(timed_out((101, 102)), [FIRST, TYPED]), "it may have begun as soon as it was looked for in vain"
    assert losses(timed_out((90, 110)), [FIRST, TYPED]), "as of any other step"
    assert losses(timed_out((50, 60), (170, 180)), [FIRST, TYPED]) == [], "the network's, before and after"


def test_step_that_was_typed_announces_nothing_of_what_was_lost_before_it_began() -> None:
    brief = replace(TYPED, interrupts=5.0)
    assert losses(seen((110, 115), until=200), [FIRST, brief]) == []
    (found,) = losses(seen((50, 60), until=200), [FIRST, brief])
    assert (found.step, found.during, found.announced) == ("FIRST", False, None)
    assert losses(timed_out((50, 60)), [FIRST, brief]) == []
    assert losses(seen((50, 60), until=200), [brief]) == [], "it is the run's first step"


def test_time_that_a_person_takes_to_type_a_start_is_no_overrun_of_what_ended_the_site() -> None:
    end = step("END", 10, 1, interrupts=2.0, waited=5.0, begun=9.0)
    start = step("START", 55, 10, serves=True, waited=12.0, begun=50.0)
    assert losses(seen((10.5, 60)), [FIRST, end, start]) == []
    assert losses(seen((12.5, 60)), [FIRST, end, start]) == [], "it was told to end, and served until the next was asked for"


def test_slow_page_that_was_asked_for_before_a_step_is_lost_by_it() -> None:
    pages = [page(n / 2) for n in range(100)] + [page(9.6, good=False, took=1.0, kind="slow")]
    probe = summary("u", 0, 50, pages)
    assert probe.outages[0].noticed == 10.6
    assert losses(probe, [FIRST, BRIEF]) == []
    assert [found.step for found in losses(probe, [FIRST, replace(BRIEF, interrupts=None)])] == ["BRIEF"]


@pytest.mark.parametrize(("acts", "error"), [(True, "timed out"), (False, "status 502")])
def test_network_that_fails_while_a_person_is_waited_for_is_no_loss(acts: bool, error: str) -> None:
    waits = step("BY-HAND", 10, 60, waited=10.0)
    probe = seen((40, 42))
    (outage,) = probe.outages
    probe.outages = [replace(outage, first_error="timed out")]
    assert losses(probe, [FIRST, waits]) == []
    probe.outages = [replace(outage, first_error=error)]
    assert losses(probe, [FIRST, replace(waits, waited=0.0 if acts else 10.0)])


def test_search_that_fails_is_no_page() -> None:
    pages = [page(n / 2) for n in range(100)] + [page(12, good=False, kind="search")]
    assert losses(summary("u", 0, 50, pages), [FIRST]) == []


def test_web_server_that_could_not_be_asked_is_no_loss() -> None:
    assert losses(Probe("u", 0, 10, 0, 0, 0.0), [FIRST]) == []


def test_record_of_an_earlier_version_tells_of_no_loss() -> None:
    old = json.loads(json.dumps(seen((12, 13)), default=vars))
    del old["first_good"]
    assert losses(made(Probe, old), [FIRST]) == []


def test_many_stretches_are_told_in_short() -> None:
    text = told(losses(seen(*((n, n + 0.5) for n in range(20, 30, 2))), [FIRST]))
    assert text.startswith("5 pages were lost")
    assert text.endswith("; and 2 more times")


LOST = [Loss(3, 0.0, 1.0, "status 502", "A/1", during=True)]


@pytest.mark.parametrize("code", [None, Exit.HOLDS, Exit.FAILS])
def test_run_that_lost_pages_fails(code: Exit | None) -> None:
    ended = weighed((code, "why") if code is not None else None, LOST)
    assert ended
    assert ended[0] is Exit.FAILS
    assert ended[1].endswith("during A/1")


@pytest.mark.parametrize("code", [Exit.INTERRUPTED, Exit.UNKNOWN, Exit.ROLLED_BACK, Exit.STATE_MOVED])
def test_what_comes_before_that_keeps_its_code_and_says_it_too(code: Exit) -> None:
    assert weighed((code, "why"), LOST) == (code, f"why; {told(LOST)}")
    assert weighed((code, "why"), []) == (code, "why")
    assert weighed(None, []) is None
