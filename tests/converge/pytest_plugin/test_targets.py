"""Several targets in one session: in this process, and spread over several. Each test runs a pytest of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from hosts.loader import HERE
from tests.converge.glue import put, the_record
from tests.sshd import free_port, inventory_of, needs_sshd, running

Project = pytest.Pytester

def run(project: Project, *args: str, targets: str = "a b c") -> pytest.RunResult:
    return project.runpytest_subprocess("verify", *(f"--target={each}" for each in targets.split()), *args)


def the_page(project: Project) -> str:
    (file,) = (project.path / "reports").glob("*/report.html")
    return file.read_text()


def test_each_target_has_its_verdict_its_section_and_its_record(project: Project) -> None:
    put(project, "b.word", "bad")
    result = run(project, "--junit-xml=j.xml")
    assert result.ret == 1
    result.assert_outcomes(passed=7, failed=2)
    lines = [line for line in result.outlines if line.strip()]
    at = lines.index("3 targets: 1 not as they should be, 2 well")
    assert [line.split()[:2] for line in lines[at - 4 : at - 1]] == [["a", "well"], ["b", "wrong"], ["c", "well"]]
    assert lines[-1].startswith("report: ")
    record = the_record(project)
    assert [(r["target"], r["exit_code"], len(r["verdicts"])) for r in record["targets"]] == [
        ("a", 0, 3), ("b", 1, 3), ("c", 0, 3),
    ]  # fmt: skip
    assert (record["kind"], record["exit_code"]) == ("survey", 1)
    page = the_page(project)
    assert all(f'id="t-{name}-"' in page for name in "abc")
    assert page.count('id="t-b-s-A-1-new"') == 1
    cases = ET.parse(str(project.path / "j.xml")).iter("testcase")
    found = [{p.get("name"): p.get("value") for p in case.iter("property")} for case in cases]
    assert {(each["target"], each["host"]) for each in found} == {(t, h) for t in "abc" for h in ("new", "old")}


def test_ids_name_the_target_and_then_the_host(project: Project) -> None:
    result = run(project, "--collect-only", "-q", targets="lab:x a")
    assert [line.rpartition("::")[2] for line in result.outlines if "::" in line] == [
        "test_word_is_good[lab:x-new]", "test_word_is_good[lab:x-old]", "test_word_is_short[lab:x-new]",
        "test_word_is_good[a-new]", "test_word_is_good[a-old]", "test_word_is_short[a-new]",
    ]  # fmt: skip


def test_an_unreachable_or_slow_target_costs_only_its_own_statements_their_verdict(project: Project) -> None:
    put(project, "a.unreachable")
    put(project, "b.slow")
    result = run(project)
    assert result.ret == 14
    result.assert_outcomes(passed=6, errors=1)
    text = result.stdout.str()
    assert "Traceback" not in text
    # The slow one is waited for last, wherever it was named.
    assert text.index("\nc:") < text.index("\nb:")
    assert [(r["target"], r["exit_code"], len(r["verdicts"])) for r in the_record(project)["targets"]] == [
        ("a", 14, 0), ("b", 0, 3), ("c", 0, 3),
    ]  # fmt: skip
    assert "new: no route: check the network" in the_page(project)


@pytest.mark.parametrize("targets", ["a", "a b"])
def test_a_file_that_cannot_be_imported_hides_no_verdict_where_that_is_asked_for(project: Project, targets: str) -> None:
    put(project, "verify/test_broken.py", "import no_such_module\n")
    assert run(project, targets=targets).ret == 2
    result = run(project, "--continue-on-collection-errors", targets=targets)
    assert result.ret == 1
    result.assert_outcomes(passed=3 * len(targets.split()), errors=1)


def test_what_fails_comes_before_what_cannot_be_reached(project: Project) -> None:
    put(project, "a.unreachable")
    put(project, "c.word", "bad")
    result = run(project)
    assert result.ret == 1
    assert [r["exit_code"] for r in the_record(project)["targets"]] == [14, 0, 1]


def test_selection_is_pytests_own_and_leaves_out_targets(project: Project) -> None:
    put(project, "c.unreachable")
    result = run(project, "-k", "a- or b-", "--id", "A-1")
    assert result.ret == 0
    result.assert_outcomes(passed=4, deselected=5)
    assert [r["target"] for r in the_record(project)["targets"]] == ["a", "b"]
    assert run(project, "-k", "nothing_of_this_name").ret == 5


def test_the_first_failure_ends_it_with_x(project: Project) -> None:
    for name in "abc":
        put(project, f"{name}.word", "bad")
    result = run(project, "-x")
    assert result.ret == 1
    result.assert_outcomes(failed=1)
    assert [r["exit_code"] for r in the_record(project)["targets"]].count(1) == 1


@pytest.mark.parametrize("flag", ["--remediate", "--plan"])
def test_only_one_live_site_is_acted_on_at_a_time(project: Project, flag: str) -> None:
    result = run(project, flag)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"*{flag} is for one live site at a time: name one of these targets: a, b, c"])


def test_a_target_that_is_named_twice_is_read_once_and_said(project: Project) -> None:
    result = run(project, targets="a b a")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["note: --target a: this target was named more than once*"])


def test_spread_over_processes_no_target_is_split_and_there_is_one_report(project: Project) -> None:
    put(project, "b.word", "bad")
    put(project, "d.unreachable")
    result = run(project, "-n", "2", "--junit-xml=j.xml", targets="a b c d e")
    assert result.ret == 1
    result.assert_outcomes(passed=10, failed=2, errors=1)
    who = {tuple(line.split()) for line in (project.path / "who").read_text().splitlines()}
    assert len(who) == len({name for name, _ in who}) == 4
    assert len({process for _, process in who}) == 2
    record = the_record(project)
    assert [(r["target"], r["exit_code"], len(r["verdicts"]), r["connections"]) for r in record["targets"]] == [
        ("a", 0, 3, 2), ("b", 1, 3, 2), ("c", 0, 3, 2), ("d", 14, 0, 0), ("e", 0, 3, 2),
    ]  # fmt: skip
    assert all(r["asking"] > 0 and r["situation"] == "as ever" for r in record["targets"] if r["exit_code"] != 14)
    assert the_page(project).count('class="target record') == 5
    result.stdout.fnmatch_lines(["*5 targets: 1 not as they should be, 1 not known, 3 well"])


def test_one_target_may_be_judged_in_another_process(project: Project) -> None:
    result = run(project, "-n", "2", targets="a")
    assert result.ret == 0
    assert (the_record(project)["target"], len(the_record(project)["verdicts"])) == ("a", 3)


def test_acts_have_one_order_and_are_not_spread(project: Project) -> None:
    result = run(project, "-n", "2", "--remediate", targets="a")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--remediate has one order of acts: leave out -n"])


@needs_sshd
def test_a_real_host_beside_one_where_nobody_listens(tmp_path: Path) -> None:
    with running(tmp_path) as sshd:
        with sshd.config.open("a") as config:
            config.write(f"Host gone\nHostName 127.0.0.1\nPort {free_port()}\n")
        for host in ("gone", "app"):
            (tmp_path / f"{host}.toml").write_text(inventory_of(sshd, host))
        page = tmp_path / "report.html"
        command = [sys.executable, "-m", "pytest", "verify", f"--target={tmp_path}/*.toml", "--id=FS-2,HOST-1"]
        done = subprocess.run(
            [*command, f"--html={page}"], cwd=HERE.parent, capture_output=True, text=True, check=False, timeout=120
        )
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"(?m)^app +wrong .*HOST-1", done.stdout)
    assert re.search(r"(?m)^gone +not known .*refuses connections", done.stdout)
    assert "Traceback" not in done.stdout + done.stderr
    assert 'id="t-gone-"' in page.read_text()
