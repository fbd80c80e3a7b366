"""The target stage's releases: which one is current, what it was made from, and whether its deploy came to its end."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from converge.errors import Unobservable
from converge.readings import Context, Raw, reading
from facts.parsing import every, only_absences, pairs

_LOGGED = re.compile(r"Branch (\S+) \(at (\w+)\) deployed as release (\d{14})")


@dataclass(frozen=True, slots=True)
class Stage:
    """`current` is the text of the current link (empty: none). `logged_*` are of the last line of revisions.log, which
    Capistrano writes only when a deploy came to its end. `lacking` is what the inventory wants in a release, and the current
    one does not have."""

    current: str
    releases: tuple[str, ...]
    revision: str
    logged_release: str
    logged_line: str
    lacking: tuple[str, ...] = ()

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


_STAGE = r"""
printf 'current=%s\n' "$(readlink "$CURRENT")"
printf 'releases=%s\n' "$(ls "$STAGE/releases" | grep -xE '[0-9]{14}' | tr '\n' ' ')"
printf 'revision=%s\n' "$(cat "$CURRENT/REVISION")"
printf 'logged=%s\n' "$(tail -n 1 "$STAGE/revisions.log")"
"""


def _ask_stage(c: Context) -> str:
    """The reading's script; of each wanted file it prints the number and what there is of that name."""
    asked = [_STAGE]
    for number, names in enumerate(c.inv.stages.release_files):
        for name in names.split("|"):
            folder, _, pattern = f"/{name}".rpartition("/")
            asked.append(
                f'find -L "$CURRENT"{shlex.quote(folder)}/ -mindepth 1 -maxdepth 1 -type f -name {shlex.quote(pattern)} '
                f"-printf 'file={number} %f\\n'"
            )
    return "\n".join([*asked, "echo end=end"])


@reading(_ask_stage)
def stage(raw: Raw, c: Context) -> Stage:
    """The target stage's releases."""
    lines = only_absences(raw, c.at).lines
    seen = pairs(lines)
    if "end" not in seen:
        raise Unobservable(f"{c.at}: what was read of {c.inv.stage} is cut off")
    there = {entry.split(" ")[0] for entry in every(lines, "file")}
    logged = _LOGGED.search(seen.get("logged", ""))
    return Stage(
        seen.get("current", ""),
        tuple(seen.get("releases", "").split()),
        seen.get("revision", "").strip(),
        logged[3] if logged else "",
        seen.get("logged", ""),
        tuple(names for number, names in enumerate(c.inv.stages.release_files) if str(number) not in there),
    )
