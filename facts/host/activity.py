"""What of the application is running on a host: its units, and its server processes below the application's trees."""

from __future__ import annotations

from dataclasses import dataclass

from converge.errors import Unobservable
from converge.readings import Context, Raw, reading
from facts.parsing import number, observed, records


@dataclass(frozen=True, slots=True)
class Server:
    """A process of the application's web server; `started` is in ticks since boot (proc(5))."""

    pid: int
    started: int
    cgroup: str
    cwd: str
    cmdline: str

    @property
    def is_master(self) -> bool:
        """Whether it is a master: workers are named so, a master may not be named yet."""
        return " worker[" not in self.cmdline


@dataclass(frozen=True, slots=True)
class Activity:
    """What of the application runs on one host: its units with their ActiveState, and server processes below its trees."""

    units: tuple[tuple[str, str], ...]
    servers: tuple[Server, ...]

    @property
    def active_units(self) -> list[str]:
        """Units that run, start or stop."""
        return [name for name, state in self.units if state not in {"inactive", "failed"}]

    @property
    def is_idle(self) -> bool:
        """Nothing of the application runs."""
        return not self.active_units and not self.servers


UNICORN = "^unicorn|^[^ ]*ruby[^ ]* .*unicorn"
"""Command lines of unicorn: by its own title, or as Ruby starts it; not an editor or a pager with a file of that name."""


@reading(
    rf"""
command -v pgrep >/dev/null || {{ echo "pgrep is not installed" >&2; exit 3; }}
for u in "$UNIT" $LEGACY_UNITS; do printf 'unit\t%s\t%s\n' "$u" "$(prop "$u" ActiveState)"; done
for p in $(pgrep -u "$(id -u)" -f '{UNICORN}'); do
  cwd=$(readlink "/proc/$p/cwd") || continue
  case $cwd in "$ROOT"/*) ;; *) continue ;; esac
  words=$(tr '\000\t\n' '   ' <"/proc/$p/cmdline")
  printf 'server\t%s\t%s\t%s\t%s\t%s\n' "$p" "$(started "$p")" "$(cgroup_of "$p")" "$cwd" "$words"
done
""",
    on="here",
)
def activity(raw: Raw, c: Context) -> Activity:
    """What of the application runs on a host, by systemd and by the processes (one started by hand has no unit)."""
    units, servers = [], []
    for kind, fields in records(observed(raw, c.at), c.at, unit=2, server=5):
        if kind == "unit":
            if not fields[1]:
                raise Unobservable(f"{c.at}: systemd does not say whether {fields[0]} is active: {raw.err.strip()}")
            units.append((fields[0], fields[1]))
        elif fields[1]:
            pid, started = number(fields[0], "a process", c.at), number(fields[1], "a start time", c.at)
            servers.append(Server(pid, started, fields[2], fields[3], fields[4].strip()))
    if not units:
        raise Unobservable(f"{c.at}: no answer about the units")
    return Activity(tuple(units), tuple(servers))
