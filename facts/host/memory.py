"""Room for a second copy of the application: free memory of the app host, and what the running copies take.

A running copy is what runs in the application's units, and what works in a release: somebody may have started it by hand.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from converge.errors import Unobservable
from converge.readings import Context, Raw, reading
from facts.parsing import observed
from hosts.schema import Inventory

_SCRIPT = r"""
: "${XDG_RUNTIME_DIR:=/run/user/$(id -u)}"; export XDG_RUNTIME_DIR
awk '/^MemAvailable:/ { print "available=" $2 }' /proc/meminfo
for u in $units; do
  p=$(systemctl --user show "$u" -p MainPID | cut -d= -f2-)
  [ "${p:-0}" -gt 1 ] && echo "runs=$u"
done
{
  for u in $units; do grep -l "/$u\$" /proc/[0-9]*/cgroup; done
  find /proc/[0-9]*/cwd -maxdepth 0 -lname "$root/*/releases/*" ! -lname "$root/*/releases/*/*"
} 2>/dev/null | sed 's,/[a-z]*$,,' | sort -u | while IFS= read -r d; do
  # Before Linux 4.14 the shares are not summed up for us.
  if [ -e "$d/smaps_rollup" ]; then f=$d/smaps_rollup; else f=$d/smaps; fi
  awk '/^Pss:/ { k += $2 } END { print "used=" k + 0 }' "$f" 2>/dev/null
done
true
"""


@dataclass(frozen=True, slots=True)
class Room:
    """In KiB: memory that the kernel can give without swapping, what the application takes of it, what others must keep."""

    available: int
    used: int
    spare: int = 0

    @property
    def holds_two(self) -> bool:
        """Whether a second copy fits beside what runs, and leaves the others enough."""
        return self.available > self.used + self.spare

    def __str__(self) -> str:
        seen = f"{self.available // 1024} MiB available, the application uses {self.used // 1024} MiB"
        return seen + (f", {self.spare // 1024} MiB must stay free for others" if self.spare else "")


def room_script(inv: Inventory) -> str:
    """Shell for the app host that prints what ``parse_room`` reads."""
    units = " ".join([inv.app.unit, *inv.app.legacy_units])
    return f"units={shlex.quote(units)} root={shlex.quote(inv.stages.root)}\n{_SCRIPT}"


def parse_room(text: str, at: str, inv: Inventory) -> Room:
    """The room from the lines that ``room_script`` printed.

    Raises:
        Unobservable: they do not say how much memory there is, or how much the application uses.
    """
    lines = [(key, value) for key, _, value in (line.partition("=") for line in text.splitlines())]
    running = [value for key, value in lines if key == "runs"]
    try:
        available = [int(value) for key, value in lines if key == "available"]
        used = sum(int(value) for key, value in lines if key == "used")
    except ValueError:
        raise Unobservable(f"{at}: the memory's size is not a number: {text[:80]!r}") from None
    if not available:
        raise Unobservable(f"{at}: /proc/meminfo does not say how much memory is available")
    if running and not used:
        raise Unobservable(f"{at}: how much memory the processes of {', '.join(running)} use cannot be read")
    return Room(available[-1], used, inv.limits.spare_mib * 1024)


@reading(lambda c: room_script(c.inv))
def room(raw: Raw, c: Context) -> Room:
    """Free memory of the app host beside what the application's units use of it."""
    return parse_room(observed(raw, c.at).out, c.at, c.inv)
