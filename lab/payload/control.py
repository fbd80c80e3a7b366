"""What the lab does from the outside: programs on this machine, and logins over real ssh."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.command_line import typed
from lab.errors import LabError
from lab.lab import Lab


class ControlCommandFailed(LabError):
    """A program that this machine runs for the lab (git, mvn, cap, ssh ...) failed."""


def call(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 300.0,
) -> str:
    """Run a program here and return its output; ``env`` is added to the environment, ``timeout`` is in seconds.

    Raises ControlCommandFailed with the command line and the last lines it printed.
    """
    shown = shlex.join(argv)
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise ControlCommandFailed(f"`{argv[0]}` is not on this machine; {typed('up --install')} gets it.") from None
    except subprocess.TimeoutExpired:
        raise ControlCommandFailed(f"`{shown}` did not end within {timeout:g} s.") from None
    if done.returncode != 0:
        tail = "\n".join(done.stdout.strip().splitlines()[-15:])
        raise ControlCommandFailed(f"`{shown}` ended with status {done.returncode}:\n{tail}")
    return done.stdout


def login(lab: Lab, machine: str, command: str, *, timeout: float = 60.0) -> str:
    """Run ``command`` as hkn over ssh: what it leaves running belongs to a login session, as a person's would."""
    config = str(lab.directory / "ssh_config")
    return call(["ssh", "-F", config, "-n", "-T", "-o", "BatchMode=yes", machine, command], timeout=timeout)


def git(cwd: Path, *words: str, env: Mapping[str, str] | None = None) -> str:
    """Run git in ``cwd`` with a person's name and none of this machine's own settings."""
    person = {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "GIT_AUTHOR_NAME": "HKN compserv",
        "GIT_AUTHOR_EMAIL": "compserv@hkn.invalid",
        "GIT_COMMITTER_NAME": "HKN compserv",
        "GIT_COMMITTER_EMAIL": "compserv@hkn.invalid",
    }
    return call(["git", *words], cwd=cwd, env={**person, **(env or {})})
