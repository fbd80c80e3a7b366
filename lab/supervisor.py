"""Stays beside one host for its whole life: starts systemd-nspawn, reads its notify socket, records what it says.

Run as a program of its own (``python supervisor.py SPEC``), so that the host outlives the command that booted it. It
must keep reading: a host's init notifies on every re-execution, and blocks for good once nobody takes the messages.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

# nspawn's exit status when the host asked for a reboot and nspawn was told to keep its unit.
REBOOT = 133
SPEC, STATUS = "supervisor.json", "status.json"


@dataclass(frozen=True)
class Spec:
    """What to start: ``groups`` are control groups that it is put into, ``notify`` an abstract socket's name."""

    argv: list[str]
    environment: dict[str, str]
    groups: list[str]
    notify: str
    folder: str


@dataclass
class Status:
    """What is known of the host; PIDs are this machine's. ``exit`` is nspawn's status once it has ended."""

    supervisor: int
    nspawn: int | None = None
    leader: int | None = None
    ready: bool = False
    exit: int | None = None


def read_status(folder: Path) -> Status | None:
    """The status last recorded in a host's folder; None when it never was booted."""
    try:
        return Status(**json.loads((folder / STATUS).read_text()))
    except FileNotFoundError:
        return None


def start(spec: Spec) -> None:
    """Start a supervisor that is not this process's child and reads no terminal."""
    folder = Path(spec.folder)
    (folder / STATUS).unlink(missing_ok=True)
    (folder / SPEC).write_text(json.dumps(asdict(spec)))
    with (folder / "console.log").open("ab") as log:
        subprocess.run(
            ["setsid", "--fork", sys.executable, "-E", "-S", __file__, str(folder / SPEC)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            check=True,
        )


def kill(folder: Path) -> None:
    """End every supervisor of that folder, recorded or not (the host itself is not ended by this)."""
    wanted = str(folder / SPEC).encode()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if wanted in entry.read_bytes().split(b"\0"):
                os.kill(int(entry.parent.name), signal.SIGKILL)
        except OSError:
            continue  # it has just ended


def supervise(spec: Spec) -> int:
    """Start the host and record until it has ended; returns nspawn's exit status."""
    status = Status(supervisor=os.getpid())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(f"\0{spec.notify}")
        while True:
            ended = _watch(spec, notify, status)
            status.nspawn, status.leader, status.ready = None, None, False
            if ended != REBOOT:
                break
            _record(spec, status)
        status.exit = ended
        _record(spec, status)
    return ended


def _watch(spec: Spec, notify: socket.socket, status: Status) -> int:
    process = _start_in_groups(spec)
    status.nspawn = process.pid
    _record(spec, status)
    ended = os.pidfd_open(process.pid)
    try:
        while True:
            readable, _, _ = select.select([notify.fileno(), ended], [], [])
            if notify.fileno() in readable and take(status, notify.recv(65536).decode(errors="replace")):
                _record(spec, status)
            if ended in readable:
                return process.wait()
    finally:
        os.close(ended)


def take(status: Status, message: str) -> bool:
    """Take one notification into ``status``; whether it changed. A new leader (a reboot) is not ready yet."""
    before = asdict(status)
    for line in message.splitlines():
        key, _, value = line.partition("=")
        if key == "X_NSPAWN_LEADER_PID" and int(value) != status.leader:
            status.leader, status.ready = int(value), False
        elif key == "READY" and value == "1":
            status.ready = True
    return asdict(status) != before


def _start_in_groups(spec: Spec) -> subprocess.Popen[bytes]:
    join = "".join(f"echo $$ >'{group}/cgroup.procs' && " for group in spec.groups)
    environment = {**os.environ, **spec.environment, "NOTIFY_SOCKET": f"@{spec.notify}"}
    return subprocess.Popen(
        ["/bin/sh", "-c", f'{join}exec "$@"', "lab", *spec.argv], stdin=subprocess.DEVNULL, env=environment
    )


def _record(spec: Spec, status: Status) -> None:
    path = Path(spec.folder) / STATUS
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(status)))
    part.rename(path)


if __name__ == "__main__":
    sys.exit(supervise(Spec(**json.loads(Path(sys.argv[1]).read_text()))))
