"""The lab's command line and what `up` decides, on a lab whose hosts are stand-ins."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner, Result

import lab.lab
from lab import cli, needs
from lab.cache import Cache
from lab.command_line import typed
from lab.errors import NeedsMissing, NotRunning
from lab.faults import FAULTS
from lab.host import Host
from lab.lab import Lab
from lab.machine import Machine
from lab.record import Record
from lab.states import STATES

LEADER = 4242
STATUS = 7
NEED_A_LAB = [("run", "vampires", "--", "true"), ("shell", "vampires"), ("logs", "vampires"), ("ssh-config",)]


@dataclass
class Bench:
    """A lab named `it` without hosts; `done` is what would have been done to them."""

    folder: Path
    done: list[str] = field(default_factory=list)
    on: bool = False
    started: list[str] = field(default_factory=list)

    def running(self, state: str | None, *faults: str) -> Lab:
        """Let it run, put into that state and broken since by those faults."""
        Record("hkl-it", "10.64.3.0/24", state, list(faults)).write(self.folder / ".lab/it")
        self.on = True
        return Lab.open("it", STATES)

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

    def execute(_: str, words: list[str]) -> NoReturn:
        it.started[:] = words
        raise SystemExit(STATUS)

    monkeypatch.setattr(os, "execvp", execute)
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
    assert Lab.open("it", STATES).up() is True
    assert bench.done == ["check", "fit", "clear", "go migrated"]


def test_up_does_not_take_half_a_lab_for_a_running_one(bench: Bench) -> None:
    assert bench.running(None).up() is True
    assert bench.done == ["check", "fit", "clear", "go migrated"]
    bench.running("prod")
    bench.on = False
    assert Lab.open("it", STATES).up() is True
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
    assert "hkn lab state prod --name it`" in answer.stdout
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


@pytest.mark.parametrize("words", NEED_A_LAB, ids=lambda words: words[0])
def test_what_needs_a_lab_says_in_one_sentence_that_there_is_none(bench: Bench, words: tuple[str, ...]) -> None:
    command, *rest = words
    answer = bench.say(command, "--name", "it", *rest)
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr == f"error: The lab 'it' is not running; start it with {typed('up', 'it')}.\n"
    assert bench.started == []


def test_the_status_of_no_lab_is_an_answer_and_not_an_error(bench: Bench) -> None:
    answer = bench.say("status", "--name", "it")
    assert (answer.exit_code, answer.stdout, answer.stderr) == (1, "The lab 'it' is down.\n", "")


@pytest.mark.parametrize("words", NEED_A_LAB[:3], ids=lambda words: words[0])
def test_entering_a_host_needs_root(bench: Bench, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    def refuse() -> None:
        raise NeedsMissing("Run it as root.")

    monkeypatch.setattr(needs, "check_root", refuse)
    bench.running("prod")
    answer = bench.say(words[0], "--name", "it", *words[1:])
    assert (answer.exit_code, answer.stderr) == (1, "error: Run it as root.\n")
    assert bench.started == []


@pytest.mark.parametrize("command", ["run", "shell", "logs"])
def test_a_host_that_there_is_not_is_named_with_those_that_are(bench: Bench, command: str) -> None:
    bench.running("prod")
    answer = bench.say(command, "--name", "it", "zombies", *(["true"] if command == "run" else []))
    assert (answer.exit_code, answer.stderr) == (
        1,
        "error: There is no host 'zombies'; the hosts are werewolves and vampires.\n",
    )


def test_a_command_is_run_as_root_and_its_status_is_the_end(bench: Bench) -> None:
    bench.running("prod")
    answer = bench.say("run", "--name", "it", "vampires", "--", "ls", "-u", "/a b")
    assert answer.exit_code == STATUS
    assert str(LEADER) in bench.started
    assert bench.started[-3:] == ["ls", "-u", "/a b"]
    assert "HOME=/root" in bench.started


@pytest.mark.parametrize(
    ("option", "home"),
    [(("--user",), "/home/h/hk/hkn"), (("-u",), "/home/h/hk/hkn"), (("--as", "otherorg"), "/home/o/ot/otherorg")],
)
def test_a_command_is_run_as_another(bench: Bench, option: tuple[str, ...], home: str) -> None:
    bench.running("prod")
    answer = bench.say("run", "--name", "it", *option, "vampires", "echo $HOME | cat")
    assert answer.exit_code == STATUS
    assert f"HOME={home}" in bench.started
    assert bench.started[-1] == "cd\necho $HOME | cat"


def test_a_user_that_there_is_not_is_named_with_those_that_are(bench: Bench) -> None:
    bench.running("prod")
    answer = bench.say("run", "--name", "it", "--as", "nobody", "vampires", "true")
    assert answer.exit_code == 1
    assert answer.stderr == "error: There is no user 'nobody' on the hosts; there are hkn, otherorg, git and root.\n"
    assert bench.started == []


def test_the_journal_takes_further_words(bench: Bench) -> None:
    bench.running("prod")
    answer = bench.say("logs", "--name", "it", "werewolves", "--follow", "--unit", "nginx")
    assert answer.exit_code == STATUS
    assert bench.started[-5:] == ["journalctl", "--no-pager", "--follow", "--unit", "nginx"]


def test_the_status_shows_hosts_state_and_what_is_broken(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(machine: Machine, command: str, *, user: str | None = None, **_: object) -> object:
        said = ("degraded" if machine.role == "legacy" else "running") if user else "running"
        return subprocess.CompletedProcess(command, 0, f"{said}\n", "")

    monkeypatch.setattr(Machine, "run", answers)
    monkeypatch.setattr(Lab, "memory", lambda _, name: {"werewolves": 100, "vampires": 900}[name] * 1024**2)
    bench.running("prod", "one", "two")
    answer = bench.say("status", "--name", "it")
    assert answer.exit_code == 0
    lines = [line.split() for line in answer.stdout.splitlines()]
    assert ["werewolves", "legacy", "10.64.3.11", "running", "degraded", "100", "MiB"] in lines
    assert ["vampires", "app", "10.64.3.12", "running", "running", "900", "MiB"] in lines
    assert ["state", "prod"] in lines
    assert ["broken", "one,", "two"] in lines
    assert ["files", str(bench.folder / ".lab/it")] in lines


def test_the_status_of_a_lab_whose_hosts_died_is_told_and_not_well(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def off(*_: object, **__: object) -> NoReturn:
        raise NotRunning("off")

    monkeypatch.setattr(Machine, "run", off)
    bench.running(None)
    bench.on = False
    answer = bench.say("status", "--name", "it")
    assert answer.exit_code == 1
    assert ["vampires", "app", "10.64.3.12", "off", "-", "-"] in [line.split() for line in answer.stdout.splitlines()]
    assert "state   unsettled" in answer.stdout
    assert "broken" not in answer.stdout


def test_the_ssh_config_is_printed_as_it_is(bench: Bench) -> None:
    text = f"Host vampires\n    IdentityFile {'/long' * 60}\n"
    bench.running("prod")
    (bench.folder / ".lab/it/ssh_config").write_text(text)
    answer = bench.say("ssh-config", "--name", "it")
    assert (answer.exit_code, answer.stdout) == (0, text)


def test_all_states_are_listed_with_their_sentences(bench: Bench) -> None:
    answer = bench.say("states")
    assert answer.exit_code == 0
    shown = [line.split()[0] for line in answer.stdout.splitlines() if not line.startswith(" ")]
    assert shown == ["state", *STATES]
    for state in STATES.values():
        assert state.sentence.split()[0] in answer.stdout


def test_all_faults_are_listed_with_what_must_see_them(bench: Bench) -> None:
    answer = bench.say("faults")
    assert answer.exit_code == 0
    shown = [line.split()[0] for line in answer.stdout.splitlines() if not line.startswith(" ")]
    assert shown == ["fault", *FAULTS]
    for fault in FAULTS.values():
        row = next(line for line in answer.stdout.splitlines() if line.startswith(f"{fault.name} "))
        assert fault.sentence.split()[0] in row
        assert min(fault.statements) in row


def test_the_help_explains_every_command_argument_and_option() -> None:
    commands: dict[str, Any] = cast("Any", get_command(cli.app)).commands
    assert {"run", "status", "logs", "ssh-config", "states", "faults"} <= commands.keys()
    silent = [f"{name} {given.name}" for name, command in commands.items() for given in command.params if not given.help]
    assert silent == []
    assert [name for name, command in commands.items() if not command.help] == []


def test_the_help_says_how_the_commands_end(bench: Bench) -> None:
    said = " ".join(bench.say("--help").stdout.replace("│", "").split())
    assert "end with 1 and one sentence" in said
    assert "with 130" in said


def test_the_help_shows_how_a_command_with_options_is_run(bench: Bench) -> None:
    assert "-- systemctl --user status" in " ".join(bench.say("run", "--help").stdout.split())
