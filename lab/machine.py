"""One host of the lab, as root sees it from outside: run a command, wait for one, write a file."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab.command_line import typed
from lab.errors import CommandFailed, NotRunning

Role = Literal["app", "legacy"]
Command = str | Sequence[str]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
USER_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Account:
    """A user of the hosts; ``home`` is the same path on both."""

    name: str
    uid: int
    home: str


ACCOUNTS = {
    account.name: account
    for account in (
        Account("hkn", 5000, "/home/h/hk/hkn"),
        Account("otherorg", 5001, "/home/o/ot/otherorg"),
        Account("git", 5002, "/srv/git"),
    )
}


@dataclass(frozen=True)
class Machine:
    """A host that may or may not be running.

    ``root`` is its file system as seen from outside while it is mounted; absolute symbolic links in it resolve
    on this machine when followed from outside, so prefer ``write`` and ``run``.
    ``leader`` gives the PID of its init on this machine (None when it is off), ``shell_cgroup`` the control group
    that commands are put into, so that they belong to the host and die with it.
    """

    name: str
    role: Role
    address: str
    root: Path
    leader: Callable[[], int | None]
    shell_cgroup: Callable[[], Path | None]

    def run(
        self,
        command: Command,
        *,
        user: str | None = None,
        input: str | None = None,
        check: bool = True,
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``command`` inside the host, as root or in ``user``'s login environment (cwd is the home).

        A string goes to ``/bin/bash -c``, a sequence is run as it is. stdout and stderr are captured apart. The call
        ends when the command has closed its output: a daemon that is to stay must have its output redirected.
        ``timeout`` is in seconds. Raises CommandFailed (status not 0 and ``check``, or out of time) and NotRunning.
        """
        data = None if input is None else input.encode()
        status, out, err = self._execute(command, user, data, timeout)
        if check and status != 0:
            raise CommandFailed(self.name, command, status, f"{err}{out}")
        return subprocess.CompletedProcess(command, status, out, err)

    def wait_until(self, command: Command, *, user: str | None = None, timeout: float = 30.0) -> None:
        """Repeat ``command`` until it succeeds; CommandFailed with its last output after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        pause = 0.05
        while True:
            left = max(deadline - time.monotonic(), 1.0)
            last = self.run(command, user=user, check=False, timeout=left)
            if last.returncode == 0:
                return
            if time.monotonic() > deadline:
                shown = f"still failing after {timeout:g} s; last: {last.stderr}{last.stdout}"
                raise CommandFailed(self.name, command, last.returncode, shown)
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    def write(self, path: str, text: str | bytes, *, mode: int = 0o644, owner: str = "root:root") -> None:
        """Put a file there in one step (a reader sees the old or the new one), making missing parents as root."""
        data = text.encode() if isinstance(text, str) else text
        target, parent, part = (shlex.quote(p) for p in (path, str(Path(path).parent), f"{path}.lab-part"))
        script = (
            f"mkdir -p {parent} && cat >{part} && chown {shlex.quote(owner)} {part} && "
            f"chmod {mode:o} {part} && mv -fT {part} {target}"
        )
        status, out, err = self._execute(script, None, data, 60.0)
        if status != 0:
            raise CommandFailed(self.name, f"write {path}", status, f"{err}{out}")

    def argv(self, command: Command, *, user: str | None = None, terminal: str = "dumb") -> list[str]:
        """The words that run ``command`` inside the host when this machine's root executes them."""
        leader = self.leader()
        if leader is None:
            raise NotRunning(f"{self.name} is not running; start the lab with {typed('up')}.")
        # -r: where this machine itself is a changed root, the mount namespace alone would lead out of the host again.
        enter = ["nsenter", "-t", str(leader), "-r", "-m", "-u", "-i", "-n", "-p", "-C", "--"]
        group = self.shell_cgroup()
        join = f"echo $$ >{shlex.quote(str(group / 'cgroup.procs'))} && " if group else ""
        return ["/bin/sh", "-c", f'{join}exec "$@"', "lab", *enter, *inner_words(command, user, terminal)]

    def _execute(self, command: Command, user: str | None, data: bytes | None, timeout: float) -> tuple[int, str, str]:
        with subprocess.Popen(
            self.argv(command, user=user),
            stdin=subprocess.DEVNULL if data is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(data, timeout=timeout)
            except subprocess.TimeoutExpired:
                _kill_session(process)
                raise CommandFailed(self.name, command, None, f"limit was {timeout:g} s") from None
            except BaseException:
                _kill_session(process)
                raise
        return process.returncode, out.decode(errors="replace"), err.decode(errors="replace")


def inner_words(command: Command, user: str | None, terminal: str = "dumb") -> list[str]:
    """The command as it is executed inside: a clean environment, and for a user the one of a login."""
    if user is None:
        words = ["/bin/bash", "-c", command] if isinstance(command, str) else list(command)
        return ["/usr/bin/env", "-i", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8", f"TERM={terminal}", *words]
    account = ACCOUNTS[user]
    runtime = f"/run/user/{account.uid}"
    environment = {
        "HOME": account.home,
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TERM": terminal,
        "PATH": USER_PATH,
        "XDG_RUNTIME_DIR": runtime,
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus",
    }
    drop = ["/usr/bin/setpriv", f"--reuid={account.uid}", f"--regid={account.uid}", "--init-groups"]
    pairs = [f"{key}={value}" for key, value in environment.items()]
    if isinstance(command, str):
        shell = ["/bin/bash", "-lc", f"cd\n{command}"]
    else:
        shell = ["/bin/bash", "-lc", 'cd && exec "$@"', "lab", *command]
    return [*drop, "/usr/bin/env", "-i", *pairs, *shell]


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.kill()
