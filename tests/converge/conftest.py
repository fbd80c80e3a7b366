"""A small application on this machine, for tests of the pytest glue."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from hosts.schema import Inventory

CONFTEST = """
from __future__ import annotations
import json, os, sys, time
import msgspec
from pathlib import Path
import pytest
import converge.checking.session
from converge.checking.application import Application, Situation
from converge.errors import HostUnreachable, UsageError
from converge.pytest_plugin.fixtures import fixtures
from converge.readings import reading
from converge.errors import Unobservable
from converge.transport import LocalLink
from hosts.schema import Inventory

pytest_plugins = ["converge.pytest_plugin.plugin"]
HERE = Path(__file__).parent

@reading(lambda c: f"cd {HERE} && if [ -f {c.inv.name}.word ]; then cat {c.inv.name}.word; else cat word; fi", on="here")
def word(raw, c):
    if raw.rc:
        raise Unobservable(raw.err.strip())
    return raw.out.strip()

@reading("echo here", on="app")
def landscape(raw, c):
    return raw.out.strip()

READINGS = {"word": word, "landscape": landscape}
globals().update(fixtures(READINGS))

def load(target, *, offline=False):
    inv = msgspec.json.decode((HERE / "inventory.json").read_bytes(), type=Inventory)
    return inv if target == "lab" else inv.changed({"name": target})

def connect(inv, host, ask=None):
    (HERE / "connecting").touch()
    if (HERE / f"{inv.name}.slow").exists():
        time.sleep(4)
    if (HERE / "unreachable").exists() or (HERE / f"{inv.name}.unreachable").exists():
        raise HostUnreachable(f"{host.name}: no route: check the network")
    (HERE / "connected").touch()
    with (HERE / "who").open("a") as who:
        who.write(f"{inv.name} {os.getpid()}\\n")
    return LocalLink()

converge.checking.session.connect = connect

def pytest_converge_application():
    return Application(
        name="demo", version="0", statements="verify", remedies="mend", load=load, prelude=lambda inv: "",
        readings=READINGS, situation=lambda read: Situation("as ever"), cut_over_on=lambda read: None,
        checklist=lambda: [], standing=(READINGS["landscape"],))
"""

STATEMENTS = '''
from converge.checking.statement import Severity, require, statement

def is_(word, wanted):
    require(word == wanted, expected=wanted, seen=word, where="word")

@statement("A-1", severity=Severity.BLOCKER, on="live", seed=["C1"], remedy="words.write")
def test_word_is_good(word):
    """The word is good."""
    is_(word, "good")

@statement("A-2", severity=Severity.MINOR, seed=["C1"], needs=["A-1"], manual="ask {inv.name}")
def test_word_is_short(word):
    """The word is short."""
    is_(len(word) < 5, True)
'''


@pytest.fixture
def project(
    pytester: pytest.Pytester, inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """A project with two statements about one word, which both of its hosts share."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    top = Path(str(pytester.path))
    (top / "inventory.json").write_bytes(msgspec.json.encode(inventory))
    (top / "word").write_text("good\n")
    (top / "verify").mkdir()
    (top / "verify" / "__init__.py").touch()
    (top / "verify" / "test_words.py").write_text(STATEMENTS)
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\naddopts = --import-mode=importlib\npythonpath = .\n")
    return pytester
