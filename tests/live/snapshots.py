"""What stands on a host at one moment, as text to compare: neighbours, files, units."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from lab.lab import Lab
from lab.machine import Machine
from lab.payload.neighbours import NEIGHBOURS, OTHER_SOLR_PORT
from lab.payload.places import HOME, SHARED, UNITS

Snapshot = dict[str, str]

SAVES = "private/saves.txt"
OTHERS_HOME = "/home/o/ot/otherorg"
SOCKETS = " ".join(n.socket for n in NEIGHBOURS)

# Processes by PID and start time (in clock ticks since boot): one that was restarted is another one.
NEIGHBOURS_SCRIPT = rf"""
for p in /proc/[0-9]*; do
  group=$(tr '\n' ' ' <"$p/cgroup" 2>/dev/null) || continue
  case $group in
    */hkn-dev.service*|*/hkn-tutoring.service*|*/user@5001.service*|*/nginx.service*) ;;
    *) continue ;;
  esac
  # The web server's workers come and go with its configuration; its master stays.
  ! grep -q 'worker process' "$p/cmdline" || continue
  start=$(sed 's/.*) //' "$p/stat" 2>/dev/null | cut -d' ' -f20)
  [ -z "$start" ] || printf 'process %s\tsince tick %s\n' "${{p#/proc/}}" "$start"
done
stat -c 'socket %n%tinode %i, mode %a, owner %u' {SOCKETS}
awk '$4 == "00010000" && $NF ~ /^\// {{ print "listener on " $NF "\tinode " $7 }}' /proc/net/unix |
  grep -E '/(dev|tutoring|otherorg)\.sock'
awk -v port=":$(printf %04X {OTHER_SOLR_PORT})" \
  '$2 ~ port "$" && $4 == "0A" {{ print "listener at " $2 "\tinode " $10 }}' /proc/net/tcp
find {OTHERS_HOME} {HOME}/hkn-dev {HOME}/hkn-tutoring {HOME}/.ssh {UNITS}/hkn-dev.service {UNITS}/hkn-tutoring.service \
  -type f ! -path '*/logs/*' ! -path '*/data/*' ! -name '*.log' -exec sha256sum {{}} + |
  awk '{{ print "file " $2 "\t" $1 }}'
for s in {SOCKETS}; do
  printf 'answer of %s\t%s\n' "$s" "$(curl -s -m 5 -w ' %{{http_code}}' --unix-socket "$s" http://x/ | tr '\n\t' '  ')"
done
"""

# Visitors, the prober among them, add to the saves meanwhile: of that file it is each line that must stay.
KEPT_SCRIPT = f"""
cd {SHARED}
find private public config -type f ! -path {SAVES} -exec sha256sum {{}} + | awk '{{ print $2 "\t" $1 }}'
awk '{{ print FILENAME " line " FNR "\t" $0 }}' {SAVES}
"""

# Every file system of the host but the kernel's own views of itself.
PLACES = ("/", "/home", "/tmp", "/dev/shm", "/run/user", "/run/systemd/transient")
HASHED = ("/etc", "/srv", "/var/lib", "/home", "/run/user")
ABOUT = r"%p\t%y %m %u:%g %s modified %TY-%Tm-%Td %TT changed %CY-%Cm-%Cd %CT %l\n"
UNITS_ASKED = "Id,LoadState,ActiveState,SubState,UnitFileState,MainPID,InvocationID,NRestarts,FragmentPath,DropInPaths,Job"


def parse(lines: str) -> Snapshot:
    """Lines of ``name TAB text``."""
    return dict(line.split("\t", 1) for line in lines.splitlines() if "\t" in line)


def neighbours(lab: Lab) -> Snapshot:
    """Who else lives on the app host: processes, sockets, listeners, files, answers."""
    seen = parse(lab.app.run(NEIGHBOURS_SCRIPT, timeout=120).stdout)
    assert len([name for name in seen if name.startswith("process ")]) >= 2 * len(NEIGHBOURS), seen
    return seen


def kept_data(lab: Lab) -> Snapshot:
    """The group's own data in the shared folder, by name and hash."""
    return parse(lab.app.run(KEPT_SCRIPT).stdout)


def journals(lab: Lab) -> list[str]:
    """Names of the runs that the app host's journal knows."""
    return lab.app.run(f"ls {HOME}/.local/state/hkn-migration/runs 2>/dev/null", check=False).stdout.split()


def trees(machine: Machine) -> Snapshot:
    """Every file of a host: type, mode, owner, size, times of content and of status, link; and the hash of its content."""
    places, hashed = " ".join(PLACES), " ".join(HASHED)
    about = machine.run(f"find {places} -xdev -printf '{ABOUT}' 2>/dev/null", check=False, timeout=180).stdout
    # Sockets and sparse caches have no content to hash; what vanishes in the middle shows in the first list.
    sums = machine.run(
        f"find {hashed} -xdev -type f -print0 | xargs -0 sha256sum 2>/dev/null | sed 's/^\\\\//' ", check=False, timeout=180
    ).stdout
    found = parse(about)
    for line in sums.splitlines():
        digest, _, path = line.partition("  ")
        found[path] = f"{found.get(path, '')} sha256 {digest}"
    return found


def units(machine: Machine) -> Snapshot:
    """Every unit of the system's manager and of hkn's, with what would tell of a start, a stop or an edit."""
    found: Snapshot = {}
    for user, command in ((None, "systemctl"), ("hkn", "systemctl --user")):
        text = machine.run(f"{command} show '*' --all --no-pager --property={UNITS_ASKED}", user=user, timeout=60).stdout
        for block in text.split("\n\n"):
            said = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            if "Id" in said:
                found[f"{user or 'system'} {said.pop('Id')}"] = " ".join(f"{k}={v}" for k, v in said.items())
    return found


def timers_due(machine: Machine, seconds: float) -> list[str]:
    """Timers of the system's manager and of hkn's that fire within so many seconds, or whose unit is at work now."""
    found = []
    now = float(machine.run("date +%s").stdout)
    for user, command in ((None, "systemctl"), ("hkn", "systemctl --user")):
        rows = json.loads(machine.run(f"{command} list-timers --all --output=json", user=user).stdout or "[]")
        found += [row["unit"] for row in rows if row["next"] and row["next"] / 1e6 - now < seconds]
        names = [row["activates"] for row in rows if row["activates"]]
        states = machine.run([*command.split(), "is-active", *names], user=user, check=False).stdout.split()
        found += [name for name, state in zip(names, states, strict=False) if state in {"active", "activating"}]
    return found


def changes(before: Mapping[str, str], after: Mapping[str, str], aside: Iterable[re.Pattern[str]] = ()) -> list[str]:
    """What differs, a line for each name that none of the patterns matches."""
    patterns = list(aside)
    found = []
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) == after.get(name) or any(p.search(name) for p in patterns):
            continue
        found.append(f"{name}: {before.get(name, 'was not there')} -> {after.get(name, 'is gone')}")
    return found


def compiled(expressions: Sequence[str]) -> list[re.Pattern[str]]:
    """Patterns that match whole names."""
    return [re.compile(rf"\A(?:{expression})\Z") for expression in expressions]
