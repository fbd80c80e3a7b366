"""The health check as pytest shows it: outcomes, selection, marks, exit codes. Each runs a pytest of its own."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from datetime import date, timedelta

import pytest

from tests.converge.glue import edit, put, the_record

Project = pytest.Pytester

THROUGH = """

@reading("echo x", on="app")
def other(raw, c):
    return raw.out.strip()

globals().update(fixtures({"other": other}))

@pytest.fixture
def through(other):
    return other
"""
"""A reading that a statement can ask for only through a fixture, so that nobody foresees it."""

LATE = '''

@statement("A-3", severity=Severity.MAJOR, seed=["C1"], manual="ask")
def test_through(through):
    """What is asked through a fixture holds."""
    is_(through, "x")
'''


def run(project: Project, *args: str) -> pytest.RunResult:
    return project.runpytest_subprocess("verify", *args)


def edit_inventory(project: Project, **changes: object) -> None:
    path = project.path / "inventory.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_all_well_is_0(project: Project) -> None:
    result = run(project)
    result.assert_outcomes(passed=3)
    assert result.ret == 0


def test_a_failing_statement_is_1_and_hides_no_other(project: Project) -> None:
    put(project, "word", "bad")
    result = run(project)
    result.assert_outcomes(failed=2, passed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*expected: good*", "*seen:     bad*", "*where:    word*"])


def test_a_failing_minor_statement_is_advice(project: Project) -> None:
    put(project, "word", "too long")
    result = run(project, "--id", "A-2")
    result.assert_outcomes(xfailed=1)
    assert result.ret == 0


def test_strict_makes_advice_a_failure_with_what_a_person_does(project: Project) -> None:
    put(project, "word", "too long")
    result = run(project, "--id", "A-2", "--strict")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*do:       ask demo*"])


def test_what_cannot_be_read_is_an_error_not_a_failure(project: Project) -> None:
    (project.path / "word").unlink()
    result = run(project, "--id", "A-1")
    result.assert_outcomes(errors=2)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*could not be read*No such file*"])


@pytest.mark.parametrize(("days", "code"), [(1, 0), (0, 0), (-1, 1)])
def test_a_waiver_holds_until_its_day(project: Project, days: int, code: int) -> None:
    put(project, "word", "bad")
    until = (date.today() + timedelta(days=days)).isoformat()
    edit_inventory(project, waivers=[{"id": "A-1", "why": "known", "until": until}])
    result = run(project)
    assert result.ret == code


def test_due_until_the_soak_is_over(project: Project) -> None:
    put(project, "word", "bad")
    edit(project, "verify/test_words.py", 'remedy="words.write"', 'remedy="words.write", soak=True')
    edit_inventory(project, soak_days=14)
    result = run(project)
    assert result.ret == 0
    result.assert_outcomes(xfailed=2, passed=1)


def test_an_unreachable_host_is_one_message_and_14(project: Project) -> None:
    (project.path / "unreachable").touch()
    result = run(project)
    assert result.ret == 14
    text = result.stdout.str()
    assert text.count("new: no route: check the network") == 1
    assert text.count("old: no route: check the network") == 1
    assert "Traceback" not in text


@pytest.mark.parametrize(("args", "code"), [(["--id", "A-99"], 4), (["-k", "nothing"], 5), ([], 14)])
def test_a_session_that_read_nothing_leaves_no_report_and_names_none(project: Project, args: list[str], code: int) -> None:
    root = project.path
    if code == 14:
        (root / "unreachable").touch()
    result = run(project, *args)
    assert result.ret == code
    assert list((root / "reports").iterdir()) == []
    assert "html report" not in result.stdout.str()


def test_a_page_that_was_asked_for_elsewhere_stays(project: Project) -> None:
    root = project.path
    assert run(project, "-k", "nothing", "--html", "mine.html").ret == 5
    assert (root / "mine.html").exists()
    assert list((root / "reports").iterdir()) == []


def test_collect_only_connects_to_nothing_and_reads_like_a_checklist(project: Project) -> None:
    result = run(project, "--collect-only", "-q")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["A-1 *blocker *The word is good.", "*test_word_is_good?new?*"])
    assert not (project.path / "connected").exists()
    assert not (project.path / "reports").exists()


@pytest.mark.parametrize("flag", ["--target=demo", "--id=A-1", "--plan", "--yes"])
def test_flags_of_statements_are_not_dropped_where_none_is_asked_for(project: Project, flag: str) -> None:
    project.makepyfile(test_else="def test_it(): pass")
    result = project.runpytest_subprocess("test_else.py", flag)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"*{flag.partition('=')[0]} works on statements*"])


def test_selecting_nothing_is_5(project: Project) -> None:
    assert run(project, "-k", "nothing_of_this_name").ret == 5


def test_an_unknown_id_is_4_with_what_was_meant(project: Project) -> None:
    result = run(project, "--id", "A-3")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*did you mean*A-*"])
    looked = run(project, "--id", "A-3", "--collect-only", "-q")
    assert looked.ret == 4
    assert "A-1" not in looked.stdout.str()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--id="], "*--id: no id was given*"),
        (["--yes"], "*add --remediate*"),
        (["--brief"], "*--brief says how --remediate or --plan*"),
    ],
)
def test_flags_that_would_do_other_than_was_meant_are_refused(project: Project, flags: list[str], words: str) -> None:
    result = run(project, *flags)
    assert result.ret == 4
    result.stderr.fnmatch_lines([words])


def test_severity_is_a_mark(project: Project) -> None:
    run(project, "-m", "blocker").assert_outcomes(passed=2, deselected=1)


def test_junit_has_statement_and_severity(project: Project) -> None:
    run(project, "--junit-xml=j.xml")
    tree = ET.parse(project.path / "j.xml")
    found = {(p.get("name"), p.get("value")) for p in tree.iter("property")}
    assert {("statement", "A-1"), ("severity", "blocker"), ("outcome", "holds"), ("host", "new")} <= found


def test_the_last_line_names_the_report_and_it_is_there(project: Project) -> None:
    result = run(project)
    last = [line for line in result.outlines if line.strip()][-1]
    assert last.startswith("report: ")
    assert (project.path / last.removeprefix("report: ").strip()).stat().st_size > 10_000


def test_one_round_trip_a_host_and_nothing_late(project: Project) -> None:
    run(project)
    record = the_record(project)
    assert (record["connections"], record["execs"], record["misses"]) == (2, 2, [])


def test_a_reading_that_was_not_foreseen_is_named_with_its_statement(project: Project) -> None:
    edit(project, "conftest.py", "", THROUGH)
    edit(project, "verify/test_words.py", "", LATE)
    result = run(project)
    assert "1 miss: other at new, asked by A-3" in result.outlines
    record = the_record(project)
    assert record["misses"] == ["other at new, asked by A-3"]
    assert {each["reading"]: each["times"] for each in record["asked"]} == {"word": 2, "landscape": 1, "other": 1}


@pytest.mark.parametrize("flags", [["--hosts=x"], ["--sudo"], ["--ssh-config=x"]])
def test_flags_around_the_inventory_are_refused(project: Project, flags: list[str]) -> None:
    result = run(project, *flags)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*use --target*"])


def test_remediate_counts_only_when_typed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--remediate --yes")
    result = run(project)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*counts only when it is typed*"])


@pytest.mark.parametrize("flags", ["--remediate", "--remediate --yes", "--brief"])
def test_what_acts_does_not_count_from_an_ini_file_either(project: Project, flags: str) -> None:
    edit(project, "tox.ini", "addopts =", f"addopts = {flags}")
    result = run(project)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"*{flags.partition(' ')[0]} counts only when it is typed*"])
    assert not (project.path / "connected").exists()


def test_yes_from_an_ini_file_does_not_answer_for_who_typed_the_rest(project: Project) -> None:
    edit(project, "tox.ini", "addopts =", "addopts = --yes")
    result = run(project, "--remediate")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--yes counts only when it is typed*"])


def installed(project: Project, name: str) -> None:
    """A package that pytest finds by itself and loads under this name."""
    top = project.path
    (top / "rerunner.py").write_text("")
    info = top / "rerunner-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rerunner\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[pytest11]\n{name} = rerunner\n")


@pytest.mark.parametrize("name", ["rerunfailures", "flaky", "pytest-retry"])
def test_remediate_is_refused_beside_a_plugin_that_runs_tests_again(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    installed(project, name)
    monkeypatch.setenv("PYTHONPATH", f"{project.path}:{os.environ['PYTHONPATH']}")
    assert run(project).ret == 0, "a check may be run again"
    (project.path / "connected").unlink()
    result = run(project, "--remediate", "--yes")
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"*a plugin that runs tests again is active ({name}): switch it off with -p no:{name}"])
    assert not (project.path / "connected").exists()
    off = run(project, "--remediate", "--yes", "-p", f"no:{name}")
    assert off.ret == 0
    off.stdout.fnmatch_lines(["nothing to do"])


@pytest.mark.parametrize("module", ["pytest_rerunfailures", "pytest_retry"])
def test_so_it_is_beside_one_that_is_loaded_by_hand(project: Project, module: str) -> None:
    (project.path / f"{module}.py").write_text("")
    result = run(project, "--remediate", "--yes", "-p", module)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"*switch it off with -p no:{module}"])


@pytest.mark.parametrize("flags", [["--remediate", "--collect-only"], ["--plan", "--collect-only"]])
def test_looking_only_cannot_be_combined_with_acting(project: Project, flags: list[str]) -> None:
    assert run(project, *flags).ret == 4


def test_tests_of_something_else_are_left_alone(project: Project) -> None:
    project.makepyfile(test_else="def test_it(): pass")
    result = project.runpytest_subprocess("test_else.py")
    assert result.ret == 0
    assert not (project.path / "reports").exists()


def test_a_statement_about_hosts_that_are_retired_is_not_collected(project: Project) -> None:
    edit(project, "verify/test_words.py", 'on="live"', 'on="legacy"')
    hosts = json.loads((project.path / "inventory.json").read_text())["hosts"]
    edit_inventory(project, hosts=hosts | {"old": hosts["old"] | {"retired": True}})
    result = run(project)
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("flag", ["--setup-only", "--setup-plan"])
def test_judging_nothing_is_no_success(project: Project, flag: str) -> None:
    (project.path / "word").write_text("bad\n")
    result = project.runpytest_subprocess("verify", flag)
    assert result.ret == 4
    assert "judge nothing" in result.stderr.str()


def test_reports_that_cannot_be_written_are_one_message(project: Project) -> None:
    (project.path / "reports").write_text("in the way")
    result = project.runpytest_subprocess("verify")
    assert result.ret == 4
    assert "reports cannot be written there" in result.stderr.str()
    assert "Traceback" not in result.stderr.str() + result.stdout.str()
    assert not (project.path / "connected").exists()


def test_a_failure_that_says_what_a_person_does_is_manual(project: Project) -> None:
    put(project, "word", "bad")
    edit(project, "verify/test_words.py", 'where="word")', 'where="word", do="write it")')
    result = run(project, "--id", "A-1", "-m", "blocker")
    assert result.ret == 1
    assert {v["outcome"] for v in the_record(project)["verdicts"]} == {"manual"}


def test_a_waiver_of_no_statement_is_4(project: Project) -> None:
    edit_inventory(project, waivers=[{"id": "A-9", "why": "typo", "until": "2099-01-01"}])
    result = run(project)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*demo.toml: waivers: no statement has the id A-9*did you mean*"])


@pytest.mark.parametrize("args", [["."], ["verify", "tests"], ["tests/test_x.py", "verify/test_words.py"], ["verify", "."]])
def test_statements_are_not_mixed_with_other_tests(project: Project, args: list[str]) -> None:
    (project.path / "tests").mkdir()
    (project.path / "tests/test_x.py").write_text("def test_x():\n    pass\n")
    result = project.runpytest_subprocess(*args)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*statements and other tests are run apart*"])


@pytest.mark.parametrize("flag", ["--html", "--junitxml"])
@pytest.mark.parametrize("place", ["word/x", "/proc/none/x", "verify", f"{'x' * 300}/x"])
def test_a_report_that_cannot_be_written_is_told_when_it_is_typed(project: Project, flag: str, place: str) -> None:
    result = run(project, f"{flag}={place}")
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: {flag}*{place}*"])
    assert not (project.path / "connected").exists()


def test_reports_may_be_asked_for_in_folders_that_are_not_there_yet(project: Project) -> None:
    assert run(project, "--html=a/b/r.html", "--junitxml=c/j.xml").ret == 0
    assert (project.path / "a/b/r.html").exists()
    assert (project.path / "c/j.xml").exists()


def test_the_plugin_that_writes_junit_may_be_blocked(project: Project) -> None:
    result = run(project, "-p", "no:junitxml")
    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    assert list((project.path / "reports").glob("*/report.html"))


def test_a_mistyped_id_is_told_before_a_target_that_is_not_there(project: Project) -> None:
    edit(project, "conftest.py", "", "\ndef load(target, *, offline=False):\n    raise UsageError('no lab is running')\n")
    result = run(project, "--id", "A-3")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*did you mean*A-*"])
    known = run(project, "--id", "A-1")
    known.stderr.fnmatch_lines(["*no lab is running*"])


@pytest.mark.parametrize("targets", [["demo"], ["a", "b"]])
def test_a_secret_is_in_no_report_and_not_on_the_terminal(project: Project, targets: list[str]) -> None:
    put(project, "word", "password=hunter2")
    result = run(project, *(f"--target={target}" for target in targets))
    assert result.ret == 1
    files = [file for file in (project.path / "reports").glob("*/*") if file.is_file()]
    assert len(files) == 3
    for text in (result.stdout.str(), *(file.read_text() for file in files)):
        assert "hunter2" not in text
        assert "password=[masked]" in text or len(targets) > 1
