"""What runs moved aside, as it lies on the app host: asked for, and laid beside the journal. Pure but for one reading."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from converge.acting.executor import host_fence, key_of
from converge.checking.application import Guard
from converge.errors import UsageError
from converge.journal.history import Story
from converge.journal.ownership import stays_for
from converge.runs.preflight import GuardFailed
from converge.shell.library import NICED
from converge.transport import Link
from hosts.command_line import command_line, target_of
from hosts.schema import Inventory

LISTING = r"""
printf 'now\t%s\n' "$(date +%s)"
for a; do
  if [ -L "$a" ]; then printf 'link\t%s\n' "$a"; continue; fi
  [ -d "$a" ] || continue
  for d in "$a"/*/*; do
    [ -e "$d" ] || [ -L "$d" ] || continue
    k=${d##*/}; r=${d%/*}; r=${r##*/}
    case "$r$k" in *[!A-Za-z0-9._-]*) printf 'strange\t%s\n' "$a"; continue ;; esac
    if [ -L "$d" ] || [ -L "${d%/*}" ] || [ ! -d "$d" ]; then printf 'strange\t%s\n' "$a"; continue; fi
    n=$(du -skx -- "$d") || exit 1
    printf 'entry\t%s\t%s\t%s\t%s\n' "$a" "$r" "$k" "${n%%[!0-9]*}"
  done
done
echo end
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A step's folder in an attic; `kib` is its size on the disk."""

    attic: str
    run: str
    key: str
    kib: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What the attics hold of one run, and why it stays (empty: it may be purged). `began` is the run's day."""

    run: str
    began: date
    who: str
    entries: tuple[Entry, ...]
    sentences: tuple[str, ...]
    stays: str = ""

    @property
    def kib(self) -> int:
        """Its size in KiB."""
        return sum(entry.kib for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Listing:
    """What the attics hold; `strange` are places with things that no folder of a step is; `today` is the host's day."""

    entries: tuple[Entry, ...]
    strange: tuple[str, ...]
    today: date


def attics(inv: Inventory) -> list[str]:
    """The attic roots on the app host: the account's, and those of roots that may be file systems of their own."""
    roots = [root for root in host_fence(inv, inv.app_host.name, "").roots if root.startswith("/")]
    return [inv.attic, *(f"{root}/.attic" for root in roots)]


def look(link: Link, inv: Inventory) -> Listing:
    """List the attics of the app host.

    Raises:
        UsageError: an attic is a symlink, or could not be read.
    """
    words = " ".join(map(shlex.quote, attics(inv)))
    done = link.exec(f"{NICED}\nset -- {words}\n{LISTING}", limit=300)
    lines = done.out.decode(errors="backslashreplace").splitlines()
    if done.rc != 0 or not lines or lines[-1] != "end":
        seen = done.err.decode(errors="replace").strip() or f"status {done.rc}"
        raise UsageError(f"{link.name}: the attics could not be listed ({seen}): nothing was done")
    entries, strange, today = [], [], date.min
    for kind, *fields in (line.split("\t") for line in lines[:-1]):
        if kind == "link":
            raise UsageError(f"{link.name}: {fields[0]} is a symlink: nothing is purged through one")
        if kind == "now":
            if not fields[0].isdigit():
                raise UsageError(f"{link.name}: its clock could not be read ({fields[0] or 'no answer'}): nothing was done")
            today = datetime.fromtimestamp(int(fields[0]), UTC).date()
            continue
        if kind == "entry":
            entries.append(Entry(fields[0], fields[1], fields[2], int(fields[3])))
        else:
            strange.append(fields[0])
    return Listing(tuple(entries), tuple(dict.fromkeys(strange)), today)


class AtticFull(GuardFailed):
    """The attics hold more than the inventory allows, and the run would move more aside."""


def has_room(link: Link, inv: Inventory) -> Guard:
    """What the attics hold, for a run that moves more aside.

    Raises:
        AtticFull: it is more than the inventory allows.
        GuardFailed: it could not be told.
    """
    try:
        kib = sum(entry.kib for entry in look(link, inv).entries)
    except UsageError as problem:
        raise GuardFailed(str(problem)) from None
    most = inv.limits.attic_gib
    if kib > most * 1024**2:
        raise AtticFull(
            f"{link.name}: the attic holds {size(kib)}, more than {most:g} GiB (limits.attic_gib of "
            f"{inv.file or 'the inventory'}), and this run would move more aside: nothing was done. What is older than the "
            f"soak is deleted by `{command_line('purge', target=target_of(inv))}`"
        )
    return Guard("room in the attic", True, f"room in the attic: it holds {size(kib)} of {most:g} GiB")


def by_run(listing: Listing, stories: Iterable[Story], inv: Inventory, today: date) -> tuple[list[Kept], list[Entry]]:
    """What is kept of each run that the journal tells of, oldest first; and what no journal lists, which stays. Pure."""
    soak = inv.soak_days
    left = list(listing.entries)
    found = []
    for story in stories:
        keys = {key: intent for intent in story.intents() for key in _keys(int(intent["n"]), str(intent["step"]))}
        mine = [entry for entry in left if entry.run == story.id and entry.key in keys]
        if not mine:
            continue
        left = [entry for entry in left if entry not in mine]
        # The plan's own time: results have that of the host, whose clock may be wrong.
        began = datetime.fromtimestamp(story.entries[0].at, UTC).date()
        until = began + timedelta(days=soak)
        stays = stays_for(story, inv)
        stays = stays or ("its journal is open: the next run looks what became of it" if story.is_open else "")
        stays = stays or (f"it is kept until {until}, {soak} days after the run" if today < until else "")
        sentences = dict.fromkeys(str(keys[entry.key].get("sentence", "")) for entry in mine)
        found.append(Kept(story.id, began, str(story.plan.get("who", "unknown")), tuple(mine), tuple(sentences), stays))
    return found, left


def _keys(n: int, step: str) -> tuple[str, str]:
    key = key_of(n, step)
    return key, f"{key}-undo"


def size(kib: int) -> str:
    """KiB in words."""
    return f"{kib} KiB" if kib < 10_000 else f"{kib / 1024:.0f} MiB" if kib < 10_000_000 else f"{kib / 1024**2:.1f} GiB"


PURGE = r"""
refuse() { printf '::converge:refused: %s\n' "$1" >&2; exit 77; }
right_host() {
  [ "$(uname -n)" = "$1" ] || { printf '::converge:wrong-host: this host is %s\n' "$(uname -n)" >&2; exit 76; }
}
sure() { # ATTIC RUN KEY
  for w in "$2" "$3"; do
    case "$w" in ''|.*|*[!A-Za-z0-9._-]*) refuse "$2/$3 is no folder of a step" ;; esac
  done
  top=$(readlink -f -- "${1%/*}")/${1##*/}
  cd -P -- "$1/$2" || refuse "$1/$2 is not there any more"
  [ "$(pwd -P)" = "$top/$2" ] || refuse "$1/$2 leads to $(pwd -P): nothing is purged through a symlink"
  [ ! -L "$3" ] && [ -d "$3" ] || refuse "$1/$2/$3 is no folder any more"
  [ "$(stat -c %u -- "$3")" = "$(id -u)" ] || refuse "$1/$2/$3 is not the account's"
  [ "$(stat -c %d -- "$3")" = "$(stat -c %d .)" ] || refuse "$1/$2/$3 is another file system"
}
purge() { # ATTIC RUN KEY
  sure "$@"
  find "./$3" -xdev -depth -delete || exit 70
  cd / && rmdir -- "$1/$2" 2>/dev/null
  return 0
}
"""


def purge_script(inv: Inventory, entries: Sequence[Entry], ahead: str = ":") -> str:
    """Shell for the app host that deletes these folders of steps, each below its attic and through no symlink.

    What it refuses it refuses before it deletes anything. `ahead` is shell that runs between the two.

    Raises:
        UsageError: an entry is in no attic of this target.
    """
    host = inv.hosts[inv.app_host.name]
    known = attics(inv)
    lines = [PURGE, f"right_host {shlex.quote(host.hostname)}"]
    for entry in entries:
        if entry.attic not in known:
            raise UsageError(f"{entry.attic} is no attic of {inv.name}: nothing was done")
    named = [shlex.join([entry.attic, entry.run, entry.key]) for entry in entries]
    lines += [*(f"sure {words}" for words in named), f"(\n{ahead}\n) || exit 70", *(f"purge {words}" for words in named)]
    return "\n".join([*lines, "exit 0\n"])
