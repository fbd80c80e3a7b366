"""The lines that people are told to type run from the folder that they are in."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from hosts.command_line import TOP, command_line, target_of
from hosts.loader import load


@pytest.mark.parametrize(
    ("folder", "command"),
    [
        (TOP, "./hkn"),
        (TOP / "docs", "../hkn"),
        (Path("/"), f"{TOP}/hkn"),
        (TOP.parent, f"./{TOP.name}/hkn"),
    ],
)
def test_the_command_is_named_from_where_one_is(
    monkeypatch: pytest.MonkeyPatch, folder: Path, command: str
) -> None:
    monkeypatch.chdir(folder)
    assert command_line("check") == f"{command} check"


def test_the_default_target_is_not_named_and_others_are_quoted() -> None:
    assert shlex.split(command_line("plan", target="lab"))[1:] == ["plan"]
    assert shlex.split(command_line("plan", target="my fleet/a.toml"))[1:] == [
        "plan",
        "--target",
        "my fleet/a.toml",
    ]


def test_it_is_named_where_the_working_directory_is_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert command_line("check") == f"{TOP}/hkn check"


@pytest.mark.parametrize("name", ["lab", "lab:second", "production"])
def test_what_the_checkout_has_is_named_by_its_name(name: str) -> None:
    assert target_of(load(name, offline=True)) == name


def test_a_file_is_named_from_where_one_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text((TOP / "hosts/production.toml").read_text())
    monkeypatch.chdir(tmp_path)
    inv = load("./lab.toml")
    assert (inv.name, target_of(inv)) == ("lab", "./lab.toml"), "its name alone would be the lab"
    assert load(target_of(inv)) == inv
