"""Throw-away projects with statements of the bench's own, run by the same engine with the same inventory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.properties import Kind, of
from converge.checking.application import Application, Situation
from converge.readings import Reading
from facts.application import application

TOP = Path(__file__).resolve().parent.parent
STATEMENTS = "stated"
PER_FILE = 20
"""Statements in one file, about as many as the suite's own files have."""

CONFTEST = '''
import pytest

from bench.generated import made
from {package}.asked import READINGS


@pytest.hookimpl
def pytest_converge_application():
    return made(READINGS)
'''

FIXTURES = """
from converge.pytest_plugin.fixtures import fixtures
from {package}.asked import READINGS

globals().update(fixtures(READINGS))
"""

READING_HEAD = """
import sys

from converge.readings import reading, readings_in
"""

READING = '''

@reading({script!r})
def {name}(raw, c):
    """The answer as it is."""
    return raw.out.strip()
'''

READING_TAIL = """

READINGS = readings_in(sys.modules[__name__])
"""

STATEMENT_HEAD = """
from converge.checking.statement import Severity, require, statement
"""

STATEMENT = '''

@statement("{id}", severity=Severity.MAJOR, seed=["BENCH"], manual="nothing: it is a measurement")
def test_{name}({reading}):
    """{sentence}"""
    seen = {value}
    require(seen == {expected!r}, expected={expected!r}, seen=seen, where={where!r})
'''


def made(readings: Mapping[str, Reading[Any]]) -> Application:
    """The suite's application with other statements and readings, and no situation to tell."""
    return replace(
        application(),
        statements=STATEMENTS,
        readings=readings,
        situation=lambda _read: Situation("a measurement"),
        cut_over_on=lambda _read: None,
        checklist=list,
        standing=(),
    )


def project(folder: Path, readings: str, statements: list[str]) -> None:
    """Write a project of these readings and statements (source text of each) into an empty folder."""
    package = folder.name
    home = folder / STATEMENTS
    home.mkdir()
    # The suite's own settings, so that it starts in the same way.
    ini = (TOP / "pytest.ini").read_text().replace("pythonpath = .", f"pythonpath = {TOP} {folder.parent}")
    (folder / "pytest.ini").write_text(ini)
    (folder / "conftest.py").write_text(CONFTEST.format(package=package))
    (folder / "asked.py").write_text(READING_HEAD + readings + READING_TAIL)
    (home / "conftest.py").write_text(FIXTURES.format(package=package))
    for start in range(0, len(statements), PER_FILE):
        text = STATEMENT_HEAD + "".join(statements[start : start + PER_FILE])
        (home / f"test_{start // PER_FILE:02d}.py").write_text(text)


def growing(folder: Path, count: int) -> None:
    """A project of `count` statements, each with a reading of its own."""
    names = [f"mode_{number:03d}" for number in range(count)]
    readings = "".join(READING.format(name=name, script="stat -c %a /etc/passwd") for name in names)
    texts = [
        STATEMENT.format(
            id=f"GROW-{number}",
            name=name,
            reading=name,
            sentence=f"Reading {number} says which mode the file has.",
            value=name,
            expected="644",
            where="/etc/passwd",
        )
        for number, name in enumerate(names)
    ]
    project(folder, readings, texts)


ASK: Mapping[Kind, str] = {
    "mode": "stat -c %a {}",
    "owner": "stat -c %U {}",
    "link": "readlink {}",
    "package": "dpkg-query -W -f '${{Status}}\\n' {}",
    "service": "systemctl show -p ActiveState -p UnitFileState {}",
    "user": "id -u {}",
}
"""The question about all properties of a kind at once; `id` is asked of each."""


def forty(folder: Path) -> None:
    """A project that states the peers' forty properties: one reading a kind, one statement a property."""
    readings = ""
    texts: list[str] = []
    for kind, question in ASK.items():
        properties = of(kind)
        names = [each.name for each in properties]
        if kind in {"user", "service"}:
            script = "; ".join(question.format(name) for name in names)
        else:
            script = question.format(" ".join(names))
        readings += READING.format(name=f"each_{kind}", script=script)
        for number, each in enumerate(properties):
            expected = {"package": "install ok installed", "service": "active enabled"}.get(kind, each.value)
            value = f"each_{kind}.splitlines()[{number}]"
            if kind == "service":
                # systemctl leaves a blank line between two units only if both are asked in one command.
                value = f"' '.join(line.split('=')[1] for line in each_{kind}.splitlines()[{2 * number}:{2 * number + 2}])"
            texts.append(
                STATEMENT.format(
                    id=f"FORTY-{len(texts)}",
                    name=f"{kind}_{number}",
                    reading=f"each_{kind}",
                    sentence=f"The {kind} of {each.name} is as expected.",
                    value=value,
                    expected=expected,
                    where=each.name,
                )
            )
    project(folder, readings, texts)
