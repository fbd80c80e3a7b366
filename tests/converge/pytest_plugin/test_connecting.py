"""What a session connects to: nothing where it will not read, each host once where it does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.reports import swept
from tests.sshd import Sshd, inventory_of, needs_sshd, running

pytestmark = needs_sshd
TOP = Path(__file__).resolve().parents[3]


def logins(sshd: Sshd) -> int:
    return (sshd.folder / "sshd.log").read_text().count("Connection from")


def gits(sshd: Sshd) -> list[str]:
    """The commands of git that were begun on this machine; the folder of each."""
    file = sshd.folder / "gits"
    return file.read_text().splitlines() if file.exists() else []


def check(sshd: Sshd, text: str, *flags: str, interpreter: tuple[str, ...] = ()) -> tuple[int, str, int]:
    """Exit code and words of a session on an inventory with this `text`, and how often it connected.

    What `git` is on this machine is shell; temporary files are in a folder of the sshd's.
    """
    for name in ("bin", "tmp"):
        (sshd.folder / name).mkdir(exist_ok=True)
    (sshd.folder / "bin" / "git").write_text(f'#!/bin/sh\necho "$*" >>{sshd.folder}/gits\nexit 128\n')
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


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (["--collect-only", "-q"], 0),
        (["--no-such-flag"], 4),
        (["--yes"], 4),
        (["--id=NO-1"], 4),
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


def test_one_without_a_mistake_is_connected_to_once(tmp_path: Path) -> None:
    with running(tmp_path, "LogLevel VERBOSE") as sshd:
        ended, words, connected = check(sshd, inventory_of(sshd), "--id=HOST-1")
        assert (ended, connected) == (1, 1), words
        assert gits(sshd) == []


def test_the_repository_is_asked_once(tmp_path: Path) -> None:
    with running(tmp_path, "LogLevel VERBOSE") as sshd:
        ended, words, connected = check(sshd, inventory_of(sshd), "--html", str(tmp_path / "page.html"))
        assert (ended, connected) == (1, 1), words
        assert len(gits(sshd)) == 1, gits(sshd)
        assert list((tmp_path / "tmp").iterdir()) == []


def test_a_check_imports_no_remedies(tmp_path: Path) -> None:
    with running(tmp_path, "LogLevel VERBOSE") as sshd:
        # pytest would keep to itself what is printed while it imports.
        _, words, connected = check(sshd, inventory_of(sshd), "-s", interpreter=("-X", "importtime"))
    assert connected == 1, words
    imported = {line.rpartition("|")[2].strip() for line in words.splitlines() if line.startswith("import time:")}
    assert "facts.application" in imported
    assert not any(name.partition(".")[0] == "remediate" for name in imported)


def test_a_login_shell_that_reads_no_script_is_one_message_with_its_mend(tmp_path: Path) -> None:
    with running(tmp_path, "LogLevel VERBOSE", "ForceCommand echo \"Unmatched '''.\" >&2; exit 1") as sshd:
        ended, words, connected = check(sshd, inventory_of(sshd))
    assert (ended, connected) == (14, 1), words
    assert words.count("its login shell is no POSIX shell") == 1
    assert "Ask for a POSIX login shell (sh, bash, dash, ksh, zsh) for the account there." in words
    assert "Traceback" not in words
