"""What must be so on the app host before a run acts there: nobody deploys, and there is memory for two copies."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from converge.checking.application import Guard
from converge.errors import Unobservable
from converge.transport import Link
from facts.host.memory import parse_room, room_script
from hosts.schema import Inventory

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


ADVICE = "the brief cutover needs none"


def preflight(link: Link, inv: Inventory) -> Sequence[Guard]:
    """What a run asks of the app host before it acts."""
    return nobody_deploys(link, inv), room_for_two(link, inv)


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
    """Whether the app host has memory for a second copy of the application."""
    name = "room for two copies"
    done = link.exec(room_script(inv), limit=20)
    try:
        room = parse_room(done.out.decode(errors="replace"), link.name, inv)
    except Unobservable as problem:
        return Guard(name, False, f"{name}: not known, {problem} ({ADVICE})", advice=True)
    advice = "" if room.holds_two else f" ({ADVICE})"
    return Guard(name, room.holds_two, f"{name}: {room}{advice}", advice=True)
