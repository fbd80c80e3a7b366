"""The suite's own order: every statement has its remedy or says who mends it, and every remedy is some statement's."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import remediate
from converge.checking.judge import arguments
from converge.checking.statement import REGISTRY, Statement, import_statements
from converge.planning.order import find_cycle
from converge.runs.convergence import finder
from facts.application import READINGS, application

TOP = Path(__file__).resolve().parents[2]
FIXTURES = {"inv", "at", "host"}
CATALOGUE = [
    "HOST-1",
    "HOST-2",
    "HOST-3",
    "HOST-4",
    "REPO-1",
    "REPO-2",
    "REPO-3",
    "REPO-4",
    "REPO-5",
    "REPO-6",
    "REPO-7",
    "REPO-8",
    "REPO-9",
    "FS-1",
    "FS-2",
    "FS-3",
    "FS-4",
    "FS-5",
    "FS-7",
    "FS-8",
    "RUBY-1",
    "RUBY-2",
    "RUBY-3",
    "RUBY-4",
    "RUBY-5",
    "DEP-1",
    "DEP-5",
    "UNIT-1",
    "UNIT-2",
    "UNIT-3",
    "UNIT-4",
    "UNIT-5",
    "UNIT-6",
    "UNIT-7",
    "UNIT-8",
    "UNIT-9",
    "UNIT-10",
    "SOCK-1",
    "SOCK-2",
    "SOCK-3",
    "SOCK-4",
    "SOCK-5",
    "PID-1",
    "WEB-1",
    "WEB-2",
    "SOLR-1",
    "SOLR-2",
    "SOLR-3",
    "SOLR-4",
    "SOLR-5",
    "SOLR-6",
    "LOG-1",
]

import_statements("verify")

STATEMENTS = [s for s in REGISTRY.values() if s.function and s.function.__module__.startswith("verify.")]
by_id = pytest.mark.parametrize("statement", STATEMENTS, ids=[s.id for s in STATEMENTS])


def test_the_catalogue_is_stated() -> None:
    assert sorted(s.id for s in STATEMENTS) == sorted(CATALOGUE)


@by_id
def test_needs_are_statements(statement: Statement) -> None:
    assert [need for need in statement.needs if need not in REGISTRY] == []


@by_id
def test_fixtures_are_readings(statement: Statement) -> None:
    assert statement.function is not None
    assert [a for a in arguments(statement.function) if a not in READINGS and a not in FIXTURES] == []


@by_id
def test_the_remedy_is_a_generator_in_the_paired_room(statement: Statement) -> None:
    if statement.remedy is None:
        assert statement.manual
        return
    remedy = finder("remediate")(statement.remedy)
    assert inspect.isgeneratorfunction(remedy)
    assert remedy.__module__ == f"remediate.{statement.remedy.split('.')[0]}"


def test_every_remedy_is_some_statements() -> None:
    named = {s.remedy for s in STATEMENTS}
    orphans = []
    for info in pkgutil.iter_modules(remediate.__path__):
        if info.name in {"__main__", "cli"}:
            continue
        module = importlib.import_module(f"remediate.{info.name}")
        for name, function in inspect.getmembers(module, inspect.isgeneratorfunction):
            takes = list(inspect.signature(function).parameters)
            is_remedy = function.__module__ == module.__name__ and takes == ["ctx"] and not name.startswith("_")
            if is_remedy and f"{info.name}.{name}" not in named:
                orphans.append(f"{info.name}.{name}")
    assert orphans == []


def test_needs_have_no_cycle() -> None:
    assert find_cycle([s.id for s in STATEMENTS], REGISTRY) == []


def test_every_line_of_the_page_is_proven_by_statements() -> None:
    assert [line.ref for line in application().checklist() if not line.statements] == []


def test_every_seed_is_a_line_of_the_page() -> None:
    lines = {line.ref for line in application().checklist()}
    assert {seed for s in STATEMENTS for seed in s.seed} - lines == set()


def test_nothing_in_verify_or_remediate_names_a_host_or_release() -> None:
    names = re.compile(r"vampires|werewolves|jessie|stretch|bookworm|trixie", re.IGNORECASE)
    files = [p for room in ("verify", "remediate") for p in (TOP / room).rglob("*.py")]
    assert [str(p) for p in files if names.search(p.read_text())] == []


def test_a_check_imports_no_remedy() -> None:
    code = (
        "import sys, pkgutil, importlib, verify\n"
        "[importlib.import_module('verify.' + i.name) for i in pkgutil.iter_modules(verify.__path__)"
        " if i.name.startswith('test_')]\n"
        "sys.exit(any(m == 'remediate' or m.startswith('remediate.') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=TOP, check=False).returncode == 0
