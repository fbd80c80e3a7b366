"""What the reports say of a record, and that none of them lets a host speak for itself."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import pytest

from converge.checking.record import Line, Probe, Record
from converge.checking.statement import Outcome, Severity, Statement
from converge.errors import Exit, UsageError
from converge.report.checklist import load_checklist, parse_checklist, proves
from converge.report.html import HtmlReport
from converge.report.markdown import code, markdown, prose
from converge.report.page import first_screen, page
from converge.report.run_json import json_text, record_of
from converge.report.summary import counted, downtime, groups, headline, led, led_text, left, said, ticked
from converge.report.terminal import closing_lines, tally_line
from converge.report.timeline import chart
from converge.report.write import write_reports
from converge.text.display import clipped, clock, duration, shown
from tests.converge.report import samples

ALL = [samples.red_check, samples.green_run, samples.unfinished_run, samples.everything]


def test_the_verdict_of_a_red_check() -> None:
    head = headline(samples.red_check())
    assert head.tone == "bad"
    assert head.text == "The site does not stand as it should: 12 of 21 statements not as stated"
    assert head.figures == "12 fail, 1 due, 8 hold"


def test_the_verdict_of_a_green_run() -> None:
    head = headline(samples.green_run())
    assert (head.tone, head.text) == ("good", "The site stands as it should again: 12 statements mended and proven")


def test_a_run_that_broke_what_held_says_so() -> None:
    record = samples.green_run()
    record.exit_code = 1
    record.verdicts[0].outcome = Outcome.FAILS
    assert "1 held before" in headline(record).text


def test_pages_that_no_step_announced_are_no_good_end_in_any_report() -> None:
    record = samples.green_run()
    assert record.probe
    cut = next(step for step in record.steps if step.id == "UNIT-5/cutover")
    record.probe.first_good, cut.interrupts = record.probe.started, None
    record.exit_code, record.exit_reason = 1, "the whole of it"
    head = headline(record)
    assert (head.tone, head.text) == ("bad", "Every statement holds, but 35 pages were lost that no step had announced")
    for text in ("\n".join(closing_lines(record, "r.html")), markdown(record), first_screen(record)):
        said = " ".join(text.replace("\\", "").split())
        assert f"{head.text}" in said
        assert "35 pages were lost that no step had announced: 35 in 3.50 s from " in said
        assert "during UNIT-5/cutover." in said
    record.verdicts[0].outcome = Outcome.FAILS
    assert "Not finished: 1 of 21 statements not as stated" in headline(record).text
    assert headline(record).text.endswith("; 35 pages were lost that no step had announced")


def test_what_a_step_announced_is_a_good_end() -> None:
    record = samples.green_run()
    assert record.probe
    record.probe.first_good = record.probe.started
    assert headline(record).tone == "good"
    assert "no step had announced" not in "\n".join(closing_lines(record, "r.html"))


def test_nothing_read_is_not_well() -> None:
    record = Record("id", "check", "lab", "1", samples.START)
    assert headline(record).tone == "unsure"
    assert counted([]) == "no statement was read"


def test_only_unobservable_is_unknown_not_bad() -> None:
    record = samples.red_check()
    for verdict in record.verdicts:
        verdict.outcome = Outcome.UNOBSERVABLE
    assert headline(record).text == "Not known: 21 statements could not be read"


@pytest.mark.parametrize("code", [each for each in Exit if each not in {Exit.HOLDS, Exit.FAILS}])
def test_every_other_exit_code_has_its_sentence(code: Exit) -> None:
    head = headline(replace(samples.red_check(), exit_code=int(code), exit_reason="the reason"))
    assert head.tone == "unsure"
    assert "exit code" not in head.text
    assert "the reason" in head.text


def test_failing_statements_stand_below_their_cause() -> None:
    found = {group.root.id: [each.id for each in group.followers] for group in groups(samples.red_check().verdicts)}
    assert found["UNIT-1"] == ["UNIT-8"]
    assert set(found) == {"REPO-6", "UNIT-1", "SOLR-4"}
    assert sum(len(each) + 1 for each in found.values()) == 12


def test_statements_that_blame_each_other_are_both_shown() -> None:
    one, two = samples.red_check().verdicts[2:4]
    one.likely_cause, two.likely_cause = two.id, one.id
    assert sum(1 + len(group.followers) for group in groups([one, two])) == 2


def test_the_parts_of_a_message() -> None:
    assert said("expected: a\nseen:     b\nmore b\nwhere:    c\ndo:       d") == {
        "expected": "a", "seen": "b\nmore b", "where": "c", "do": "d"
    }  # fmt: skip
    assert said("where:    c\nwhy:      w") == {"where": "c", "why": "w"}
    assert said("could not be read: no bus") == {"seen": "could not be read: no bus"}
    assert said("") == {}


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ([Outcome.HOLDS, Outcome.HOLDS], "holds"),
        ([Outcome.HOLDS, Outcome.FAILS], "fails"),
        ([Outcome.HOLDS, Outcome.UNOBSERVABLE], "fails"),
        ([Outcome.HOLDS, Outcome.DUE], "well"),
        ([Outcome.HOLDS], "unread"),
        ([], "unread"),
    ],
)
def test_a_line_is_ticked_only_when_all_its_statements_hold(outcomes: list[Outcome], state: str) -> None:
    verdicts = samples.verdicts(False)[: len(outcomes)]
    line = Line("C1", "x", [verdict.id for verdict in samples.verdicts(False)[:2]])
    for verdict, outcome in zip(verdicts, outcomes, strict=True):
        verdict.outcome = outcome
    assert ticked(line, verdicts).state == state


def test_a_line_without_statements_is_never_ticked() -> None:
    assert ticked(Line("C1", "x", []), samples.verdicts(False)).state == "unread"


def test_the_page_of_the_project_has_every_line_once() -> None:
    page_lines = parse_checklist(samples.CHECKLIST.read_text(), "checklist.toml")
    assert [line.ref for line in page_lines] == ["BG", "OS", "P1", "P2", "P3", "P4", "CT", *(f"C{n}" for n in range(1, 13))]
    assert all(line.text and line.section for line in page_lines)


def test_statements_are_found_by_their_seed() -> None:
    made = Statement("A-1", "s", Severity.MAJOR, "app", ("C1", "OS2"))
    other = replace(made, id="A-2", seed=("C12",))
    found = {line.ref: line.statements for line in load_checklist(samples.CHECKLIST, [made, other])}
    assert found["C1"] == found["OS"] == ["A-1"]
    assert found["C12"] == ["A-2"]
    assert found["CT"] == []
    assert not proves(["C1"], "C12")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[[section", "not valid TOML"),
        ('[[section]]\ntitle="T"\n[[section.line]]\nref="C1"', "ref and text"),
        ('[[section]]\n[[section.line]]\nref="C1"\ntext="x"', "title"),
        ('[[section]]\ntitle="T"\n' + '[[section.line]]\nref="C1"\ntext="x"\n' * 2, "more than one line"),
    ],
)
def test_a_bad_checklist_is_one_named_error(text: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        parse_checklist(text, "checklist.toml")


def test_a_missing_checklist_is_one_named_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_checklist(tmp_path / "none.toml", [])


@pytest.mark.parametrize("sample", ALL)
def test_json_comes_back_as_it_was(sample: object) -> None:
    record = sample()  # type: ignore[operator]
    text = json_text(record)
    assert text.isascii()
    assert record_of(text, "run.json") == record


def test_json_of_another_schema_is_refused() -> None:
    with pytest.raises(UsageError, match="schema 99"):
        record_of('{"schema": 99}', "run.json")
    with pytest.raises(UsageError, match=r"run\.json: not a record"):
        record_of("[]", "run.json")


def test_the_tally() -> None:
    record = replace(samples.red_check(), connections=1, execs=1, seconds=0.61)
    assert tally_line(record) == "1 connection, 1 exec, 212 readings, 0 misses, 0.61 s"


def test_what_was_not_foreseen_is_named_with_who_asked() -> None:
    record = replace(samples.red_check(), misses=["landscape at new, asked by UNIT-3", "solr at new"])
    lines = closing_lines(record, "reports/x/report.html")
    assert lines[-4] == "2 misses: landscape at new, asked by UNIT-3; solr at new"


def test_the_last_line_names_the_report() -> None:
    lines = closing_lines(samples.red_check(), "reports/x/report.html")
    assert lines[-1] == "report: reports/x/report.html"
    assert any(line.startswith("  fails        REPO-6") for line in lines)


@pytest.mark.parametrize("sample", ALL)
def test_no_line_for_the_terminal_steers_it(sample: object) -> None:
    for line in closing_lines(sample(), "report.html"):  # type: ignore[operator]
        assert line.isprintable(), line


def test_what_cannot_be_seen_is_shown() -> None:
    assert shown("\x1b[31mred\x1b[0m \x1b]8;;http://x\x07y\x9b1m") == "red y"
    assert shown("a\x00b\u202ec\udcffd\r\ne\tf") == "a␀b<U+202E>c<U+DCFF>d\ne\tf"
    shown(samples.HOSTILE).encode()


def test_long_output_is_shortened_with_a_note() -> None:
    kept, note = clipped("\n".join(map(str, range(1000))), lines=30)
    assert kept.startswith("0\n1\n")
    assert kept.endswith("\n999")
    assert "1,000 lines" in note
    assert clipped("short") == ("short", "")
    assert len(clipped("x" * 100_000)[0]) < 13_000


def test_durations() -> None:
    assert [duration(each) for each in (0.61, 12.44, 185, 4000)] == ["0.61 s", "12.4 s", "3 min 05 s", "1 h 06 min"]


def test_the_cost_of_a_run() -> None:
    quiet = Probe("u", 0, 10, 1, 0, 0.1)
    assert downtime(quiet) == "No request was lost: 1 request answered; the longest gap between two good answers was 0.10 s."
    assert "not known" in downtime(replace(quiet, sent=0))


def test_what_searches_did_without_stands_beside_what_was_expected() -> None:
    probe = Probe("u", 0, 10, 1, 0, 0.1, searches_sent=9, searches_failed=2, search_gap=4.2)
    assert "2 of 9 searches failed, with 4.20 s between two good ones at most." in downtime(probe)
    text = "(about 3.00 s were expected, and they are asked for seldomer)"
    assert text in downtime(probe, 3.0)
    assert "between two good ones" not in downtime(replace(probe, searches_failed=0))
    assert "between two good ones" in downtime(replace(probe, searches_failed=0), 3.0)


def test_what_is_expected_of_searches_is_of_the_steps_that_were_begun() -> None:
    record = samples.green_run()
    assert record.probe
    record.probe.search_gap = 4.2
    record.steps[5].search_gap, record.steps[6].search_gap, record.steps[7].search_gap = 10.5, 3.0, 99.0
    record.steps[7].started = 0.0
    for text in ("\n".join(closing_lines(record, "r.html")), markdown(record), first_screen(record)):
        assert "about 10.5 s were expected" in text.replace("\\", "")
    assert "searches and saves for about 10.5 s" in first_screen(record)


def test_the_timeline_draws_the_outage_where_it_was() -> None:
    record = samples.green_run()
    drawn = chart(record)
    assert drawn
    assert record.probe
    (outage,) = drawn.outages
    share = (record.probe.outages[0].start - record.probe.started) / (record.probe.ended - record.probe.started)
    assert outage.x == pytest.approx(drawn.labels + share * (drawn.width - drawn.labels - 12), abs=0.5)
    assert all(bar.x + bar.width <= drawn.width for lane in drawn.lanes for bar in lane.bars)
    assert chart(samples.red_check()) is None


def test_who_served_when_is_told_in_one_sentence_and_drawn() -> None:
    record = samples.green_run()
    text = led_text(led(record.steps))
    old, new = "hkn-rails-migrate.service, release 20181126", "hkn-rails.service, release 20190423"
    _, over, back = (clock(at) for at, _ in led(record.steps))
    assert text == f"The site led to {old} until {over}, to nobody until {back} UTC, and to {new} from then on."
    assert text in closing_lines(record, "r.html")
    assert text in first_screen(record)
    assert "to nobody until" in markdown(record)
    drawn = chart(record)
    assert drawn
    (lane,) = [lane for lane in drawn.lanes if lane.label == "the site leads to"]
    assert [bar.title.split(", ")[-1] for bar in lane.bars][1] == f"from {over} until {back}"
    assert lane.bars[-1].x + lane.bars[-1].width == pytest.approx(drawn.width - 12, abs=0.2)


def test_that_always_the_same_served_is_not_told() -> None:
    steps = samples.green_run().steps[:2]
    steps[0].led, steps[1].led = [(1.0, "a"), (2.0, "a")], [(3.0, "a")]
    assert led(steps) == [(1.0, "a")]
    assert led_text(led(steps)) == ""
    assert led_text([]) == ""


def test_what_is_left_says_what_to_type() -> None:
    record = samples.red_check()
    verdict = record.verdicts[0]
    verdict.outcome, verdict.message = Outcome.MANUAL, "seen: x\ndo:       loginctl enable-linger"
    assert [item.text for item in left(record)] == ["loginctl enable-linger"]


def test_what_is_left_is_said_once_for_all_that_wait_for_it() -> None:
    record = samples.green_run()
    cut = next(step for step in record.steps if step.id == "UNIT-5/cutover")
    cut.result, cut.reason = "manual", "type on the app host:\n  sh step.sh"
    enable = next(step for step in record.steps if step.id == "UNIT-3/enable")
    enable.result, enable.reason = "blocked", "not attempted, because UNIT-5 is not proven"
    for verdict in record.verdicts:
        if verdict.id in {"UNIT-5", "SOCK-3"}:
            verdict.outcome, verdict.message = Outcome.MANUAL, f"seen:     x\ndo:       {cut.reason}"
        if verdict.id in {"UNIT-3", "UNIT-4"}:
            verdict.outcome, verdict.message = Outcome.BLOCKED, f"seen:     {verdict.id}\nwhy:      {enable.reason}"
    host = samples.HOST
    assert [(item.title, item.text) for item in left(record)] == [
        (f"UNIT-5 ({host}), SOCK-3 ({host}): manual", cut.reason),
        (f"UNIT-3 ({host}), UNIT-4 ({host}): blocked", enable.reason),
    ]
    cut.reason = "something that no statement says"
    assert left(record)[-1].title == f"step UNIT-5/cutover on {host}: manual"


def test_what_was_not_attempted_is_left_also_where_nothing_could_be_done() -> None:
    record = samples.red_check()
    verdict = next(v for v in record.verdicts if v.id == "UNIT-3")
    verdict.outcome, verdict.message = Outcome.BLOCKED, "seen: x\nwhy:      not attempted, because UNIT-5 is not proven"
    assert [item.text for item in left(record)] == ["not attempted, because UNIT-5 is not proven"]


def test_markdown_puts_the_verdict_first_and_ticks_boxes() -> None:
    text = markdown(samples.green_run())
    assert text.startswith("## ✅ The site stands as it should again")
    assert "- [x] The app's unit is enabled" in text
    assert "- [ ] Back to one branch" in text


def test_markdown_of_hostile_text_has_no_markup_of_its_own() -> None:
    assert "`" not in prose(samples.HOSTILE).replace("\\`", "")
    assert not re.search(r"(?<!\\)[<>\[\]]", prose(samples.HOSTILE))
    assert "@somebody" not in prose(samples.HOSTILE)
    assert "http://" not in prose(samples.HOSTILE)
    assert code("a``b") == "``` a``b ```"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        for name, value in attrs:
            assert name != "href" or (value or "").startswith("#"), (tag, value)


def test_a_page_of_hostile_text_has_no_tag_of_its_own() -> None:
    plain, hostile = _Tags(), _Tags()
    for sample in (samples.red_check, samples.green_run):
        plain.feed(page(sample()))
    hostile.feed(page(samples.everything()))
    assert hostile.seen - plain.seen <= {"pre"}
    assert not {"script", "img", "iframe"} & hostile.seen
    assert not {name for name in hostile.attributes if name.startswith("on") or name in {"src", "style"}}


def test_the_first_screen_answers_in_this_order() -> None:
    text = first_screen(samples.red_check())
    words = ["<h1>", "What is wrong", "What is left", "What was done", "line by line", "Every statement"]
    places = [text.index(each) for each in words]
    assert places == sorted(places)


def test_a_long_list_of_what_was_done_is_folded_with_what_became_of_it() -> None:
    folded = first_screen(samples.unfinished_run())
    results = ((18, "done"), (1, "manual"), (2, "blocked"))
    chips = [f'<span class="chip {word}">{number} {word}</span>' for number, word in results]
    assert f"<details><summary>21 remedies: {' '.join(chips)}" in folded
    record = samples.green_run()
    record.steps = record.steps[:5]
    assert "<details><summary>" not in first_screen(record)
    assert first_screen(record).count("<li><span") == 5


def test_files_are_written_whole_and_as_they_were_masked_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converge.text.masking.mask", None)
    write_reports(samples.red_check(), tmp_path / "r")
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["report.md", "run.json"]


@pytest.mark.parametrize(
    ("when", "outcome", "sections", "cells"),
    [
        ("setup", "passed", [], 0),
        ("teardown", "passed", [], 0),
        ("teardown", "passed", [("Captured stdout teardown", "x")], 5),
        ("teardown", "failed", [], 5),
        ("call", "passed", [], 5),
    ],
)
def test_phases_that_the_page_does_not_show_are_not_looked_up(
    when: Literal["setup", "call", "teardown"],
    outcome: Literal["passed", "failed"],
    sections: list[tuple[str, str]],
    cells: int,
) -> None:
    report = pytest.TestReport("a", ("a", 0, "a"), {}, outcome, None, when, sections)
    found = ['<td class="col-result">Passed</td>', "<td>a</td>", "<td>0 ms</td>", "<td></td>"]
    HtmlReport(samples.red_check).pytest_html_results_table_row(report, found)
    assert len(found) == cells
