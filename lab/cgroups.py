"""A control group for each host, found or made in whatever way this machine has them mounted.

Two systemd-nspawn started from one control group would share their payload's, and each host's systemd would see
the other's processes; and killing nspawn does not kill its host, while killing the group does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError, NeedsMissing

MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True)
class Hierarchies:
    """Where cgroup2 is mounted, and systemd's own version 1 hierarchy if the machine is a hybrid one."""

    unified: Path
    legacy: Path | None


def parse_mounts(mountinfo: str) -> Hierarchies:
    """Read /proc/self/mountinfo; raises NeedsMissing when no cgroup2 is mounted."""
    unified: Path | None = None
    legacy: Path | None = None
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(before.split()[4])
        kind, _, options = [*after.split(), "", "", ""][:3]
        if kind == "cgroup2":
            unified = unified or point
        elif kind == "cgroup" and "name=systemd" in options.split(","):
            legacy = legacy or point
    if unified is None:
        raise NeedsMissing(
            "No cgroup2 file system is mounted on this machine, and the hosts need one: "
            "`mount -t cgroup2 none /sys/fs/cgroup` (or boot with systemd.unified_cgroup_hierarchy=1)."
        )
    return Hierarchies(unified, legacy)


@dataclass(frozen=True)
class HostGroup:
    """The control group of one host: everything that the host runs, and its nspawn, is in it."""

    name: str
    hierarchies: Hierarchies

    @classmethod
    def find(cls, name: str) -> HostGroup:
        """The group of that name on this machine; it need not exist yet."""
        return cls(name, parse_mounts(MOUNTS.read_text()))

    @property
    def main(self) -> Path:
        """The group in the cgroup2 hierarchy."""
        return self.hierarchies.unified / self.name

    @property
    def paths(self) -> list[Path]:
        """The group in every hierarchy that a host is to be moved in."""
        legacy = self.hierarchies.legacy
        return [self.main] + ([legacy / self.name] if legacy else [])

    def create(self) -> None:
        """Make the empty group."""
        for path in self.paths:
            path.mkdir(exist_ok=True)

    def shell(self) -> Path | None:
        """A leaf inside the host for commands that are run from outside; None while the host is off."""
        payload = self.main / "payload"
        if not payload.is_dir():
            return None
        leaf = payload / "lab-shell"
        leaf.mkdir(exist_ok=True)
        return leaf

    def populated(self) -> bool:
        """Whether any process is in it."""
        try:
            return "populated 1" in (self.main / "cgroup.events").read_text()
        except (FileNotFoundError, OSError):
            return False

    def kill(self, timeout: float = 10.0) -> bool:
        """End every process in it at once, whoever started it. False: there was none."""
        if not self.populated():
            return False
        (self.main / "cgroup.kill").write_text("1")
        deadline = time.monotonic() + timeout
        while self.populated():
            if time.monotonic() > deadline:
                raise LabError(
                    f"Processes in {self.main} survived being killed for {timeout:g} s; `cat {self.main}/cgroup.procs` "
                    "shows them (usually one that waits for a disk). Take the lab down again."
                )
            time.sleep(0.01)
        return True

    def remove(self) -> None:
        """Remove the group with all groups in it, and what may have entered it a moment ago."""
        for path in self.paths:
            for attempt in range(100):
                try:
                    _remove_folders(path)
                    break
                except OSError:
                    if attempt == 99:
                        raise
                    self.kill()
                    time.sleep(0.02)

    def memory(self) -> int:
        """Memory of all its processes in bytes; a page that processes share is counted in parts."""
        return sum(map(_proportional_memory, self._members()))

    def commands(self) -> list[str]:
        """The command lines of its processes with the state of each (proc(5)), without nspawn's own and init's."""
        skipped = ("systemd-nspawn", "/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/sbin/init")
        lines = map(_command, self._members())
        return [line for line in lines if line and not line.startswith(skipped)]

    def _members(self) -> Iterator[int]:
        return (pid for folder, *_ in os.walk(self.main) for pid in _processes(Path(folder)))


def _command(pid: int) -> str:
    """Its state and command line, as ps shows them; empty for a kernel's thread and for what has gone."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
    line = " ".join(word.decode(errors="replace") for word in words).strip()
    return f"{line} ({state})" if line else ""


def _remove_folders(path: Path) -> None:
    if path.is_dir():
        for folder in sorted((p for p in path.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts)):
            folder.rmdir()
        path.rmdir()


def _processes(group: Path) -> list[int]:
    """None where the group has gone meanwhile, as those of what runs for a moment do."""
    try:
        return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def _proportional_memory(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
