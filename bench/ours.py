"""Our own rows and the floors' rows: commands on a place."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import BenchError, Command, environment
from bench.place import HOST, Place
from bench.venvs import HERE, TOP, python_of

FLOORS = HERE / "floors"


@dataclass(frozen=True)
class Question:
    """One exec as it goes over the wire, of these statements: files with the command line and with its input."""

    line: Path
    stdin: Path
    ids: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of both."""
        return self.line.stat().st_size + self.stdin.stat().st_size


def asked(project: Path, place: Place, out: Path) -> dict[str, Question]:
    """What a check of a project sends: ``whole``, and ``host`` for the statements that the host alone decides."""
    out.mkdir(parents=True)
    words = [sys.executable, "-m", "bench.asked", str(project), str(place.target), str(out)]
    done = subprocess.run(words, cwd=TOP, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"what a check of {project} asks could not be recorded: {done.stderr[-2000:]}")
    ids = json.loads(done.stdout)
    return {
        name: Question(out / f"{name}.line", out / f"{name}.stdin", tuple(ids[key]))
        for name, key in (("whole", "all"), ("host", "host"))
    }


def check(project: Path, statements: str, targets: Sequence[str], ids: Sequence[str] = (), count: int = 0) -> Command:
    """``pytest STATEMENTS`` with its report written; `count` is how many statements must hold (0: as many as there are)."""
    words = [sys.executable, "-m", "pytest", f"{statements}/", "-q", "-p", "no:cacheprovider"]
    words += [word for target in targets for word in ("--target", target)]
    words += ["--id", ",".join(ids)] if ids else []
    # Plugins named in pytest.ini are imported before its pythonpath counts.
    env = {} if project == TOP else {"PYTHONPATH": f"{TOP}:{project.parent}"}
    return Command(tuple(words), project, _green(count), env)


def paramiko(place: Place, question: Question) -> Command:
    """The floor: stock paramiko in an interpreter of its own."""
    words = (str(python_of("testinfra")), str(FLOORS / "paramiko_one.py"), *_login(place), *_files(question))
    return Command(words, place.folder, _answered)


def with_git(place: Place, question: Question, url: str, branch: str) -> Command:
    """The floor by paramiko, and beside it what git needs at least to see the branch: a shallow clone, nothing else."""
    git = f"GIT_SSH_COMMAND={shlex.quote(f'ssh -F {place.ssh_config}')} git clone -q --bare --depth=30"
    clone = f"d=$(mktemp -d) && {git} --branch {shlex.quote(branch)} {shlex.quote(url)} \"$d\"; rm -rf \"$d\""
    script = f"({clone}) & {shlex.join(paramiko(place, question).words)}; code=$?; wait; exit $code"
    return Command(("/bin/sh", "-c", script), place.folder, _answered)


def asyncssh_many(place: Place, question: Question, count: int) -> Command:
    """The floor for many: one process."""
    words = (str(python_of("asyncssh")), str(FLOORS / "asyncssh_many.py"), str(count), *_login(place), *_files(question))
    return Command(words, place.folder, _all_answered(count))


def ssh_many(place: Place, question: Question, count: int) -> Command:
    """The floor for many: one ssh(1) each, all at once."""
    words = (str(FLOORS / "ssh_many.sh"), str(count), str(place.ssh_config), HOST, *_files(question))
    return Command(words, place.folder, lambda code, _out: f"ended with {code}" if code else "")


def _login(place: Place) -> tuple[str, ...]:
    return place.address, str(place.port), place.user, str(place.key), str(place.known_hosts)


def _files(question: Question) -> tuple[str, str]:
    return str(question.line), str(question.stdin)


def _green(count: int) -> Callable[[int, str], str]:
    def judge(code: int, out: str) -> str:
        if code:
            return f"ended with {code}"
        if count and f"{count} passed" not in out:
            return f"not all of {count} statements passed"
        return "" if "report.html" in out else "wrote no report"

    return judge


def _answered(code: int, out: str) -> str:
    # The script's own status is that of its last question; that it came to the end is what counts.
    return "" if code != 255 and len(out) > 100 else f"ended with {code} and {len(out)} characters"


def _all_answered(count: int) -> Callable[[int, str], str]:
    def judge(code: int, out: str) -> str:
        return "" if not code and f"{count} answered" in out else f"ended with {code}"

    return judge
