"""Our commands from their command line to their exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import cli.explain
import cli.hosts
import cli.reach
from cli.__main__ import main
from cli.ending import Output
from converge.errors import Exit, HostUnreachable
from converge.transport import Ask, Link
from hosts.schema import Host, Inventory


def typed(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit code of a command line."""
    monkeypatch.setattr(sys, "argv", ["hkn", *words])
    return main()


@pytest.mark.parametrize("words", [("runs",), ("show", "R0"), ("rollback", "R0"), ("purge",)])
def test_whoever_is_at_the_terminal_is_asked_for_what_the_login_needs(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    asks: list[Ask | None] = []

    def person(_prompt: str, *, echo: bool = False) -> str | None:  # noqa: ARG001
        return None

    def connect(_inv: Inventory, _host: Host, *, ask: Ask | None = None) -> Link:
        asks.append(ask)
        raise HostUnreachable("new: no route")

    monkeypatch.setattr(cli.reach, "load", lambda _target: inventory)
    monkeypatch.setattr(cli.reach, "terminal", lambda: person)
    monkeypatch.setattr(cli.reach, "connect", connect)
    assert typed(monkeypatch, *words) == Exit.UNREACHABLE
    assert asks == [person]


# How they end

TOP = Path(__file__).parents[2]
SAYING = (
    *(["explain", "UNIT-3"], ["hosts", "--help"], ["explain"]),
    ["check", "--target", "production", "--collect-only", "UNIT"],
)
"""Command lines that connect to nothing and print something."""


@pytest.mark.parametrize(
    ("holder", "called", "words"),
    [
        (cli.reach, "load", ["runs"]),
        (cli.hosts, "load", ["hosts", "check"]),
        (cli.explain, "import_statements", ["explain"]),
    ],
)
@pytest.mark.parametrize(
    ("raised", "code"),
    [(ZeroDivisionError("password=hush"), 3), (BrokenPipeError(32, "password=hush"), 3), (KeyboardInterrupt(), 2)],
)
def test_what_nobody_foresaw_is_a_defect_and_no_failing_statement(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], holder: ModuleType, called: str,
    words: list[str], raised: BaseException, code: int,
) -> None:  # fmt: skip
    def broken(*_: object) -> None:
        raise raised

    monkeypatch.setattr(holder, called, broken)
    assert typed(monkeypatch, *words) == code
    said = capsys.readouterr().err
    if code == Exit.INTERNAL:
        first, *rest = said.splitlines()
        assert first.startswith(f"hkn: a defect of this program: {type(raised).__name__}: ")
        assert first.endswith("password=[masked]")
        assert "in broken" in said
        assert len(rest) < 24
        assert "hush" not in said


@pytest.mark.parametrize("saying", SAYING)
@pytest.mark.parametrize(
    ("to", "code", "said"), [(">/dev/full", Exit.USAGE, "cannot be written to (No space left"), (">&-", Exit.HOLDS, "")]
)
def test_an_output_that_takes_nothing_is_no_defect(saying: list[str], to: str, code: Exit, said: str) -> None:
    words = [sys.executable, "-m", "cli", *saying]
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$@" {to}', "sh", *words], cwd=TOP, check=False, stderr=subprocess.PIPE, text=True
    )
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == bool(said)


def test_the_lab_has_the_streams_that_were_closed() -> None:
    words = [sys.executable, "-m", "cli", "lab", "--help"]
    done = subprocess.run(
        ["/bin/sh", "-c", '"$@" >&-', "sh", *words], cwd=TOP, check=False, stderr=subprocess.PIPE, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_has_read_enough_ends_nothing() -> None:
    command = f'{{ "{sys.executable}" -m cli explain UNIT-3; echo "ended with $?" >&2; }} | :'
    done = subprocess.run(["/bin/sh", "-c", command], cwd=TOP, check=False, stderr=subprocess.PIPE, text=True)
    assert done.stderr == "ended with 0\n"


def test_what_is_done_goes_on_when_nothing_more_can_be_said() -> None:
    with Path("/dev/full").open("w", buffering=1) as full:
        output = Output(full)
        assert output.write("a step\n") == 7
        assert output.problem
        output.write("another\n")
        output.flush()
