"""The head start: when it is taken, and that it says and connects to nothing where the session will not read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from converge.pytest_plugin.early import HeadStart, all_of_it, inside, only, without
from tests.reports import swept
from tests.sshd import Sshd, needs_sshd, running

TOP = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("target", "one"),
    [(None, "lab"), ("x", "x"), (["x"], "x"), (["x", "y"], None), (["fleet/*.toml"], None)],
)
def test_only_one_target_is_connected_to_beforehand(target: str | list[str] | None, one: str | None) -> None:
    assert only(target) == one


def test_only_statements_are(tmp_path: Path) -> None:
    (tmp_path / "verify").mkdir()
    (tmp_path / "verify" / "test_a.py").touch()
    home = tmp_path / "verify"
    assert inside(["verify", "verify/test_a.py::test_it"], tmp_path, home)
    assert not inside([], tmp_path, home)
    assert not inside(["verify", "tests"], tmp_path, home)
    assert not inside(["verify/test_b.py"], tmp_path, home)


@pytest.mark.parametrize(
    ("chosen", "args", "all_are"),
    [
        ({}, ["verify"], True),
        ({}, ["verify/", "verify/test_a.py"], True),
        ({}, ["verify/test_a.py"], False),
        ({"keyword": "a"}, ["verify"], False),
        ({"markexpr": "blocker"}, ["verify"], False),
        ({"id": "A-1"}, ["verify"], False),
        ({"deselect": ["x"]}, ["verify"], False),
        ({"lf": True}, ["verify"], False),
    ],
)
def test_what_is_left_out_may_be_what_reads_the_repository(
    tmp_path: Path, chosen: dict[str, object], args: list[str], all_are: bool
) -> None:
    (tmp_path / "verify").mkdir()
    assert all_of_it(SimpleNamespace(file_or_dir=args, **chosen), tmp_path, tmp_path / "verify") is all_are


def logins(sshd: Sshd) -> int:
    return (sshd.folder / "sshd.log").read_text().count("Connection from")


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["verify/", "--html", "a.html", "-q"], ["verify/", "-q"]),
        (["--html=a.html", "--self-contained-html", "verify/"], ["verify/"]),
        (["verify/", "--htm", "x", "--html"], ["verify/", "--htm", "x"]),
    ],
)
def test_flags_of_what_is_imported_later_are_no_mistake(words: list[str], kept: list[str]) -> None:
    assert without(words) == kept


NEVER = {
    "requests", "urllib3", "invoke.config", "xdist", "execnet", "remediate", "rich", "typer", "pydantic", "multiprocessing",
    "asyncio", "concurrent.futures", "converge.acting.executor", "converge.runs.convergence", "converge.runs.run",
    "converge.acting.manual", "converge.acting.manual_wait", "converge.runs.tasks", "converge.probe.prober",
}  # fmt: skip
"""What a check does without."""

LATE = {
    "jinja2", "pytest_html.plugin", "pytest_metadata.plugin", "http.client", "verify", "converge.report",
    "converge.pytest_plugin.finish",
}  # fmt: skip
"""What a check needs when connecting has begun, at which the ssh library is imported."""


@needs_sshd
def test_a_check_imports_nothing_that_it_does_not_need_and_little_before_it_connects(tmp_path: Path) -> None:
    with running(tmp_path, "LogLevel VERBOSE") as sshd:
        # pytest would keep to itself what is printed while it imports.
        flags = ["-s", "--html", str(tmp_path / "page.html")]
        _, words, connected = check(sshd, inventory_of(sshd), *flags, interpreter=["-X", "importtime"])
    assert connected == 1, words
    imported = [line.rpartition("|")[2].strip() for line in words.splitlines() if line.startswith("import time:")]
    begun = next(place for place, name in enumerate(imported) if name.startswith("paramiko"))
    assert {name for name in imported if belongs(name, NEVER)} == set()
    assert {name for name in imported[:begun] if belongs(name, LATE)} == set()


def belongs(module: str, packages: set[str]) -> bool:
    """Whether a module is one of these packages, or inside one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def gits(sshd: Sshd) -> list[str]:
    """The commands of git that were begun on this machine; the folder of each."""
    file = sshd.folder / "gits"
    return file.read_text().splitlines() if file.exists() else []


def check(
    sshd: Sshd, text: str, *flags: str, git: str = "exit 128", interpreter: Sequence[str] = ()
) -> tuple[int, str, int]:
    """Exit code and words of a session on an inventory with this `text`, and how often it connected.

    What `git` is on this machine is shell; temporary files are in a folder of the sshd's.
    """
    for name in ("bin", "tmp"):
        (sshd.folder / name).mkdir(exist_ok=True)
    (sshd.folder / "bin" / "git").write_text(f'#!/bin/sh\necho "$*" >>{sshd.folder}/gits\n{git}\n')
    (sshd.folder / "bin" / "git").chmod(0o755)
    end = time.monotonic() + 5
    while not (before := logins(sshd)) and time.monotonic() < end:  # the one that found out that it listens
        time.sleep(0.05)
    file = sshd.folder / "ours.toml"
    file.write_text(text)
    words = [sys.executable, *interpreter, "-m", "pytest", "verify/", *flags, "--target", str(file)]
    variables = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    variables |= {"PATH": f"{sshd.folder}/bin:{os.environ['PATH']}", "TMPDIR": str(sshd.folder / "tmp")}
    with swept(file.stem):
        done = subprocess.run(words, cwd=TOP, env=variables, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr, logins(sshd) - before


@needs_sshd
@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (["--collect-only", "-q"], 0),
        (["--no-such-flag"], 4),
        (["--yes"], 4),
        (["--help"], 0),
        (["--version"], 0),
        (["--sudo"], 4),
    ],
)
def test_what_reads_nothing_connects_to_nothing(tmp_path: Path, flags: list[str], code: int) -> None:
    with running(tmp_path, "LogLevel VERBOSE") as sshd:
        ended, words, connected = check(sshd, inventory_of(sshd), *flags)
        assert (ended, connected) == (code, 0), words
        assert gits(sshd) == []


@needs_sshd
@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("soak_days = ", "soak_day = ", "soak_day"),
        ("soak_days = ", 'soak_days = "some"\nx = ', "soak_days"),
        ('role = "app"', 'role = "ape"', "hosts.app.role"),
        ('role = "app"', 'role = "app', "TOML"),
    ],
)
def test_an_inventory_with_a_mistake_connects_to_nothing(tmp_path: Path, right: str, wrong: str, words: str) -> None:
    with running(tmp_path, "LogLevel VERBOSE") as sshd:
        text = inventory_of(sshd)
        assert right in text
        ended, said, connected = check(sshd, text.replace(right, wrong))
        assert gits(sshd) == []
    assert (ended, connected) == (4, 0), said
    assert words in said
    assert str(sshd.folder / "ours.toml") in said
    assert "Traceback" not in said


@needs_sshd
def test_one_without_a_mistake_is_connected_to_once(tmp_path: Path) -> None:
    with running(tmp_path, "LogLevel VERBOSE") as sshd:
        ended, words, connected = check(sshd, inventory_of(sshd), "--id=HOST-1")
        assert (ended, connected) == (1, 1), words
        assert gits(sshd) == []


@needs_sshd
def test_the_repository_is_asked_once_from_the_beginning(tmp_path: Path) -> None:
    with running(tmp_path, "LogLevel VERBOSE") as sshd:
        ended, words, connected = check(sshd, inventory_of(sshd), "--html", str(tmp_path / "page.html"))
        assert (ended, connected) == (1, 1), words
        assert len(gits(sshd)) == 1, gits(sshd)
        assert list((tmp_path / "tmp").iterdir()) == []


@needs_sshd
def test_what_ends_while_it_collects_leaves_nothing_of_it_behind(tmp_path: Path) -> None:
    with running(tmp_path, "LogLevel VERBOSE") as sshd:
        waiver = '[[waivers]]\nid = "NO-1"\nwhy = "no statement has it"\nuntil = 2099-01-01\n'
        ended, words, _ = check(sshd, inventory_of(sshd) + waiver, git="sleep 77")
        assert ended == 4, words
        assert "no statement has the id NO-1" in words
        assert gits(sshd), "it was not begun"
        assert list((tmp_path / "tmp").glob("tmp.*")) == []
        assert subprocess.run(["pgrep", "-f", "^sleep 77$"], check=False, capture_output=True).stdout == b""


def inventory_of(sshd: Sshd) -> str:
    """The text of an inventory that leads to the sshd."""
    return as_toml(msgspec.to_builtins(sshd.inv))


def as_toml(table: dict[str, object], name: str = "") -> str:
    """A table as TOML; `None` is left out, and what the loader fills in."""
    plain, tables = [], []
    for key, value in table.items():
        place = f"{name}.{key}" if name else key
        if isinstance(value, dict):
            tables.append(f"[{place}]\n{as_toml(value, place)}")
        elif value is not None and key not in {"name", "file", "urls", "waivers"}:
            plain.append(f"{key} = {json.dumps(value)}")
        elif key == "urls":
            plain.append("urls = []")
    return "\n".join([*plain, *tables]) + "\n"


def test_plugins_are_marked_before_any_thread_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest goes through the marked ones at each import: what it adds meanwhile broke a connection, once in a while."""
    order: list[object] = []
    monkeypatch.setattr(pytest, "register_assert_rewrite", lambda *names: order.append(names))
    monkeypatch.setattr(HeadStart, "_begin", lambda _self, _start: order.append("begin"))
    conftest = SimpleNamespace(pytest_converge_start=None, pytest_plugins=["not_there_yet", "json"])
    manager = SimpleNamespace(hook=SimpleNamespace(pytest_converge_start=lambda: None))
    start: Any = HeadStart
    start(None, None, []).pytest_plugin_registered(conftest, manager)
    assert order == [("not_there_yet", "_pytest.not_there_yet", "_pytest.json"), "begin"]
