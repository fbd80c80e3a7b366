"""How script/demo and script/test come to root and to what they need: on machines that are made of stand-ins."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
TOOLS = ("sh", "dirname", "cat", "cmp", "rm", "flock", "date", "find", "chown", "mkdir", "ln", "mktemp", "readlink")
BOTH = pytest.mark.parametrize("script", ["demo", "test"])

# Whatever is started writes down its words; $MACHINE is the folder of the stand-ins.
RECORD = 'echo "${0##*/} $*" >>"$MACHINE/calls"\n'
# Debian's Python, which can make virtual environments only when the package is there; pip and pytest are its modules.
PYTHON = (
    RECORD
    + """
case "$*" in
*ensurepip*) [ -e "$MACHINE/python3-venv" ] ;;
"-m venv "*)
    mkdir -p "$3/bin"
    for program in python ruff mypy; do ln -s "$MACHINE/bin/python3" "$3/bin/$program"; done ;;
"-m pytest"* | "-m cli check"*)
    echo "CI=${CI:-} HOME=${HOME:-} LAB_CACHE=${LAB_CACHE:-}" >"$MACHINE/environment"
    case "$*" in *"-n 4"*) exit "${SHARED_ENDS:-0}" ;; esac
    exit "${PYTEST_ENDS:-0}" ;;
--version) echo "Python 3.13.5" ;;
esac
"""
)
APT = RECORD + 'case "$*" in *" python3-venv") [ -z "${NO_PACKAGES:-}" ] || exit 100; : >"$MACHINE/python3-venv" ;; esac\n'
SUDO = RECORD + 'echo "LAB_CACHE=${LAB_CACHE:-}" >>"$MACHINE/calls"\n'


@dataclass(frozen=True)
class Machine:
    """A checkout, and a PATH on which nothing exists but what was put there."""

    folder: Path

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    @property
    def calls(self) -> list[str]:
        """What the stand-ins were called with, in order."""
        file = self.folder / "calls"
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []

    def add(self, name: str, body: str) -> None:
        program = self.folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        program.chmod(0o755)

    def run(
        self, script: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", self.checkout / "script" / script, *arguments],
            cwd="/",
            env={"PATH": str(self.folder / "bin"), "MACHINE": str(self.folder), **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A fresh Debian with git and Python, as root and without python3-venv."""
    it = Machine(tmp_path)
    for room in ("script", ".ci"):
        shutil.copytree(TOP / room, it.checkout / room)
    (it.checkout / "tests/converge").mkdir(parents=True)
    for name in ("requirements.txt", "requirements-dev.txt"):
        shutil.copyfile(TOP / name, it.checkout / name)
    shutil.copy2(TOP / "hkn", it.checkout / "hkn")
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (tmp_path / "bin" / tool).symlink_to(found)
    it.add("id", "echo 0")
    it.add("python3", PYTHON)
    it.add("apt-get", APT)
    it.add("chromium", "")
    it.add("chromedriver", "")
    return it


def person(machine: Machine, *, sudo: bool) -> Machine:
    """The same machine as somebody sees it who is not root."""
    machine.add("id", "echo 1000")
    if sudo:
        machine.add("sudo", SUDO)
    return machine


def test_the_tests_install_what_makes_virtual_environments(machine: Machine) -> None:
    done = machine.run("test", "tests/converge", "-x")
    assert done.returncode == 0, done.stderr
    assert "test: installing python3-venv" in done.stdout
    installs = [call for call in machine.calls if call.startswith("apt-get")]
    assert installs == ["apt-get -qq update", "apt-get -qq install -y --no-install-recommends python3-venv"]
    made = next(n for n, call in enumerate(machine.calls) if call.startswith("python3 -m venv"))
    assert machine.calls.index(installs[-1]) < made
    assert machine.calls[-3:] == ["ruff check .", "mypy ", "python -m pytest tests/converge -x"]


def test_the_demo_installs_it_by_the_same_way(machine: Machine) -> None:
    done = machine.run("demo")
    assert "demo: installing python3-venv" in done.stdout
    assert "python -m cli lab up --state migrated --install --name demo" in machine.calls
    # The stand-in for pytest holds everything, and the story wants a red check first.
    assert (done.returncode, "exit code 0, and 1 was expected" in done.stderr) == (1, True)


@BOTH
def test_nothing_is_installed_where_it_is_there(machine: Machine, script: str) -> None:
    (machine.folder / "python3-venv").touch()
    machine.run(script)
    assert [call for call in machine.calls if call.startswith("apt-get")] == []
    assert any(call.startswith("python -m ") for call in machine.calls)


@BOTH
def test_a_package_that_cannot_be_had_is_one_sentence(machine: Machine, script: str) -> None:
    done = machine.run(script, environment={"NO_PACKAGES": "1"})
    assert done.returncode == 4
    assert done.stderr.startswith(f"{script}: apt-get could not install python3-venv")
    assert len(done.stderr.splitlines()) == 1


@BOTH
def test_who_is_not_root_goes_on_with_sudo(machine: Machine, script: str) -> None:
    words = {"demo": ["--keep"], "test": ["-k", "two words"]}[script]
    done = person(machine, sudo=True).run(script, *words, environment={"LAB_CACHE": "/elsewhere"})
    assert done.returncode == 0, done.stderr
    assert f"{script}: the lab boots real hosts and needs root: going on with sudo" in done.stdout
    called, cache = machine.calls
    assert called.startswith("sudo --preserve-env=")
    assert ",LAB_CACHE," in called
    assert called.endswith(f" {machine.checkout}/script/{script} {' '.join(words)}")
    assert cache == "LAB_CACHE=/elsewhere"


@BOTH
def test_without_root_and_sudo_nothing_is_begun(machine: Machine, script: str) -> None:
    done = person(machine, sudo=False).run(script)
    assert done.returncode == 4
    assert "there is no sudo here: run it as root" in done.stderr
    assert ("--no-root" in done.stderr) == (script == "test")
    assert machine.calls == []


@pytest.mark.parametrize("code", [0, 1])
def test_without_root_on_purpose_it_says_what_is_skipped(machine: Machine, code: int) -> None:
    (machine.folder / "python3-venv").touch()
    done = person(machine, sudo=True).run("test", "tests", "--no-root", "-x", environment={"PYTEST_ENDS": str(code)})
    assert done.returncode == code
    said = [line for line in done.stdout.splitlines() if "--no-root" in line]
    assert said[0].startswith("test: --no-root: the tests that need root are skipped")
    assert said[1].startswith("test: --no-root: the tests that need root were skipped")
    assert done.stdout.splitlines()[-1] == said[1]
    assert machine.calls[-1] == "python -m pytest tests -x"
    assert not [call for call in machine.calls if call.startswith(("apt-get", "sudo"))]


def test_without_root_a_missing_package_is_left_to_the_person(machine: Machine) -> None:
    done = person(machine, sudo=True).run("test", "--no-root")
    assert done.returncode == 4
    assert "apt-get install python3-venv" in done.stderr
    assert not [call for call in machine.calls if call.startswith(("apt-get", "sudo"))]


def test_root_is_not_asked_to_do_without_itself(machine: Machine) -> None:
    done = machine.run("test", "--no-root")
    assert done.returncode == 4
    assert "this is root" in done.stderr
    assert machine.calls == []


@pytest.mark.parametrize("sudo", [{}, {"SUDO_UID": "4321"}], ids=["root", "sudo"])
def test_pytest_has_the_last_word(machine: Machine, sudo: dict[str, str]) -> None:
    (machine.folder / "python3-venv").touch()
    done = machine.run("test", "tests", environment={"PYTEST_ENDS": "5", **sudo})
    assert done.returncode == 5
    assert done.stdout.splitlines()[-1] == "test: pytest ..."


def test_each_part_has_its_processes_and_every_test_is_in_one_of_them(machine: Machine) -> None:
    (machine.folder / "python3-venv").touch()
    done = machine.run("test", "--durations=3")
    assert done.returncode == 0, done.stderr
    labs = [call for call in machine.calls if call.startswith("python -m lab")]
    assert labs == [
        "python -m lab up --state prod --name ci",
        "python -m lab state migrated-direct --name ci",
        "python -m lab down --name ci",
    ]
    pure, live, faults, chaos, browser = [call for call in machine.calls if call.startswith("python -m pytest")]
    assert pure.startswith("python -m pytest -n 4 --dist worksteal --durations=3 tests --ignore=")
    apart = {word.removeprefix("--ignore=") for word in pure.split() if word.startswith("--ignore=")}
    named = {word for call in (live, faults, chaos, browser) for word in call.split() if word.startswith("tests/")}
    left_out = {word.removeprefix("--ignore=") for word in live.split() if word.startswith("--ignore=")}
    assert named - left_out == apart
    assert left_out == {*faults.split(), *chaos.split()} & left_out
    assert all((TOP / name).exists() for name in named)
    assert all(" -n 2 " in call for call in (live, faults, chaos))


def test_it_ends_with_the_minutes_of_each_part(machine: Machine) -> None:
    (machine.folder / "python3-venv").touch()
    done = machine.run("test")
    heading, *parts = done.stdout.splitlines()[-7:]
    assert heading == "test: the minutes of each part, and its budget:"
    assert [re.fullmatch(r"test: +0\.\d min of +\d+  (.*)", part)[1] for part in parts] == [  # type: ignore[index]
        "pure and engine", "build", "live", "faults (drawn)", "chaos (drawn)", "browser",
    ]  # fmt: skip


def test_without_root_no_lab_is_built(machine: Machine) -> None:
    (machine.folder / "python3-venv").touch()
    person(machine, sudo=False)
    done = machine.run("test", "--no-root", environment={"SHARED_ENDS": "5", "PYTEST_ENDS": "5"})
    assert done.returncode == 5
    assert not [call for call in machine.calls if call.startswith("python -m lab")]


@pytest.mark.parametrize(
    ("shared", "others", "code"),
    [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 1), (3, 1, 3), (5, 0, 0), (0, 5, 0), (5, 5, 5), (5, 1, 1), (1, 5, 1)],
)
def test_the_tests_fail_where_a_part_of_them_fails(machine: Machine, shared: int, others: int, code: int) -> None:
    (machine.folder / "python3-venv").touch()
    done = machine.run("test", environment={"SHARED_ENDS": str(shared), "PYTEST_ENDS": str(others)})
    assert done.returncode == code
    assert ("pure and engine failed" in done.stderr) == (shared not in {0, 5})
    assert ("browser failed" in done.stderr) == (others not in {0, 5})
    assert len([call for call in machine.calls if call.startswith("python -m pytest")]) == 5


def test_arguments_that_make_no_sense_end_it_before_anything_is_built(machine: Machine) -> None:
    (machine.folder / "python3-venv").touch()
    assert machine.run("test", "tests/mistyped.py", environment={"SHARED_ENDS": "4"}).returncode == 4
    assert len([call for call in machine.calls if call.startswith("python -m pytest")]) == 1
    assert not [call for call in machine.calls if call.startswith("python -m lab")]


def test_an_interruption_of_one_part_is_the_end(machine: Machine) -> None:
    (machine.folder / "python3-venv").touch()
    (machine.checkout / ".lab" / "ci-gw0").mkdir(parents=True)
    assert machine.run("test", environment={"SHARED_ENDS": "2"}).returncode == 2
    assert " -n 4 " in machine.calls[-2]
    assert machine.calls[-1] == "python -m lab down --name ci-gw0"


def test_ci_has_the_other_login_shells_too(machine: Machine) -> None:
    (machine.folder / "python3-venv").touch()
    machine.run("test", environment={"CI": "true"})
    assert any(call.endswith(" busybox mksh zsh") for call in machine.calls if call.startswith("apt-get"))


def test_ci_runs_the_tests_as_the_root_that_it_is(machine: Machine) -> None:
    (machine.folder / "python3-venv").touch()
    machine.add("sudo", SUDO)
    done = machine.run("../.ci/run", "tests/converge", environment={"PYTEST_ENDS": "5", "TMPDIR": str(machine.folder)})
    assert done.returncode == 5
    assert re.fullmatch(r"python -m pytest (--durations\S* )*tests/converge", machine.calls[-1])
    assert not [call for call in machine.calls if call.startswith("sudo")]
    ci, home, cache = (machine.folder / "environment").read_text(encoding="utf-8").split()
    folder = cache.removeprefix("LAB_CACHE=")
    assert (ci, home) == ("CI=true", f"HOME={folder}/home")
    assert Path(folder).parent == machine.folder
    assert not Path(folder).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
@pytest.mark.parametrize(("owner", "given"), [(4321, True), (4322, False)])
def test_what_was_made_under_sudo_is_the_persons(machine: Machine, tmp_path: Path, owner: int, given: bool) -> None:
    (machine.folder / "python3-venv").touch()
    machine.folder.chmod(0o755)
    subprocess.run(["chown", "-R", f"{owner}:{owner}", machine.checkout], check=True)
    outside = tmp_path / "outside"
    outside.touch()
    (machine.checkout / "link").symlink_to(outside)
    kept = machine.checkout / "requirements.txt"
    os.chown(kept, 77, 77)

    done = machine.run("test", environment={"SUDO_UID": "4321", "SUDO_GID": "4321", "PYTEST_ENDS": "1"})
    assert done.returncode == 1
    for made in (".venv", ".venv/bin/mypy", "link"):
        assert (machine.checkout / made).lstat().st_uid == (4321 if given else 0)
    assert (outside.stat().st_uid, kept.stat().st_uid) == (0, 77)
