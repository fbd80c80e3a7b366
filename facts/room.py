"""Room for a second copy of the application: free memory of the app host, and what the running copies take."""

from __future__ import annotations

from dataclasses import dataclass

from converge.errors import Unobservable
from converge.readings import Context, Raw, reading
from facts.text import every, number, observed, pairs


@dataclass(frozen=True, slots=True)
class Room:
    """In KiB: memory that the kernel can give without swapping, and what the application's processes take of it."""

    available: int
    used: int

    @property
    def holds_two(self) -> bool:
        """Whether a second copy fits beside what runs."""
        return self.available > self.used

    def __str__(self) -> str:
        return f"{self.available // 1024} MiB available, the application uses {self.used // 1024} MiB"


@reading(r"""
awk '/^MemAvailable:/ { print "available=" $2 }' /proc/meminfo
for u in "$UNIT" $LEGACY_UNITS; do
  p=$(prop "$u" MainPID)
  [ "${p:-0}" -gt 1 ] || continue
  echo "runs=$u"
  grep -l "/$u\$" /proc/[0-9]*/cgroup 2>/dev/null | while IFS= read -r f; do
    d=${f%/cgroup}
    # Before Linux 4.14 the shares are not summed up for us.
    if [ -e "$d/smaps_rollup" ]; then f=$d/smaps_rollup; else f=$d/smaps; fi
    awk '/^Pss:/ { k += $2 } END { print "used=" k + 0 }' "$f" 2>/dev/null
  done
done
true
""")
def room(raw: Raw, c: Context) -> Room:
    """Free memory of the app host beside what the application's units use of it."""
    lines = observed(raw, c.at).lines
    available = pairs(lines).get("available", "")
    if not available:
        raise Unobservable(f"{c.at}: /proc/meminfo does not say how much memory is available")
    used = sum(number(text, "the memory of a process", c.at) for text in every(lines, "used"))
    running = every(lines, "runs")
    if running and not used:
        raise Unobservable(f"{c.at}: how much memory the processes of {', '.join(running)} use cannot be read")
    return Room(number(available, "the available memory", c.at), used)
