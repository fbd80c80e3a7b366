"""Processes of the account, each described in one line by the shell: who it is, since when, in which unit, from where."""

from __future__ import annotations

from dataclasses import dataclass

from converge.errors import Unobservable
from facts.parsing import every, number

CLOCK_TICKS = 100
"""Ticks a second in /proc/PID/stat (USER_HZ), the same on every Linux that these hosts run."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the account; `age` in seconds, `started` in ticks since boot (field 22 of /proc/PID/stat)."""

    pid: int
    started: int
    age: float
    cgroup: str
    cwd: str
    exe: str
    cmdline: str

    @property
    def unit(self) -> str:
        """Name of the unit in whose cgroup it is; empty if that is none."""
        last = self.cgroup.rsplit("/", 1)[-1]
        return last if last.endswith((".service", ".scope")) else ""

    @property
    def service(self) -> str:
        """The service of the account's own manager in which it is; empty for none, as of what was started by hand."""
        below = self.cgroup.partition("/user@")[2].split("/")[1:]
        return next((name for name in reversed(below) if name.endswith(".service")), "")


ABOUT = r"""
about() {
  [ -r "/proc/$1/cmdline" ] || return 0
  s=$(started "$1"); [ -n "$s" ] || return 0
  printf 'process=%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$s" "$(cut -d' ' -f1 /proc/uptime)" "$(cgroup_of "$1")" \
    "$(readlink "/proc/$1/cwd")" "$(readlink "/proc/$1/exe")" "$(tr '\0\n\t' '   ' <"/proc/$1/cmdline")"
}
need() { command -v "$1" >/dev/null || { echo "$1 is not installed" >&2; exit 69; }; }
"""
"""Shell: `about PID` prints a process in one line; `need TOOL` ends the reading without it."""


def processes(lines: list[str], at: str) -> tuple[Process, ...]:
    """Processes from the lines of the shell function `about`."""
    found = []
    for entry in every(lines, "process"):
        parts = entry.split("\t")
        if len(parts) != 7:
            raise Unobservable(f"{at}: a process is described as {entry!r}")
        pid, started = number(parts[0], "a process id", at), number(parts[1], "a start time", at)
        age = float(parts[2] or 0) - started / CLOCK_TICKS
        found.append(Process(pid, started, round(age, 1), parts[3], parts[4], parts[5], parts[6].strip()))
    return tuple(found)
