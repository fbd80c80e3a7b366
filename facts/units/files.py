"""The account's unit files, which all hosts share, and the symlinks by which they are wanted."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass

from converge.readings import Context, Raw, reading
from facts.parsing import every, observed, pairs, sections


@dataclass(frozen=True, slots=True)
class UnitFile:
    """A unit file's text, with the directives that the statements speak of."""

    name: str
    path: str
    text: str

    def values(self, key: str) -> tuple[str, ...]:
        """Values of a directive in order; as in systemd an empty one takes back those before it."""
        found: list[str] = []
        for line in self.text.splitlines():
            name, equals, value = line.partition("=")
            if equals and name.strip() == key:
                found = [*found, value.strip()] if value.strip() else []
        return tuple(found)

    def may_start_on(self, hostname: str) -> bool:
        """Whether its ConditionHost= (each must match; ``!`` negates) lets it start on a host."""
        return all(
            fnmatch.fnmatchcase(hostname, pattern.lstrip("!")) != pattern.startswith("!")
            for pattern in self.values("ConditionHost")
        )

    def is_same_as(self, text: str) -> bool:
        """Whether the text is the same, trailing blank lines apart."""
        return self.text.rstrip() == text.rstrip()


MATTERS = re.compile(
    r"Exec|Condition|Assert|Environment|UnsetEnvironment|Kill|SendSIG|TimeoutStopSec|TimeoutSec|Restart|RuntimeMax"
    r"|Type|PIDFile|WorkingDirectory|Root|User|Group|UMask|Protect|Private|ReadOnly|Inaccessible|BindPaths"
)
"""How the settings begin by which a drop-in changes what runs, where, or how it ends; all others are its host's care."""
NULL = "/dev/null"
"""Where the link leads that masks a unit (systemd.unit(5))."""


@dataclass(frozen=True, slots=True)
class SharedDropIn:
    """A drop-in that other units have too: it lies outside the folder of the one that it changes."""

    path: str
    text: str

    @property
    def changes(self) -> tuple[str, ...]:
        """The settings in it by which the application would run otherwise; limits and the like are none."""
        names = (line.partition("=")[0].strip() for line in self.text.split("\n") if "=" in line)
        return tuple(dict.fromkeys(name for name in names if MATTERS.match(name)))

    @property
    def serves(self) -> str:
        """Which units it changes, by its folder's name (systemd.unit(5))."""
        unit = self.path.rsplit("/", 2)[-2].removesuffix(".d")
        stem, _, kind = unit.rpartition(".")
        if not stem:
            return f"every {kind}"
        return f"every {kind} whose name begins with {stem}" if stem.endswith("-") else unit


@dataclass(frozen=True, slots=True)
class WantsLink:
    """A symlink below the units' directory, and where it leads in the end (empty: nowhere)."""

    path: str
    target: str
    resolved: str

    @property
    def is_wanted(self) -> bool:
        """Whether another unit asks by it for the one of its name; elsewhere a link is a unit file or a second name."""
        return self.path.rsplit("/", 2)[-2].endswith((".wants", ".requires"))

    @property
    def words(self) -> str:
        """What it is, for people."""
        return f"masked (a link to {NULL})" if self.resolved == NULL else f"a link to {self.target}"


@dataclass(frozen=True, slots=True)
class UnitsDir:
    """The directory of the account's unit files, which all hosts share.

    `legacy` has all that bears a legacy unit's name, whatever it is: drop-in folders and copies too, not what is in them.
    `copies` are files where only links belong (below ``*.wants`` and ``*.requires``); `real` is where the directory is.
    """

    path: str
    files: Mapping[str, UnitFile]
    links: tuple[WantsLink, ...]
    legacy: Mapping[str, tuple[str, ...]]
    copies: tuple[str, ...] = ()
    real: str = ""

    @property
    def dangling(self) -> tuple[WantsLink, ...]:
        """Symlinks that lead nowhere."""
        return tuple(link for link in self.links if not link.resolved)

    def link_of(self, unit: str) -> WantsLink | None:
        """The symlink that stands where the file of `unit` belongs: it is kept elsewhere, or masked."""
        return next((link for link in self.links if link.path == f"{self.path}/{unit}"), None)

    def file_of(self, unit: str) -> str:
        """Where the file of `unit` is in the end."""
        link = self.link_of(unit)
        return link.resolved if link else f"{self.real or self.path}/{unit}"

    def wants(self, unit: str) -> tuple[WantsLink, ...]:
        """Links by which other units ask for `unit`."""
        return tuple(link for link in self.links if link.is_wanted and link.path.rsplit("/", 1)[-1] == unit)

    def copies_of(self, unit: str) -> tuple[str, ...]:
        """Files of the name of `unit` where only links belong: to the manager they are none."""
        return tuple(path for path in self.copies if path.rsplit("/", 1)[-1] == unit)

    def left_of(self, unit: str) -> tuple[str, ...]:
        """What else than its unit file and the links to it bears a legacy unit's name."""
        known = {f"{self.path}/{unit}", *(link.path for link in self.wants(unit))}
        return tuple(path for path in self.legacy.get(unit, ()) if path not in known)


# Not whatever begins with the name: `a.service` would claim what belongs to `a-b.service`.
@reading(
    r"""
cd "$UNITS" || exit 1
echo '[folder]'
echo "real=$(pwd -P)"
for f in *.service *.timer *.socket; do
  [ -f "$f" ] || continue
  echo "[$f]"; sed 's/^/|/' "$f" || exit 1; echo
done
echo '[links]'
found=$(find "$UNITS/" \( -type l -o -path '*.wants/*' -o -path '*.requires/*' \)) || exit 1
printf '%s' "$found" | sort | while IFS= read -r l; do
  [ -L "$l" ] || { [ ! -f "$l" ] || echo "copy=$l"; continue; }
  t=; [ ! -e "$l" ] || t=$(readlink -f "$l")
  printf 'link=%s\t%s\t%s\n' "$l" "$(readlink "$l")" "$t"
done
echo '[legacy]'
for u in $LEGACY_UNITS; do
  s=${u%.service}
  find "$UNITS/" -mindepth 1 \( -name "$s" -o -name "$s[!A-Za-z0-9_-]*" \) -prune -printf "at=$u\t%p\n" || exit 1
done
"""
)
def unit_files(raw: Raw, c: Context) -> UnitsDir:
    """Text of the account's unit files, the symlinks beside them, and what bears a legacy unit's name."""
    found = sections(observed(raw, c.at).lines)
    folder = c.inv.units_dir
    files = {
        name: UnitFile(name, f"{folder}/{name}", "\n".join(line[1:] for line in lines if line.startswith("|")) + "\n")
        for name, lines in found.items()
        if name not in {"folder", "links", "legacy"}
    }
    links = [entry.split("\t") for entry in every(found.get("links", []), "link")]
    named = [entry.partition("\t") for entry in sorted(every(found.get("legacy", []), "at"))]
    legacy = {unit: tuple(path for of, _, path in named if of == unit) for unit in c.inv.app.legacy_units}
    seen = tuple(WantsLink(*parts) for parts in links if len(parts) == 3)
    real = pairs(found.get("folder", [])).get("real", "")
    return UnitsDir(folder, files, seen, legacy, tuple(every(found.get("links", []), "copy")), real)
