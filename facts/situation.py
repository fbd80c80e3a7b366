"""Where in its life the deployment stands, told from units, trees and the socket; said at the head of every check."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from converge.checking.application import Situation
from converge.errors import Unobservable
from converge.readings import Context, Raw, reading
from facts.host.processes import ABOUT, processes
from facts.parsing import every, observed, pairs, sections
from facts.sockets import LISTENER_PIDS
from facts.units.files import UnitFile
from facts.units.states import SHOWN, make_sure

BEFORE = "before the migration"
MIGRATED = "migrated"
HALF_WAY = "half-way"
FINISHED = "finished"
UNLIKE = "unlike any of these"


@dataclass(frozen=True, slots=True)
class Landscape:
    """The few facts that tell the situation. `serving` names the units whose processes answer on the site's socket."""

    app_unit: str
    app_file: bool
    app_fits: bool
    app_active: bool
    app_enabled: bool
    legacy_active: tuple[str, ...]
    legacy_enabled: tuple[str, ...]
    legacy_files: tuple[str, ...]
    legacy_units: tuple[str, ...]
    legacy_trees: tuple[str, ...]
    trees_with_release: tuple[str, ...]
    serving: tuple[str, ...]
    stranger: str

    @property
    def has_legacy(self) -> bool:
        """Whether anything of the legacy stage is left but its tree."""
        return bool(self.legacy_active or self.legacy_enabled or self.legacy_files)


@reading(
    ABOUT
    + LISTENER_PIDS
    + SHOWN
    + r"""
set -- "$UNIT" $LEGACY_UNITS
all=$(S show "$@" -p Names -p ActiveState) || exit 1
n=0
for u in "$@"; do
  n=$((n + 1))
  echo "[$u]"
  shown "$n"; echo "enabled=$(S is-enabled "$u" 2>/dev/null | head -n 1)"
  [ ! -f "$UNITS/$u" ] || { echo file=yes; sed 's/^/|/' "$UNITS/$u"; echo; }
done
echo '[trees]'
for t in "$STAGE" $LEGACY_STAGES; do
  [ ! -d "$t" ] || echo "tree=$t"
  [ ! -e "$t/current/REVISION" ] || echo "release=$t"
done
echo '[serving]'
pids=$(listener_pids "$(upstream)") || exit
for p in $pids; do about "$p"; done
true
"""
)
def landscape(raw: Raw, c: Context) -> Landscape:
    """Units, trees and the socket of the app host, as far as they tell the situation."""
    found = sections(observed(raw, c.at).lines)
    app, legacy = c.inv.app.unit, tuple(c.inv.app.legacy_units)
    said = {name: pairs(lines) for name, lines in found.items()}
    for unit in (app, *legacy):
        make_sure(unit, said.get(unit, {}), c.at)
    text = "\n".join(line[1:] for line in found.get(app, []) if line.startswith("|"))
    hostname = c.host.hostname if c.host else ""
    trees = every(found.get("trees", []), "tree")
    serving = {p.unit or p.cgroup for p in processes(found.get("serving", []), c.at)}

    def those(key: str, *values: str) -> tuple[str, ...]:
        return tuple(unit for unit in legacy if said.get(unit, {}).get(key) in values)

    own = said.get(app, {})
    return Landscape(
        app_unit=app,
        app_file=own.get("file") == "yes",
        app_fits=UnitFile(app, "", text).may_start_on(hostname),
        app_active=own["ActiveState"] == "active",
        app_enabled=own.get("enabled") == "enabled",
        legacy_active=those("ActiveState", "active", "activating", "deactivating"),
        legacy_enabled=those("enabled", "enabled"),
        legacy_files=those("file", "yes"),
        legacy_units=legacy,
        legacy_trees=tuple(tree for tree in trees if tree != c.inv.stage),
        trees_with_release=tuple(every(found.get("trees", []), "release")),
        serving=tuple(sorted(serving)),
        stranger=next((unit for unit in sorted(serving) if unit not in {app, *legacy}), ""),
    )


def situation(seen: Landscape) -> Situation:
    """The situation with what stands out in it; one that fits no picture refuses remediation."""
    odd = _contradictions(seen)
    if odd:
        return Situation(UNLIKE, tuple(odd), refuse=True)
    remarks = _remarks(seen)
    if seen.legacy_active and not seen.app_active:
        return Situation(MIGRATED, (f"{seen.legacy_active[0]} runs the site; {seen.app_unit} does not run", *remarks))
    if not seen.has_legacy and not seen.app_active and not seen.app_fits:
        return Situation(BEFORE, (f"{seen.app_unit} belongs to another host, and nothing replaces it here yet", *remarks))
    if seen.has_legacy:
        return Situation(HALF_WAY, tuple(remarks))
    return Situation(FINISHED, tuple(remarks))


def _contradictions(seen: Landscape) -> list[str]:
    """What fits no picture at all."""
    found = []
    if not seen.trees_with_release:
        found.append("no stage has a current release: there is nothing here to look after")
    if not seen.app_file and not seen.legacy_files and not seen.legacy_active:
        found.append(f"neither {seen.app_unit} nor a legacy unit has a file on the hosts")
    return found


def _remarks(seen: Landscape) -> list[str]:
    """What stands out, as sentences."""
    found = []
    if seen.app_active and seen.legacy_active:
        found.append(f"{seen.app_unit} and {', '.join(seen.legacy_active)} are both active")
    if seen.app_active and not seen.app_enabled:
        found.append(f"{seen.app_unit} runs, but would not start after a reboot")
    if not seen.app_active and not seen.legacy_active:
        found.append("neither the app's unit nor a legacy one is active")
    if seen.app_active and (left := sorted({*seen.legacy_enabled, *seen.legacy_files})):
        found.append(f"left of the legacy stage: {', '.join(left)}")
    if seen.legacy_trees and not seen.has_legacy:
        found.append(f"kept until the soak time is over: {', '.join(seen.legacy_trees)}")
    if seen.stranger:
        found.append(f"the site's socket is held by {seen.stranger}, which is none of the target's units")
    return found


@reading('link="$UNITS/default.target.wants/$UNIT"; if [ -L "$link" ]; then stat -c %Y "$link"; else echo none; fi')
def enabled_on(raw: Raw, c: Context) -> date | None:
    """The day on which the app's unit was enabled (the link's own time), None while it is not."""
    word = raw.out.strip()
    if word == "none":
        return None
    if raw.rc or not word.isdigit():
        raise Unobservable(f"{c.at}: stat of the enabling link of {c.inv.app.unit}: {raw.err.strip() or word!r}")
    return datetime.fromtimestamp(int(word), UTC).date()
