"""The lab's command line and what `up` decides, on a lab whose hosts are stand-ins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

import lab.lab
from lab import cli, needs
from lab.cache import Cache
from lab.host import Host
from lab.lab import Lab
from lab.record import Record

LEADER = 4242


@dataclass
class Bench:
    """A lab named `it` without hosts; `done` is what would have been done to them."""

    folder: Path
    done: list[str] = field(default_factory=list)
    on: bool = False

    def running(self, state: str | None, *faults: str) -> Lab:
        """Let it run, put into that state and broken since by those faults."""
        Record("hkl-it", "10.64.3.0/24", state, list(faults)).write(self.folder / ".lab/it")
        self.on = True
        return Lab.open("it")

    def say(self, *words: str) -> Result:
        """``python -m lab WORDS``."""
        return CliRunner().invoke(cli.app, words)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    it = Bench(tmp_path)

    def noting(name: str) -> Callable[..., None]:
        return lambda *_: it.done.append(name)

    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(lab.lab, "CHECKOUT", tmp_path)
    monkeypatch.setattr(needs, "check_root", lambda: None)
    monkeypatch.setattr(needs, "check", noting("check"))
    monkeypatch.setattr(Cache, "check_fit", noting("fit"))
    monkeypatch.setattr(Lab, "_clear", noting("clear"))
    monkeypatch.setattr(Lab, "_go", lambda _, state: it.done.append(f"go {state.name}"))
    monkeypatch.setattr(Host, "leader", lambda _: LEADER if it.on else None)
    monkeypatch.setattr(Host, "shell_group", lambda _: None)
    # Of the terminal's width, and of the handlers of signals, this process has its own.
    monkeypatch.setattr(cli, "out", Console(highlight=False, width=200))
    monkeypatch.setattr(cli, "err", Console(highlight=False, width=200, stderr=True))
    monkeypatch.setattr(cli, "_interruptible", lambda: None)
    return it


@pytest.mark.parametrize("state", ["migrated", "prod"])
@pytest.mark.parametrize("faults", [[], ["hkn-unit-off"]])
def test_up_leaves_a_running_lab_alone(bench: Bench, state: str, faults: list[str]) -> None:
    assert bench.running(state, *faults).up() is False
    assert bench.done == []


def test_up_leaves_a_running_lab_alone_that_is_in_the_wanted_state(bench: Bench) -> None:
    assert bench.running("prod").up("prod") is False
    assert bench.done == []


@pytest.mark.parametrize(("faults", "wanted"), [([], "migrated"), (["hkn-unit-off"], "prod")])
def test_up_goes_where_it_is_told_to(bench: Bench, faults: list[str], wanted: str) -> None:
    assert bench.running("prod", *faults).up(wanted) is True
    assert bench.done == [f"go {wanted}"]


def test_up_boots_what_is_down(bench: Bench) -> None:
    assert Lab.open("it").up() is True
    assert bench.done == ["check", "fit", "clear", "go migrated"]


def test_up_does_not_take_half_a_lab_for_a_running_one(bench: Bench) -> None:
    assert bench.running(None).up() is True
    assert bench.done == ["check", "fit", "clear", "go migrated"]
    bench.running("prod")
    bench.on = False
    assert Lab.open("it").up() is True
    assert bench.done[-1] == "go migrated"


@pytest.mark.parametrize(
    ("faults", "said"),
    [([], "no fault was put into it since"), (["one", "two"], "and broken since by one, two.")],
)
def test_a_running_lab_is_told_with_the_way_to_a_clean_one(bench: Bench, faults: list[str], said: str) -> None:
    bench.running("prod", *faults)
    answer = bench.say("up", "--name", "it")
    assert answer.exit_code == 0
    assert "running already, and nothing was done: it was put into the state prod" in answer.stdout
    assert said in answer.stdout
    assert "`python -m lab state prod --name it`" in answer.stdout
    assert bench.done == []


@pytest.mark.parametrize(("words", "state"), [(("--state", "prod"), "prod"), ((), "migrated")])
def test_what_was_booted_is_told(bench: Bench, words: tuple[str, ...], state: str) -> None:
    answer = bench.say("up", "--name", "it", *words)
    assert answer.exit_code == 0
    assert f"The lab is up in the state {state} after" in answer.stdout
    assert "--target lab:it" in answer.stdout
    assert bench.done[-1] == f"go {state}"


def test_a_state_that_there_is_not_changes_nothing(bench: Bench) -> None:
    bench.running("prod")
    answer = bench.say("up", "--name", "it", "--state", "perfect")
    assert answer.exit_code == 1
    assert "There is no state 'perfect'; there are: bare, " in answer.stderr
    assert bench.done == []
