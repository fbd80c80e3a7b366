"""The target stage's releases: which one is current, what it was made from, and whether its deploy came to its end."""

from __future__ import annotations

import re
from dataclasses import dataclass

from converge.readings import Context, Raw, reading
from facts.tables import only_absences
from facts.text import pairs

_LOGGED = re.compile(r"Branch (\S+) \(at (\w+)\) deployed as release (\d{14})")


@dataclass(frozen=True, slots=True)
class Stage:
    """`current` is the text of the current link (empty: none). `logged_*` are of the last line of revisions.log, which
    Capistrano writes only when a deploy came to its end."""

    current: str
    releases: tuple[str, ...]
    revision: str
    logged_release: str
    logged_line: str

    @property
    def release(self) -> str:
        """Name of the current release."""
        return self.current.rstrip("/").rsplit("/", 1)[-1]

    @property
    def newest(self) -> str:
        """Name of the newest release, empty if there is none."""
        return max(self.releases, default="")

    @property
    def is_half(self) -> bool:
        """Whether the current release's deploy was cut off after the link was switched."""
        return bool(self.current) and self.release != self.logged_release


@reading(r"""
printf 'current=%s\n' "$(readlink "$CURRENT")"
printf 'releases=%s\n' "$(ls "$STAGE/releases" | grep -xE '[0-9]{14}' | tr '\n' ' ')"
printf 'revision=%s\n' "$(cat "$CURRENT/REVISION")"
printf 'logged=%s\n' "$(tail -n 1 "$STAGE/revisions.log")"
""")
def stage(raw: Raw, c: Context) -> Stage:
    """The target stage's releases."""
    seen = pairs(only_absences(raw, c.at).lines)
    logged = _LOGGED.search(seen.get("logged", ""))
    return Stage(
        seen.get("current", ""),
        tuple(seen.get("releases", "").split()),
        seen.get("revision", "").strip(),
        logged[3] if logged else "",
        seen.get("logged", ""),
    )
