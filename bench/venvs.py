"""The peers' own environments: installed from pins with hashes, kept in .bench/ of the checkout until the pins change."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.measure import BenchError, environment

HERE = Path(__file__).resolve().parent
TOP = HERE.parent
CACHE = TOP / ".bench"


def python_of(name: str) -> Path:
    """The interpreter of an environment."""
    return CACHE / name / "bin" / "python"


def program_of(name: str, program: str) -> str:
    """A program of an environment."""
    return str(CACHE / name / "bin" / program)


def ensure(name: str, say: Callable[[str], None]) -> None:
    """Make the environment of ``peers/NAME.txt`` unless it is there and made of the same pins.

    Raises:
        BenchError: pip could not install them.
    """
    pins = HERE / "peers" / f"{name}.txt"
    folder, stamp = CACHE / name, CACHE / name / "made-of"
    # The path is part of it: an environment does not survive being moved.
    wanted = f"{folder}\n{sys.version}\n{pins.read_text()}"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    say(f"installing {name} (once)")
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)], name)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--require-hashes"]
    _run([str(python_of(name)), *install, "--only-binary", ":all:", "--requirement", str(pins)], name)
    stamp.write_text(wanted)


def _run(words: list[str], name: str) -> None:
    kept = {key: value for key, value in environment().items() if not key.startswith("LC_")}
    done = subprocess.run(words, env=kept, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise BenchError(f"{name} could not be installed into {CACHE / name}: {said}\nMend that and run it again.")
