"""Every line that a person is told to type is taken; those that only look, and need no host, run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.__main__ import COMMANDS, made, main
from converge.checking.record import Record
from converge.errors import Exit
from converge.report.markdown import markdown
from converge.report.page import first_screen
from converge.report.terminal import closing_lines
from hosts.command_line import TOP
from tests.converge.report.samples import red_check
from tests.typed import typed_lines

PARTS = ("hosts check", "hosts list", "reports list", "reports compare", "reports prune")
DOCUMENTS = ("README.md", *(f"docs/{file.name}" for file in sorted((TOP / "docs").glob("*.md"))))
EXAMPLE = "LOG-2"
"""The statement that docs/adding-a-statement.md writes; there is none yet."""
ACTING = {"--yes": 0, "--brief": 0, "--plan-file": 1, "--wait": 1}
"""Flags of a plan or a run, and how many words each takes."""


@cache
def hkn(*words: str, cwd: str = "/", **more: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, outside the checkout's folder."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *words],
        cwd=cwd,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(TOP),
            "PYTHONSAFEPATH": "1",
            "COLUMNS": "100",
            **more,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def helps() -> str:
    """The help of everything but the lab, without what words each command takes."""
    said = [help_of(*words.split()) for words in ("", *COMMANDS[:-1], *PARTS)]
    return re.sub(r"^ *Usage:.*$", "", "\n".join(said), flags=re.MULTILINE)


def help_of(*words: str) -> str:
    """What a command says of itself."""
    return CliRunner().invoke(made(), [*words, "--help"], prog_name="hkn").stdout


def documents() -> str:
    """All that a person reads before he begins."""
    text = "\n".join((TOP / name).read_text(encoding="utf-8") for name in DOCUMENTS)
    return text.replace(EXAMPLE, "LOG-1")


def reports() -> str:
    """A check that could be mended, as terminal, page and Markdown tell it."""
    record = red_check()
    record.commands = {
        verb: f"./hkn {verb} --target 'fleet/a b.toml'" for verb in ("plan", "remediate")
    }
    return "\n".join(
        [*closing_lines(record, "report.html"), first_screen(record), markdown(record)]
    )


@pytest.mark.parametrize(("source", "least"), [(helps, 13), (documents, 25), (reports, 2)])
def test_what_is_told_to_be_typed_can_be(
    source: Callable[[], str], least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = typed_lines(source())
    assert len(lines) >= least
    wrong = [words for words in lines if not is_taken(words, monkeypatch)]
    assert wrong == []


def is_taken(words: list[str], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the command that a line names takes it: it says its help, or what it would look at."""
    if words[0] == "--help":
        return True
    if words[0] == "lab":
        return (
            subprocess.run(
                [sys.executable, "-m", "lab", *words[1:2], "--help"],
                cwd=TOP,
                capture_output=True,
                check=False,
            ).returncode
            == 0
        )
    if words[0] in {"check", "plan", "remediate"}:
        return hkn(*looking(words)).returncode == 0
    monkeypatch.setattr(sys, "argv", ["hkn", *words, "--help"])
    return main() == Exit.HOLDS


def looking(words: list[str]) -> list[str]:
    """A session that collects the same statements as this one, of targets that there are."""
    kept, rest = ["check", "--collect-only", "-q", "--target", "production"], iter(words[1:])
    for word in rest:
        for _ in range(ACTING.get(word, 1 if word == "--target" else 0)):
            next(rest)
        kept += [] if word in ACTING or word == "--target" else [word]
    return kept


@pytest.mark.parametrize(
    "report", [lambda r: "\n".join(closing_lines(r, "r.html")), first_screen, markdown]
)
def test_each_report_says_what_to_type_next(report: Callable[[Record], str]) -> None:
    record = red_check()
    record.commands = {verb: f"../hkn {verb} --target 'a b.toml'" for verb in ("plan", "remediate")}
    told = [["plan", "--target", "a b.toml"], ["remediate", "--target", "a b.toml"]]
    assert [words for words in typed_lines(report(record)) if words in told] == told
    record.kind = "plan"
    assert [words for words in typed_lines(report(record)) if words in told] == told[1:]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "say `./hkn check --target lab:x` and (`/a/b/hkn lab up`)",
            [["check", "--target", "lab:x"], ["lab", "up"]],
        ),
        ("  ../hkn plan    shows it", [["plan"]]),
        ("<code>./hkn plan &#39;a b&#39;</code> shows it", [["plan", "a b"]]),
        ("./hkn runs  # who\n$ ./hkn runs\nExample: ./hkn show ID", [["runs"], ["show", "ID"]]),
        ("type '/tmp/a b/hkn' plan", [["plan"]]),
        ("`./hkn` alone, hkn-rails and /home/h/hk/hkn are none", []),
    ],
)
def test_lines_are_found(text: str, lines: list[list[str]]) -> None:
    assert typed_lines(text) == lines


# What a person who is new meets


@pytest.mark.parametrize(
    "words",
    [
        ["explain", "unit-3"],
        ["explain", "SOLR"],
        ["explain"],
        ["hosts", "list"],
        ["reports", "list"],
    ],
)
def test_what_needs_no_host_runs_from_anywhere(words: list[str]) -> None:
    done = hkn(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) > 0


def test_each_help_has_an_example_of_its_own_command() -> None:
    for words in (*COMMANDS[:-1], *PARTS):
        lines = typed_lines(help_of(*words.split()))
        assert lines[-1][: len(words.split())] == words.split(), words


def collected(*words: str) -> set[str]:
    """The statements' tests that a check of production would judge."""
    done = hkn("check", "--target", "production", "--collect-only", "-q", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return set(re.findall(r"^verify/\S+::\w+", done.stdout, re.MULTILINE))


def test_ids_stand_anywhere_and_values_of_flags_are_none() -> None:
    assert collected("unit-3") == {"verify/test_units.py::test_app_unit_is_enabled"}
    assert collected("-k", "enabled", "Unit") == {"verify/test_units.py::test_app_unit_is_enabled"}
    assert len(collected("UNIT", "-x")) == len(collected("--id", "UNIT")) == 10
    assert len(collected("--id", "UNIT-3", "UNIT-5", "web-1")) == 3


def test_files_where_one_is_are_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web/conftest.py").write_text("raise RuntimeError('not ours')")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --nonsense\n")
    (tmp_path / "hosts.py").write_text("raise RuntimeError('not ours')")
    done = hkn("check", "web", "--target", "production", "--collect-only", "-q", cwd=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_id_that_there_is_not_names_the_nearest() -> None:
    for verb in ("check", "plan", "remediate", "explain"):
        target = [] if verb == "explain" else ["--target", "production"]
        done = hkn(verb, "unti-3", *target)
        assert done.returncode == Exit.USAGE
        assert "no statement has the id unti-3: did you mean UNIT-3" in done.stdout + done.stderr


@pytest.mark.parametrize("keyword", ["UNIT-3", "not unit-3"])
def test_an_id_given_to_pytests_k_is_told_its_place(keyword: str) -> None:
    done = hkn("check", "--target", "production", "--collect-only", "-k", keyword)
    assert ["check", "UNIT-3", "--target", "production"] in typed_lines(done.stdout)


def test_an_id_in_a_file_that_is_left_out_is_known() -> None:
    done = hkn("check", "web-1", "--target", "production", "--collect-only", "--ignore", f"{TOP}/verify/test_web.py")
    assert "no statement has the id" not in done.stdout + done.stderr
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED


def test_h_is_pytests_own_help() -> None:
    done = hkn("check", "UNIT", "-h")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--maxfail" in done.stdout


@pytest.mark.parametrize("word", ["verify/test_units.py::test_x", "verify", "test_x::y"])
def test_a_path_is_no_id(word: str) -> None:
    done = hkn("check", word, "--target", "production")
    assert done.returncode == Exit.USAGE
    assert f"{word} is a path: statements are named by ids here" in done.stderr


def test_words_of_the_environment_are_no_ids() -> None:
    flags = hkn("check", "--target", "production", "--collect-only", "UNIT-3", PYTEST_ADDOPTS="-v")
    assert flags.returncode == 0, flags.stdout + flags.stderr
    done = hkn("check", "--target", "production", PYTEST_ADDOPTS="tests/hosts")
    assert done.returncode == Exit.USAGE
    assert "PYTEST_ADDOPTS names tests/hosts: only flags may stand there" in done.stderr


@pytest.mark.parametrize("flag", ["plan", "remediate"])
def test_a_check_stays_one(flag: str) -> None:
    done = hkn("check", f"--{flag}", "--yes")
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert [flag] in typed_lines(done.stderr)


def test_a_folder_that_was_deleted_is_one_sentence(tmp_path: Path) -> None:
    gone = 'cd "$1" && rmdir "$1" && shift && exec "$@"'
    words = [sys.executable, "-m", "cli", "check"]
    done = subprocess.run(
        ["/bin/sh", "-c", gone, "sh", tmp_path, *words],
        env={"PYTHONPATH": str(TOP), "PYTHONSAFEPATH": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == Exit.USAGE
    assert done.stderr == "hkn: the folder that you are in was deleted: go to another one\n"


def test_the_verb_is_the_session_and_flags_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def session(words: list[str]) -> int:
        started.append(words)
        return 0

    monkeypatch.setattr(pytest, "main", session)
    for line in ("check -x unit-3", "plan --brief", "remediate --yes --wait 2h -vv UNIT"):
        monkeypatch.setattr(sys, "argv", ["hkn", *shlex.split(line)])
        main()
    assert [words[5:] for words in started] == [
        ["-x", "unit-3"],
        ["--plan", "--brief"],
        ["--remediate", "--yes", "--wait", "2h", "-vv", "UNIT"],
    ]
    assert {words[4] for words in started} == {str(Path(TOP, "verify"))}
