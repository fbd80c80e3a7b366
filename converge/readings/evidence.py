"""What became of readings: each answer as the report shows it, and what all of them cost."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Evidence:
    """One answer as it is shown in the report."""

    reading: str
    host: str
    command: str
    rc: int | None
    out: str
    err: str
    seconds: float
    note: str = ""


@dataclass
class Asked:
    """How often a reading was made, on all hosts together, and how many seconds it took there."""

    reading: str
    times: int = 0
    seconds: float = 0.0


@dataclass
class Tally:
    """What a session asked of its hosts. `late` names what was not foreseen, and the statement that asked for it."""

    connections: int = 0
    execs: int = 0
    readings: int = 0
    seconds: float = 0.0
    late: list[str] = field(default_factory=list)
    asked: dict[str, Asked] = field(default_factory=dict)

    def add(self, reading: str, seconds: float) -> None:
        """Count one answer."""
        self.readings += 1
        asked = self.asked.setdefault(reading, Asked(reading))
        asked.times, asked.seconds = asked.times + 1, round(asked.seconds + seconds, 3)
