"""Guards: what no step may do, and what must be as it was when a run is over."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from converge.errors import ConvergeError, Exit, Unobservable, UsageError
from converge.shell.library import NICED
from converge.transport import Link
from facts.host.memory import parse_room, room_script
from hosts.schema import Inventory


class NotAllowed(UsageError):
    """A step asks for something that no step may do; nothing of it was run."""


class GuardFailed(ConvergeError):
    """What a run must know before it may act could not be read; nothing was done."""

    exit_code = Exit.FAILS


class TooManyEntries(Unobservable):
    """A tree is larger than the inventory lets anybody walk."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What a guard of a run saw; `holds` is False when the run must not go on, or ended badly."""

    name: str
    holds: bool
    text: str


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


DEPLOYING = r"""
grep -laF -e "$R/repo" -e "$R/releases/" /proc/[0-9]*/cmdline 2>/dev/null | while IFS= read -r f; do
  d=${f%/cmdline}
  [ "$(stat -c %u "$d" 2>/dev/null)" = "$(id -u)" ] || continue
  # What runs in a unit is the application; a deploy comes over a login.
  if grep -q '\.service' "$d/cgroup" 2>/dev/null && ! grep -q 'session-' "$d/cgroup"; then continue; fi
  c=$(tr '\0' ' ' <"$f" 2>/dev/null)
  case "${c%% *}" in *git|*bundle|*rake|*ruby*|*tar) printf '%s %s\n' "${d##*/}" "$c" ;; esac
done
exit 0
"""


def nobody_deploys(link: Link, inv: Inventory) -> Guard:
    """Whether no program of a deploy is at work in the target stage on the app host."""
    name = "nobody else deploys"
    done = link.exec(f"R={shlex.quote(inv.stage)}\n{DEPLOYING}", limit=20)
    busy = done.out.decode(errors="replace").strip()
    if done.rc != 0:
        return Guard(name, False, f"{name}: could not be read (status {done.rc})")
    if busy:
        process = busy.splitlines()[0][:200]
        return Guard(name, False, f"{name}: a deploy is going on in {inv.stage}: process {process}: wait for its end")
    return Guard(name, True, f"{name}: no deploy is at work in {inv.stage}")


def room_for_two(link: Link, inv: Inventory) -> Guard:
    """Whether the app host has memory for a second copy of the application. Advice: the brief cutover needs none."""
    name = "room for two copies"
    done = link.exec(room_script(inv), limit=20)
    try:
        room = parse_room(done.out.decode(errors="replace"), link.name, inv)
    except Unobservable as problem:
        return Guard(name, False, f"{name}: not known, {problem}")
    return Guard(name, room.holds_two, f"{name}: {room}")
