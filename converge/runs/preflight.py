"""What must be so before a run acts, and what must be as it was when it is over."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from converge.checking.application import Guard
from converge.errors import ConvergeError, Exit, StateMoved, Unobservable
from converge.shell.library import NICED
from converge.transport import Link
from hosts.schema import Inventory


class GuardFailed(ConvergeError):
    """What a run must know before it may act could not be read; nothing was done."""

    exit_code = Exit.FAILS


class TooManyEntries(Unobservable):
    """A tree is larger than the inventory lets anybody walk."""


def refuse(found: Sequence[Guard], at: str) -> None:
    """Go no further on a host where something does not hold that must.

    Raises:
        StateMoved: it names the first.
    """
    for guard in found:
        if not (guard.holds or guard.advice):
            raise StateMoved(f"{at}: {guard.text}")


@dataclass(frozen=True, slots=True)
class Tree:
    """Files and bytes of the data that users made."""

    files: int
    bytes: int


def data_folders(inv: Inventory) -> list[str]:
    """The shared folders that hold users' data: logs, caches and PID files come and go by themselves."""
    return [f"{inv.shared}/{name}" for name in inv.stages.linked_dirs if name.split("/")[0] not in {"log", "tmp"}]


def read_tree(link: Link, inv: Inventory) -> Tree:
    """Count the data that users made on the app host; again, if a file went while it was counted.

    Raises:
        TooManyEntries: it has more files and folders than the inventory lets anybody walk.
        Unobservable: it could not be counted.
    """
    folders, most = " ".join(shlex.quote(folder) for folder in data_folders(inv)), inv.limits.entries
    # Not %d: the awk of Debian 9 ends at 2^31 - 1 with it, and what was lost beyond 2 GiB would not be seen.
    count = (
        f"awk 'NR > {most} {{ many = 1 }} /unread/ {{ bad = 1 }} /^[0-9]/ {{ n++; b += $1 }} "
        'END { if (many) print "many"; else if (bad) exit 1; else printf "%.0f %.0f\\n", n, b }\''
    )
    # A folder that does not exist yet holds nothing; one that cannot be read is not known, and must not count as empty.
    walk = 'find "$d" -type f -printf "%s\\n" -o -printf ".\\n"'
    each = f'for d; do [ ! -d "$d" ] || {walk} || echo unread; done'
    script = f"{NICED}\nset -- {folders}; {{ {each}; }} | head -n {most + 1} | {count}"
    for _ in range(3):
        done = link.exec(script, limit=60)
        words = done.out.decode(errors="replace").split()
        if words == ["many"]:
            raise TooManyEntries(
                f"the shared data below {inv.shared} has more than {most} entries (limits.entries of "
                f"{inv.file or 'the inventory'})"
            )
        if done.rc == 0 and len(words) == 2 and all(word.isdigit() for word in words):
            return Tree(int(words[0]), int(words[1]))
    seen = (done.err.decode(errors="replace").strip().splitlines() or [f"status {done.rc}"])[0]
    raise Unobservable(f"the shared data below {inv.shared} could not be counted ({seen})")


def tree_if_readable(link: Link, inv: Inventory) -> Tree | None:
    """The same, None where it could not be counted or asked for."""
    try:
        return read_tree(link, inv)
    except (Unobservable, ConvergeError):
        return None


def tree_kept(before: Tree | None, after: Tree | None) -> Guard:
    """Whether no shared data was lost between two readings (None: it could not be read)."""
    name = "shared data kept"
    if before is None or after is None:
        when = "before" if before is None else "after"
        return Guard(name, False, f"{name}: not known, the data could not be read {when} the run")
    seen = f"{before.files} files, {before.bytes} bytes before; {after.files} files, {after.bytes} bytes after"
    lost = after.files < before.files or after.bytes < before.bytes
    return Guard(name, not lost, f"{name}: {'LOST DATA: ' if lost else ''}{seen}")
