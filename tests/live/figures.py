"""What entering a state of the lab takes, in time and in memory, for whoever reads a log of the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MIB = 1024**2
SECONDS = 10
MEMORY = 4 * 1024 * MIB
"""What the whole lab may use. Of the seconds, an aim: how long it takes says as much of the machine as of the lab."""


@dataclass(frozen=True)
class Entry:
    """One change into a state; ``built``: something of it was not in the cache. ``memory`` is what the hosts used then."""

    state: str
    seconds: float
    built: bool
    memory: Mapping[str, int]


def lines(entries: Sequence[Entry], last: Mapping[str, int]) -> list[str]:
    """A line for each state, one for what was built, and one for what the hosts used when they were ``last`` looked at."""
    cached = [entry for entry in entries if not entry.built]
    said = [_of_state(name, [e for e in cached if e.state == name]) for name in dict.fromkeys(e.state for e in cached)]
    said += [f"{entry.state}: {entry.seconds:.1f} s, with building it" for entry in entries if entry.built]
    if last:
        said.append(f"memory when last looked at: {shown(last)}, of {MEMORY // MIB}")
    return said


def shown(memory: Mapping[str, int]) -> str:
    """What each host uses, and together."""
    each = " + ".join(f"{host} {used / MIB:.0f}" for host, used in memory.items())
    return f"{each} = {sum(memory.values()) / MIB:.0f} MiB"


def _of_state(name: str, entries: Sequence[Entry]) -> str:
    seconds = [entry.seconds for entry in entries]
    most = max(sum(entry.memory.values()) for entry in entries)
    times = "once" if len(entries) == 1 else f"{len(entries)} times"
    return f"{name}: {times}, {min(seconds):.1f} to {max(seconds):.1f} s, at most {most / MIB:.0f} MiB"
