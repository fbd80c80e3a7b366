"""The main job: from the state that the migration page describes to the desired one, once, looked at from all sides."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from converge.checking.statement import Outcome
from converge.errors import Exit
from converge.probe.prober import SAVE, SEARCH, longest_gap
from converge.probe.worker import Sample
from converge.report.summary import downtime, expected_search_gap, headline
from lab.payload.places import LINKED_FILES, SHARED, SOCKETS
from tests.converge.report.test_browser import FLAGS
from tests.live.faulting import planned_wrongly
from tests.live.rig import TOP, Answer, Rig, environment
from tests.live.snapshots import Snapshot, changes, journals, kept_data, neighbours
from tests.live.test_cutover import LATER, assert_answers_after
from tests.targets import inventory
from tests.typed import typed_lines

EXPECTED = {
    "REPO-3": "production.rb on master names the Ruby of the old host, and all rubies share one bundle",
    "REPO-5": "master's unit files are for the old host, and stop the app by a kill",
    "REPO-6": "branch migrate is not merged",
    "REPO-9": "the deploy restarts the app before Solr, so that it finds none",
    "REPO-8": "the migrate stage and its branch are there",
    "DEP-5": "nothing keeps a deploy from starting hkn-rails.service beside migrate",
    "DEP-1": "prod's release is master's, without what is on branch migrate",
    "FS-4": "minutes-2018-11-26.txt lies in a real folder of a migrate release",
    "FS-5": "pictures/officers leads through migrate/shared",
    "FS-8": "the migrate tree is in use",
    "RUBY-2": "the app's unit runs nothing",
    "RUBY-3": "prod's gems were built for the old host's Ruby",
    "RUBY-4": "prod's release was bundled on the old host",
    "RUBY-5": "the old host's gems lie in shared/bundle",
    "UNIT-1": "the unit file on the server is for the old host",
    "UNIT-3": "hkn-rails.service is disabled",
    "UNIT-4": "hkn-rails-migrate.service is enabled and runs",
    "UNIT-5": "hkn-rails.service does not run",
    "UNIT-8": "the log rotation restarts hkn-rails-migrate.service",
    "UNIT-10": "the old unit file stops by a kill",
    "SOCK-3": "the socket is held by hkn-rails-migrate.service",
    "SOCK-4": "old.sock is dead",
    "PID-1": "no process of the app's unit to be named",
    "WEB-2": "the release that answers is migrate's",
    "SOLR-2": "Solr's home is migrate's",
    "SOLR-4": "Solr's PID file has the old host's number",
    "SOLR-5": "the app came up without Solr",
    "LOG-1": "the logs are written by migrate's processes",
}
"""What a check of `migrated` must find, with the reason for each."""


@dataclass(frozen=True)
class Story:
    """Everything that was seen on the way."""

    check: Answer
    plan: Answer
    run: Answer
    again: Answer
    last: Answer
    neighbours: list[Snapshot]
    data: list[Snapshot]
    journals: list[list[str]]


@pytest.fixture(scope="module")
def story(rig: Rig) -> Story:
    """One migration for all the tests below."""
    rig.enter("migrated")
    neighbours_seen, data, runs = [], [], []

    def look() -> None:
        neighbours_seen.append(neighbours(rig.lab))
        data.append(kept_data(rig.lab))
        runs.append(journals(rig.lab))

    check = rig.check()
    plan = rig.check("--plan")
    look()
    run = rig.remediate()
    look()
    again = rig.remediate()
    look()
    return Story(check, plan, run, again, rig.check(), neighbours_seen, data, runs)


def test_the_check_is_red_for_exactly_these_reasons(story: Story) -> None:
    assert story.check.code == Exit.FAILS
    assert story.check.failing == set(EXPECTED)
    assert story.check.ids(Outcome.UNOBSERVABLE) == set()
    assert story.check.record
    assert story.check.record.situation == "migrated"


def test_each_failure_says_what_was_expected_and_what_was_seen(story: Story) -> None:
    for verdict in story.check.verdicts:
        if verdict.outcome is not Outcome.HOLDS:
            assert "expected: " in verdict.message, verdict.id
            assert "seen:     " in verdict.message, verdict.id
            assert "where:    " in verdict.message, verdict.id


def test_what_the_story_tells_to_type_runs_as_it_is_told(rig: Rig, story: Story) -> None:
    told = [(TOP / "script/demo").read_text().replace("$lab", rig.lab.name)]
    for answer in (story.check, story.plan, story.run, story.again, story.last):
        assert answer.folder
        told += [answer.out, *((answer.folder / name).read_text() for name in ("report.html", "report.md"))]
    lines = typed_lines("\n".join(told))
    assert {words[0] for words in lines} >= {"check", "plan", "remediate", "show", "rollback", "lab"}
    older, newer = (answer.folder.name for answer in (story.check, story.last) if answer.folder)
    also = [["runs"], ["hosts", "check", rig.target], ["explain"], ["reports", "list"], ["reports", "compare", older, newer]]
    looking = [words for words in lines if words[0] in {"check", "plan", "show", "runs", "explain", "hosts", "reports"}]
    assert len(looking) >= 3
    for words in [*looking, *also]:
        named = ["--target", rig.target] if words == ["runs"] else []
        here = environment(os.environ.items())
        command = [str(TOP / "hkn"), *words, *named]
        done = subprocess.run(command, cwd=TOP, env=here, capture_output=True, text=True, check=False)
        assert done.returncode in {Exit.HOLDS, Exit.FAILS}, f"{words}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr


def test_a_plan_lists_its_steps_and_leaves_no_run(story: Story) -> None:
    assert story.plan.code == Exit.FAILS
    assert story.plan.record
    assert story.plan.record.kind == "plan"
    assert len(story.plan.record.steps) > 20
    assert {s.result for s in story.plan.record.steps} <= {"planned"}
    (cutover,) = [s for s in story.plan.record.steps if "lead the site over" in s.sentence]
    assert "switch: " in cutover.sentence
    assert {s.id for s in story.plan.record.steps if s.interrupts} == set()
    assert all(s.sentence and s.commands for s in story.plan.record.steps)
    assert story.journals[0] == []


def test_the_run_ends_green(story: Story) -> None:
    assert story.run.failing == set()
    assert story.run.ids(Outcome.UNOBSERVABLE) == set()
    assert story.run.code == Exit.HOLDS
    assert story.run.record
    assert story.run.record.kind == "run"
    assert story.run.record.situation == "migrated, now finished"
    assert {v.id for v in story.run.record.before if not v.outcome.is_well} <= set(EXPECTED)


def test_every_step_that_was_done_has_its_proof(story: Story) -> None:
    assert story.run.record
    done = [s for s in story.run.record.steps if s.result == "done"]
    assert len(done) > 20
    assert [s.id for s in done if not s.proof] == []
    assert {s.result for s in story.run.record.steps} <= {"done", "not reached", "not needed"}


def test_the_run_did_what_the_plan_said(story: Story) -> None:
    assert planned_wrongly(story.plan, story.run) == []


def test_the_cost_was_measured(story: Story) -> None:
    assert story.run.record
    probe = story.run.record.probe
    assert probe
    assert probe.failed == 0, probe.outages
    seconds = probe.ended - probe.started
    assert probe.sent > seconds
    assert probe.searches_sent > seconds / 10
    assert probe.longest_gap > 0
    assert probe.ended - probe.started > 10
    assert sum(outage.failed for outage in probe.outages) == probe.failed
    assert downtime(probe, expected_search_gap(story.run.record.steps)) in story.run.out


def test_searches_and_saves_failed_no_longer_than_the_plan_announced(story: Story) -> None:
    assert story.plan.record
    announced = max(step.search_gap or 0.0 for step in story.plan.record.steps if step.result == "planned")
    assert announced > 0, "the deploy moves Solr"
    assert story.run.record
    assert story.run.folder
    probe, pace = story.run.record.probe, 1 / inventory().limits.probe_per_second
    assert probe
    samples = [Sample(**json.loads(line)) for line in (story.run.folder / "requests.jsonl").read_text().splitlines()]
    # Between two of a kind nobody asks: by so much longer a gap looks than it was.
    for kind, seldom in (("search", SEARCH * pace), ("save", SAVE * pace)):
        asked = [sample for sample in samples if sample.kind == kind]
        assert longest_gap(probe.started, probe.ended, asked) <= announced + seldom, kind
        moving = [(s.started, s.started + s.seconds) for s in story.run.record.steps if s.started and s.search_gap]
        lost = [sample for sample in asked if not sample.is_good]
        assert [s for s in lost if not any(began <= s.answered and s.sent <= ended for began, ended in moving)] == []


def test_neighbours_did_not_notice(story: Story) -> None:
    before, *later = story.neighbours
    for after in later:
        assert changes(before, after) == []


def test_nothing_of_the_groups_data_is_lost(story: Story) -> None:
    before, after, _ = story.data
    assert changes(before, {name: after.get(name, "is gone") for name in before}) == []
    assert "public/files/minutes-2018-11-26.txt" in after
    assert all(name in before for name in LINKED_FILES), f"{SHARED} is not what this test means to look at"


def test_a_second_run_has_nothing_to_do_and_writes_nothing(story: Story) -> None:
    assert story.again.code == Exit.HOLDS
    assert "nothing to do" in story.again.out
    assert story.again.acted == []
    assert len(story.journals[1]) == 1
    assert story.journals[2] == story.journals[1]


def test_the_last_check_is_green(story: Story) -> None:
    assert story.last.code == Exit.HOLDS
    assert {v.outcome for v in story.last.verdicts} == {Outcome.HOLDS}
    assert story.last.record
    assert story.last.record.situation == "finished"
    assert [line.ref for line in story.last.record.checklist if not line.statements] == []


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser with a profile of its own."""
    webdriver = pytest.importorskip("selenium.webdriver")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (program and driver):
        pytest.skip("no browser here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.binary_location = program
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


@pytest.mark.parametrize("name", ["check", "run", "last"])
def test_the_report_opens_with_the_verdict(story: Story, browser: Any, tmp_path: Path, name: str) -> None:
    answer: Answer = getattr(story, name)
    assert answer.folder
    moved = shutil.copy(answer.folder / "report.html", tmp_path / "as mailed.html")
    browser.get(Path(moved).as_uri())
    text = browser.find_element("css selector", "body").text
    assert answer.record
    verdict = headline(answer.record).text
    assert verdict in answer.out
    assert verdict in text
    assert answer.record.target in text


@pytest.mark.usefixtures("story")
@pytest.mark.parametrize("deed", LATER)
def test_what_comes_later_finds_the_site_answering_again(rig: Rig, deed: str) -> None:
    """The last tests of this host: what they do is not in what was read of it above."""
    assert_answers_after(rig, deed)
    seen = rig.lab.app.run(["readlink", "-f", f"{SOCKETS}/hkn.sock"]).stdout.strip()
    assert seen == f"{SOCKETS}/prod.sock", "what the web server asks leads to what the unit binds"
