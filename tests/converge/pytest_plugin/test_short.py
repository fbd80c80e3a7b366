"""The short way through pytest's protocol: taken where nobody can tell, and left where somebody could."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

Project = pytest.Pytester

MORE = '''
import logging
import os
import sys
import warnings

import pytest

from converge.errors import Unobservable
from converge.checking.statement import Severity, statement


@statement("B-1", severity=Severity.MAJOR, on="live", seed=["C1"], manual="x")
def test_says_something(word, at):
    """What a statement says is shown when it fails."""
    if "PYTEST_CURRENT_TEST" in os.environ:  # and not while young processes are looked for, which nobody captures
        print(f"printed at {at}")
        print("said as an error", file=sys.stderr)
        logging.getLogger("mine").warning("logged")
        warnings.warn("warned", UserWarning)
    assert word == "good"


@pytest.fixture(scope="module")
def made():
    print("made")
    yield 1
    print("unmade")


@statement("B-2", severity=Severity.MAJOR, seed=["C1"], manual="x")
def test_has_a_fixture(word, made):
    """One that goes the long way leaves nothing to who comes after."""
    assert word == "good"


@statement("B-3", severity=Severity.MAJOR, seed=["C1"], manual="x")
def test_is_wrong(word):
    """A statement with a mistake of its own hides no other."""
    raise KeyError(word)


@pytest.mark.skipif(True, reason="never")
@statement("B-5", severity=Severity.MAJOR, seed=["C1"], manual="x")
def test_is_skipped(word):
    """A statement that is marked is skipped."""
'''

LONG = "\n\ndef pytest_runtest_setup(item):\n    pass\n"
"""A conftest's hook that looks at a phase which the short way leaves out."""

FIXTURES = """

def pytest_fixture_setup(fixturedef, request):
    with (HERE / "set_up").open("a") as file:
        file.write(f"{fixturedef.argname}\\n")
"""


def put(project: Project, name: str, text: str) -> None:
    (Path(str(project.path)) / name).write_text(text)


def with_hook(project: Project, hook: str) -> None:
    file = Path(str(project.path)) / "conftest.py"
    file.write_text(file.read_text() + hook)


def told(project: Project, flags: list[str]) -> dict[str, Any]:
    """All that a session says in the end, without what differs from one time to the next."""
    result = project.runpytest_subprocess("verify", *flags, "--junit-xml=j.xml")
    root = Path(str(project.path))
    (folder,) = (root / "reports").iterdir()
    data = json.loads((folder / "run.json").read_text())
    records = data.get("targets", [data])
    page = (folder / "report.html").read_text()
    cases = ET.parse(root / "j.xml").getroot()
    for node in cases.iter():
        for name in ("time", "timestamp"):
            node.attrib.pop(name, None)
    timeless = [re.sub(r"[0-9.]+ ?s\b|\d{8}T[\w.]+-\w+|gw\d", "", line).strip("= ") for line in result.outlines]
    # Which target answers first, and is judged while another one still prints and warns, is chance.
    several = "--target=b" in flags
    folder.rename(root / f"old-{folder.name}")
    return {
        "code": result.ret,
        "terminal": [] if several else sorted(timeless) if "-n" in flags else timeless,
        "junit": sorted(ET.tostring(case).decode() for case in cases.iter("testcase")),
        "verdicts": [sorted((v["nodeid"], v["outcome"], v["message"]) for v in r["verdicts"]) for r in records],
        "rows": sorted(re.findall(r"col-outcome&#34;&gt;\w+", page)),
        "outcomes": {word: n for word, n in result.parseoutcomes().items() if not (several and word == "warnings")},
    }


@pytest.mark.parametrize("word", ["good", "bad", "too long", None])
@pytest.mark.parametrize(
    "flags",
    [["-v"], ["-x"], ["--maxfail=2", "-rA"], ["--strict"], ["--target=a", "--target=b"], ["--target=a", "-n", "2"]],
    ids=" ".join,
)
def test_nobody_can_tell_it_from_pytests_own(project: Project, word: str | None, flags: list[str]) -> None:
    put(project, "verify/test_more.py", MORE)
    put(project, "verify/test_later.py", MORE.replace('"B-', '"C-').replace("test_", "test_later_"))
    if word is None:
        (Path(str(project.path)) / "word").unlink()
    else:
        put(project, "word", word)
    short = told(project, flags)
    with_hook(project, LONG)
    long = told(project, flags)
    for what, words in short.items():
        assert words == long[what]


def test_no_fixture_is_set_up_for_an_answer(project: Project) -> None:
    with_hook(project, FIXTURES)
    assert project.runpytest_subprocess("verify").ret == 0
    file = Path(str(project.path)) / "set_up"
    assert not file.exists()
    assert project.runpytest_subprocess("verify", "--setup-show").ret == 0
    assert file.read_text().split().count("word") == 3


@pytest.mark.parametrize("flags", [["-s"], ["--log-cli-level=INFO"], ["--durations=5"], ["--setup-show"], ["--pdb"]])
def test_who_looks_at_the_phases_has_them(project: Project, flags: list[str]) -> None:
    with_hook(project, FIXTURES)
    assert project.runpytest_subprocess("verify", *flags).ret == 0
    assert (Path(str(project.path)) / "set_up").exists()


def test_an_interrupt_ends_it(project: Project) -> None:
    raising = 'if "PYTEST_CURRENT_TEST" in os.environ: raise KeyboardInterrupt\n    is_(word, "good")'
    file = Path(str(project.path)) / "verify" / "test_words.py"
    file.write_text("import os\n" + file.read_text().replace('is_(word, "good")', raising))
    result = project.runpytest_subprocess("verify")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*KeyboardInterrupt*"])
