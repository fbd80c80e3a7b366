"""Which log files the running application has open."""

from __future__ import annotations

from dataclasses import dataclass

from converge.readings import Context, Raw, reading
from facts.host.processes import ABOUT, Process, processes
from facts.parsing import every, observed


@dataclass(frozen=True, slots=True)
class OpenLogs:
    """Targets of the main process's open files below a log directory, as /proc shows them."""

    main: Process | None
    paths: tuple[str, ...]

    @property
    def stale(self) -> tuple[str, ...]:
        """Files that rotation moved away or removed under the application."""
        return tuple(p for p in self.paths if p.endswith(" (deleted)") or "/.nfs" in p or not p.endswith(".log"))


@reading(
    ABOUT
    + r"""
p=$(prop "$UNIT" MainPID) || exit 1
[ "${p:-0}" -gt 1 ] || exit 0
about "$p"
for fd in /proc/"$p"/fd/*; do
  t=$(readlink "$fd") || continue
  case "$t" in "$ROOT"/*/log/*|"$SHARED"/log/*) echo "log=$t";; esac
done
true
"""
)
def open_logs(raw: Raw, c: Context) -> OpenLogs:
    """The log files that the app's main process has open."""
    lines = observed(raw, c.at).lines
    found = processes(lines, c.at)
    return OpenLogs(found[0] if found else None, tuple(dict.fromkeys(every(lines, "log"))))
