"""What a run is struck by. Each blow is real: a signal, a closed connection, a full disk, a reboot."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from lab.lab import Lab
from lab.payload import neighbours
from lab.payload.places import USER
from tests.chaos.going import Going
from tests.live.test_cutover import ASK

SIZES = {"home": "600M", "vampires": "300M"}
"""How much may be changed on the disks that are filled."""
BALLOONS = ("/home/.balloon", "/.balloon")


@dataclass(frozen=True)
class Blow:
    """`strike` hits a run that is going on; `mend` takes away what stays of it when that run has ended.

    `outage` says whether the site may fail to answer meanwhile. What `is_act` strikes by itself, at an act instead of
    a line of the journal. `fewest` is how many places to strike at the whole migration has at least.
    """

    name: str
    sentence: str
    strike: Callable[[Going], None]
    mend: Callable[[Lab], None] = lambda _: None
    outage: bool = False
    is_act: bool = False
    fewest: int = 60


def _cut(going: Going) -> None:
    # The servers' ends of all connections of hkn to the app host: what they started goes on without them.
    going.rig.lab.app.run(
        "for p in /proc/[0-9]*; do "
        """case "$(tr '\\0' ' ' <"$p/cmdline" 2>/dev/null)" in sshd*": hkn"*) kill -KILL "${p#/proc/}" ;; esac; """
        "done 2>/dev/null; true"
    )


def _slay(going: Going) -> None:
    # As a member of the host's staff would who wants it gone: whatever of it runs there, at once.
    going.rig.lab.app.run(f"pkill -KILL -u {USER} -f 'hkn-migration(/runs/|[.]act)'; true")


def _fill(going: Going) -> None:
    going.rig.lab.app.run(
        "".join(
            f"free=$(df --output=avail -B1 {place.rsplit('/', 1)[0] or '/'} | tail -n 1); "
            f'fallocate -l "$free" {place} || dd if=/dev/zero of={place} bs=64K 2>/dev/null; '
            f"dd if=/dev/zero of={place}.rest bs=1K 2>/dev/null; "
            for place in BALLOONS
        )
        + "true"
    )


def _let_out(lab: Lab) -> None:
    lab.app.run("rm -f " + " ".join(f"{place} {place}.rest" for place in BALLOONS))


def _nothing(_going: Going) -> None:
    pass


def _reboot(going: Going) -> None:
    lab = going.rig.lab
    lab.reboot(lab.app.name)
    answers(lab)
    neighbours.wait(lab)


def answers(lab: Lab) -> None:
    """Return when the site answers through the web server of the app host."""
    lab.app.wait_until(f"{ASK} | head -n 1 | grep -q ' 200'", timeout=90)
    # The file system's times have a second's grain in places.
    time.sleep(0.2)


BLOWS: dict[str, Blow] = {
    blow.name: blow
    for blow in (
        Blow("kill", "the control process is killed, with all its children", Going.kill),
        Blow("cut", "all connections to the app host are cut", _cut),
        Blow("slay", "all processes of the step on the app host are killed", _slay),
        Blow("full", "the app host's disks are full, the home's too", _fill, _let_out),
        Blow("fail", "an act fails when it has done what it does", _nothing, is_act=True, fewest=20),
        Blow("reboot", "the app host is rebooted", _reboot, outage=True),
    )
}
