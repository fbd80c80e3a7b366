"""The trees of the stages: what is linked to what, and whether data lies where a link should be."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from converge.errors import Unobservable
from converge.readings import Context, Raw, reading
from facts.parsing import number, observed, only_absences, records, within_entries
from hosts.schema import Inventory

DIRECTORY, LINK = "directory", "symbolic link"
SHOWN = 200
"""How many stranded files are listed at most."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A path as it is itself, links not followed: `kind` in stat's words, permission bits, a link's own text and end."""

    path: str
    kind: str
    size: int
    mode: int
    target: str = ""
    resolved: str = ""

    @property
    def is_dir(self) -> bool:
        """A real directory."""
        return self.kind == DIRECTORY

    @property
    def is_link(self) -> bool:
        """A symlink, dangling or not."""
        return self.kind == LINK


@dataclass(frozen=True, slots=True)
class Trees:
    """The paths that the statements speak of; what is not in `entries` does not exist."""

    entries: Mapping[str, Entry]

    def get(self, path: str) -> Entry | None:
        """The entry at a path, or None."""
        return self.entries.get(path)

    def describe(self, path: str) -> str:
        """What is at a path, in words."""
        found = self.get(path)
        if not found:
            return f"{path} does not exist"
        if found.is_link:
            end = "which does not exist" if not found.resolved else f"which is {found.resolved}"
            return f"{path} is a link to {found.target}" + ("" if found.resolved == found.target else f", {end}")
        return f"{path} is a {found.kind} ({found.size} bytes, mode {found.mode:o})"


def linked(inv: Inventory) -> list[str]:
    """Everything that a release shares with the others, relative to it."""
    return [*inv.stages.linked_dirs, *inv.stages.linked_files]


def _paths(inv: Inventory) -> list[str]:
    both = [inv.stage, inv.shared, inv.current]
    both += [f"{top}/{name}" for name in linked(inv) for top in (inv.shared, inv.current)]
    for stage in inv.legacy_stages:
        both += [stage, f"{stage}/shared", f"{stage}/current"]
    return both


def _ask_trees(c: Context) -> str:
    paths = " ".join(map(shlex.quote, _paths(c.inv)))
    return (
        f"set -- {paths}\n"
        "stat --printf 'entry\\t%n\\t%F\\t%s\\t%a\\n' -- \"$@\"\n"
        'for p; do [ ! -L "$p" ] || printf \'link\\t%s\\t%s\\t%s\\n\' "$p" "$(readlink "$p")" "$(readlink -e "$p")"; done\n'
        "exit 0"
    )


@reading(_ask_trees)
def trees(raw: Raw, c: Context) -> Trees:
    """The target stage's shared folder and links, and what is left of the legacy stages."""
    found: dict[str, Entry] = {}
    for kind, fields in records(only_absences(raw, c.at), c.at, entry=4, link=3):
        if kind == "entry":
            path, what, size, mode = fields
            what = "regular file" if what == "regular empty file" else what
            found[path] = Entry(path, what, number(size, f"the size of {path}", c.at), int(mode, 8))
        else:
            path, target, resolved = fields
            if path not in found:
                raise Unobservable(f"{c.at}: {path} changed while it was read")
            old = found[path]
            found[path] = Entry(path, old.kind, old.size, old.mode, target, resolved)
    return Trees(found)


@dataclass(frozen=True, slots=True)
class StrayLink:
    """A symlink that leads through a legacy stage."""

    path: str
    target: str


def _ask_stray_links(c: Context) -> str:
    base = c.inv.stages.root.rstrip("/").rsplit("/", 1)[-1]
    tests: list[str] = []
    for name in c.inv.stages.legacy:
        for pattern in (f"*{base}/{name}", f"*{base}/{name}/*", f"*../{name}", f"*../{name}/*"):
            tests += [f"-lname {shlex.quote(pattern)}", "-o"]
    test, most = " ".join(tests[:-1]) or "-false", c.inv.limits.entries
    return (
        'set --; for d in "$SHARED" "$CURRENT/" "$UNITS"; do [ ! -d "$d" ] || set -- "$@" "$d"; done\n'
        "[ $# -gt 0 ] || exit 0\n"
        'find "$@" \\( -path "$SHARED/bundle*" -o -path "*/tmp/cache/*" \\) -prune -o '
        f"-type l \\( {test} \\) -printf 'link\\t%p\\t%l\\n' -o -printf '.\\n' | "
        f"head -n {most + 1} | awk '$0 != \".\" {{ print }} END {{ if (NR > {most}) print \"over\" }}'\n"
        "exit 0"
    )


@reading(_ask_stray_links, limit=60.0)
def stray_links(raw: Raw, c: Context) -> tuple[StrayLink, ...]:
    """Symlinks below the shared folder, the current release and the unit files that lead through a legacy stage."""
    within_entries(raw.out.endswith("over\n"), f"what lies below {c.inv.shared} and the current release", c)
    rows = records(only_absences(raw, c.at), c.at, link=2)
    return tuple(StrayLink(path.replace("//", "/"), target) for _, (path, target) in rows)


@dataclass(frozen=True, slots=True)
class Stranded:
    """A file in a release's own folder, where a link to the shared one should be; `state` is missing or differs."""

    state: str
    path: str
    shared_path: str


@dataclass(frozen=True, slots=True)
class StrandedData:
    """Data that the shared folder lacks: the folders that are real ones, and the files in them that matter."""

    folders: tuple[str, ...]
    files: tuple[Stranded, ...]
    count: int

    @property
    def missing(self) -> list[Stranded]:
        """Files that the shared folder does not have at all."""
        return [file for file in self.files if file.state == "missing"]

    @property
    def differing(self) -> list[Stranded]:
        """Files that are there in two versions: only a person can say which one counts."""
        return [file for file in self.files if file.state == "differs"]


_COMPARE = r"""
compare() { # FOLDER SHARED-FOLDER
  most=$((most - $(find "$1" | head -n "$((most + 1))" | wc -l)))
  [ "$most" -ge 0 ] || { echo over; exit 0; }
  printf 'folder\t%s\n' "$1"
  find "$1" -type f -exec sh -c 'top=$1 to=$2; shift 2; for f; do
    there=$to/${f#"$top"/}
    if [ ! -e "$there" ]; then printf "missing\t%s\t%s\n" "$f" "$there"
    elif ! cmp -s "$f" "$there"; then printf "differs\t%s\t%s\n" "$f" "$there"; fi
  done' compare "$1" "$2" {} +
}
real() { [ -d "$1" ] && [ ! -L "$1" ]; }
eval "set -- $names"
{ for stage in "$STAGE" $LEGACY_STAGES; do
  [ -d "$stage" ] || continue
  for name; do
    for top in "$stage"/releases/*; do
      if real "$top/$name"; then compare "$top/$name" "$SHARED/$name"; fi
    done
    [ "$stage" != "$STAGE" ] && real "$stage/shared" && real "$stage/shared/$name" || continue
    compare "$stage/shared/$name" "$SHARED/$name"
  done
done; } | awk -v shown="$shown" '/^(folder|over)/ { print; next } { n++ } n <= shown { print } END { print "count\t" n + 0 }'
"""


def data_folders(inv: Inventory) -> list[str]:
    """Linked folders that hold data; what is below tmp/ is of one host and one boot."""
    return [name for name in inv.stages.linked_dirs if not name.startswith("tmp/")]


def _ask_stranded(c: Context) -> str:
    names = " ".join(map(shlex.quote, data_folders(c.inv)))
    return f"names={shlex.quote(names)}; shown={SHOWN}; most={c.inv.limits.entries}\n{_COMPARE}"


@reading(_ask_stranded, limit=120.0)
def stranded(raw: Raw, c: Context) -> StrandedData:
    """Files in real folders of releases (or of a legacy shared folder) that the shared folder lacks, or has otherwise.

    Nothing below tmp/ is looked at.
    """
    folders, files, count = [], [], -1
    within_entries("over" in raw.lines, "what lies in folders of releases where links should be", c)
    if raw.err.strip():
        raise Unobservable(f"{c.at}: {raw.err.strip().splitlines()[-1]}")
    for kind, fields in records(observed(raw, c.at), c.at, folder=1, missing=2, differs=2, count=1):
        if kind == "folder":
            folders.append(fields[0])
        elif kind == "count":
            count = number(fields[0], "the number of stranded files", c.at)
        else:
            files.append(Stranded(kind, fields[0], fields[1]))
    if count < 0:
        raise Unobservable(f"{c.at}: the list of stranded files is cut off")
    return StrandedData(tuple(folders), tuple(files), count)
