"""What any user of pytest expects of a test, of a statement: its phases, its fixtures, its output, a debugger, a rerun."""

from __future__ import annotations

import re
import sys

import pytest

from tests.converge.glue import edit, put, the_record

Project = pytest.Pytester

SAYS = '''
import logging

import pytest

from converge.checking.statement import Severity, statement

@pytest.fixture(scope="module")
def made():
    print("made")
    yield 1
    print("unmade")

@statement("B-1", severity=Severity.MAJOR, on="app", seed=["C1"], manual="x")
def test_says_something(word, made):
    """What a statement says is shown."""
    print("printed")
    logging.getLogger("mine").warning("logged")
    assert word == "good"

@statement("B-2", severity=Severity.MAJOR, on="app", seed=["C1"], manual="x")
def test_is_wrong(word):
    """A statement with a mistake of its own hides no other."""
    raise KeyError(word)

@pytest.mark.skipif(True, reason="never")
@statement("B-3", severity=Severity.MAJOR, on="app", seed=["C1"], manual="x")
def test_is_skipped(word):
    """A statement that is marked is skipped."""
'''

RERUNS = '''
import os
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

@pytest.hookimpl
def pytest_runtest_protocol(item, nextitem):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if any(report.failed for report in reports):
        first = next(report for report in reports if report.failed)
        first.outcome = "rerun"
        item.ihook.pytest_runtest_logreport(report=first)
        # Another process may read it at this moment.
        beside = Path(f"word.{os.getpid()}")
        beside.write_text("NEXT")
        beside.replace("word")
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
'''
"""A plugin that runs what fails once more, after the world has changed."""


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        (["--setup-show"], ["*SETUP    M made", "*SETUP    F word", "*TEARDOWN F word", "*TEARDOWN M made"]),
        (["--durations=0", "-vv"], ["*s setup *test_says_something*"]),
        (["--durations=0", "-vv"], ["*s call *test_says_something*"]),
        (["--durations=0", "-vv"], ["*s teardown *test_says_something*"]),
        (["-s"], ["*made", "*printed", "*unmade"]),
        (["--log-cli-level=INFO"], ["*live log call*", "WARNING *mine:*logged"]),
        (["-rA"], ["*stdout setup*", "made", "*stdout call*", "printed", "*Captured log call*", "*logged"]),
    ],
)
def test_its_phases_and_its_output_are_shown(project: Project, flags: list[str], shown: list[str]) -> None:
    put(project, "verify/test_more.py", SAYS)
    result = project.runpytest_subprocess("verify", "--id=B-1", *flags)
    assert result.ret == 0
    result.stdout.fnmatch_lines(shown)


def test_one_that_fails_keeps_what_it_said_and_hides_no_other(project: Project) -> None:
    put(project, "word", "bad")
    put(project, "verify/test_more.py", SAYS)
    result = project.runpytest_subprocess("verify", "--id=B-1,B-2,B-3")
    assert (result.ret, result.parseoutcomes()) == (1, {"failed": 1, "errors": 1, "skipped": 1, "deselected": 3})
    result.stdout.fnmatch_lines(["the statement itself failed: KeyError: 'bad'", "made", "printed", "*logged"])
    assert [v["outcome"] for v in the_record(project)["verdicts"]] == ["manual", "unobservable"]


def test_a_debugger_stands_where_it_failed(project: Project) -> None:
    put(project, "word", "bad")
    words = ("-m", "pytest", "verify", "--id=A-1", "--pdb")
    result = project.run(sys.executable, *words, stdin=b"p 'it is ' + seen\nq\n")
    result.stdout.fnmatch_lines(["*expected: good*", "*entering PDB*", "*'it is bad'*"])
    assert result.ret == 2


def test_an_interrupt_ends_it(project: Project) -> None:
    raising = 'if "PYTEST_CURRENT_TEST" in os.environ: raise KeyboardInterrupt\n    is_(word, "good")'
    edit(project, "verify/test_words.py", 'is_(word, "good")', raising)
    edit(project, "verify/test_words.py", "", "\nimport os\n")
    result = project.runpytest_subprocess("verify")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*KeyboardInterrupt*"])


@pytest.mark.parametrize("flags", [[], ["--target=a", "--target=b"], ["--target=a", "--target=b", "-n2"]], ids=" ".join)
@pytest.mark.parametrize(("then", "code", "outcome"), [("good", 0, "holds"), ("worse", 1, "fails")])
def test_a_plugin_that_runs_it_again_has_it_read_and_judged_anew(
    project: Project, flags: list[str], then: str, code: int, outcome: str
) -> None:
    put(project, "word", "bad")
    put(project, "reruns.py", RERUNS.replace("NEXT", then))
    result = project.runpytest_subprocess("verify", "--id=A-1", "-p", "reruns", "--junit-xml=j.xml", *flags)
    assert result.ret == code, result.stdout.str()
    for record in (whole := the_record(project)).get("targets", [whole]):
        assert [v["outcome"] for v in record["verdicts"]] == [outcome] * 2
        assert (record["exit_code"], record["misses"]) == (code, [])
        if code:
            assert all("worse" in v["message"] for v in record["verdicts"])
    cases = (project.path / "j.xml").read_text()
    assert re.findall(r'name="outcome" value="(\w+)"', cases) == [outcome] * (2 * max(1, len(flags[:2])))
