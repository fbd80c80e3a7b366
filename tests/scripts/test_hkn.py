"""./hkn from any folder, and where its environment is missing or cannot be made: on stand-ins."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
TOOLS = ("sh", "dirname", "cat", "cmp", "rm", "flock", "readlink", "mkdir", "find", "ln")
CALLED = 'echo "$PWD|$PYTHONPATH|$PYTHONSAFEPATH|$*"; exit 7'
"""A Python that says how it was called."""
MAKING = """case "$*" in
*" -m venv "* | "-m venv "*) mkdir -p "$3/bin" && ln -s "$0" "$3/bin/python" ;;
*"-m pip install"*)
    printf '%s\\n' 'WARNING: Retrying' 'ERROR: No versions' 'ERROR: No matching distribution' >&2
    exit 1 ;;
--version) echo "Python 3.13.5" ;;
esac"""
"""A Python that makes environments, and has no network."""
WITHOUT_VENV = 'case "$*" in *ensurepip*) exit 1 ;; esac'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose .venv is current."""
    made = tmp_path / "a checkout"
    (made / "script").mkdir(parents=True)
    for name in ("hkn", "script/bootstrap", "requirements.txt"):
        shutil.copy2(TOP / name, made / name)
    program(made / ".venv/bin/python", CALLED)
    (made / ".venv/.requirements").write_text(f"{made}\n{(made / 'requirements.txt').read_text()}")
    return made


def program(file: Path, body: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)


def machine(folder: Path, python: str = "") -> str:
    """A PATH with the tools that are needed and, if wanted, a Python."""
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    if python:
        program(folder / "python3", python)
    return str(folder)


def hkn(
    command: Path | str,
    cwd: Path,
    *words: str,
    path: str = "/usr/bin:/bin",
    more: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [command, *words],
        cwd=cwd,
        env={"PATH": path, **(more or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_it_runs_the_commands_of_its_checkout_where_one_is(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    done = hkn(
        checkout / "hkn",
        tmp_path / "elsewhere",
        "check",
        "two words",
        more={"PYTHONPATH": "/theirs"},
    )
    assert done.stdout == f"{tmp_path}/elsewhere|{checkout}:/theirs|1|-m cli check two words\n"
    assert (done.returncode, done.stderr) == (7, "")


@pytest.mark.parametrize("link", ["absolute", "relative"])
def test_it_is_found_through_a_symlink(checkout: Path, tmp_path: Path, link: str) -> None:
    (tmp_path / "bin").mkdir()
    target = checkout / "hkn" if link == "absolute" else Path("../a checkout/hkn")
    (tmp_path / "bin/hkn").symlink_to(target)
    done = hkn("/bin/sh", tmp_path, "-c", "hkn runs", path=f"{tmp_path}/bin:/usr/bin:/bin")
    assert done.stdout == f"{tmp_path}|{checkout}|1|-m cli runs\n", done.stderr


@pytest.mark.parametrize("what", ["missing", "stale", "unfinished"])
def test_an_environment_that_is_not_whole_is_made_anew(
    checkout: Path, tmp_path: Path, what: str
) -> None:
    if what == "missing":
        shutil.rmtree(checkout / ".venv")
    elif what == "stale":
        (checkout / "requirements.txt").write_text("other==1\n")
    else:
        (checkout / ".venv.unfinished").touch()
    online = MAKING.replace("-m pip install", "nothing of pip's")
    done = hkn(checkout / "hkn", tmp_path, "runs", path=machine(tmp_path / "bin", online))
    assert "bootstrap: installing what requirements.txt pins" in done.stderr
    assert (done.returncode, done.stdout) == (0, ""), (
        "its words must not stand between those of the command"
    )
    assert not (checkout / ".venv.unfinished").exists()
    assert hkn(checkout / "hkn", tmp_path, "runs", path=str(tmp_path / "bin")).stderr == ""


@pytest.mark.parametrize(
    ("python", "why"),
    [
        ("", "this machine has no python3 at all: install one"),
        (WITHOUT_VENV, "install its venv package, on Debian: apt-get install python3-venv"),
        (MAKING, "(No matching distribution): look whether this machine reaches a package index"),
    ],
    ids=["no Python", "no venv", "no network"],
)
def test_where_it_cannot_be_made_one_sentence_says_why(
    checkout: Path, tmp_path: Path, python: str, why: str
) -> None:
    shutil.rmtree(checkout / ".venv")
    done = hkn(checkout / "hkn", tmp_path, "check", path=machine(tmp_path / "bin", python))
    assert (done.returncode, done.stdout) == (4, "")
    said = [
        line
        for line in done.stderr.splitlines()
        if not line.startswith(("bootstrap: making", "bootstrap: installing"))
    ]
    assert len(said) == 1
    assert why in said[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="root, to become somebody who may not write there")
def test_a_folder_that_is_read_only_is_said_so_and_does_no_harm(
    checkout: Path, tmp_path: Path
) -> None:
    path = machine(tmp_path / "bin", MAKING)
    for folder in (checkout, *checkout.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(0o755)

    def as_nobody() -> subprocess.CompletedProcess[str]:
        flags = ("--reuid", "65534", "--regid", "65534", "--clear-groups")
        return hkn("/usr/bin/setpriv", tmp_path, *flags, str(checkout / "hkn"), "check", path=path)

    assert as_nobody().returncode == 7, "an environment that is there is enough"
    shutil.rmtree(checkout / ".venv")
    done = as_nobody()
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == (
        f"bootstrap: {checkout} cannot be written to, and .venv must be made in it: "
        "put the checkout into a folder of yours\n"
    )
