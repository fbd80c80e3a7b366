"""A check changes nothing, on any host, in any outcome; nor does a plan."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import pytest

from lab.machine import Machine
from tests.live.rig import Rig
from tests.live.snapshots import changes, compiled, timers_due, trees, units

SHARED = "/home/h/hk/hkn/hkn-rails/prod/shared"

TRACES = {
    "the system's own work, which is no file of anybody's": r"/(proc|sys|run)",
    "a login, in the list of logins": r"/var/log/(wtmp|lastlog|btmp)|/var/lib/(wtmpdb|lastlog)(/.*)?",
    "a login, in the journal": r"/(var|run)/log/journal/.*",
    "a login, as its session's unit": r"/run/systemd/transient(/session-.*)?",
    "a login, as logind's session": r"/run/user/5000/systemd/(transient|generator.*)",
    "a login to the repository's server, as its runtime folder": r"/run/user(/5002(/.*)?)?",
    "a web request, in the web server's log": r"/var/log/nginx/(access|error)\.log",
    "a web request, in the application's logs": rf"{SHARED}/log/(production|unicorn\.\w+)\.log",
}
"""What a login and a web request leave behind by themselves."""

SESSIONS = {
    "a login's session": r"(system|hkn) session-\w+\.scope",
    "a login, as logind counts them": r"system user-5000\.slice",
    "a login to the repository's server, as its user's manager": (
        r"(system|hkn) (user(-runtime-dir)?@5002\.service|user-5002\.slice|run-user-5002\.mount)"
    ),
}


class Stand(NamedTuple):
    """Both hosts at one moment."""

    files: dict[str, dict[str, str]]
    units: dict[str, dict[str, str]]


def look(machines: dict[str, Machine]) -> Stand:
    """Read everything."""
    return Stand(
        {name: trees(machine) for name, machine in machines.items()},
        {name: units(machine) for name, machine in machines.items()},
    )


COMPARISON = 90.0
"""Seconds from one look at both hosts to the next, at most: a timer that fires in between is not the check's doing."""


def wait_for_timers(machines: dict[str, Machine]) -> None:
    """Wait until no timer of a host is about to fire: the log rotation's does at midnight."""
    end = time.monotonic() + 2 * COMPARISON
    while due := [name for machine in machines.values() for name in timers_due(machine, COMPARISON)]:
        assert time.monotonic() < end, f"still due, or still at work: {', '.join(due)}"
        time.sleep(1)


@pytest.mark.parametrize(
    ("state", "arguments", "code"),
    [("prod", (), 0), ("migrated", (), 1), ("migrated", ("--plan",), 1)],
    ids=["check-green", "check-red", "plan"],
)
def test_nothing_is_changed(lab_in: Callable[[str], Rig], state: str, arguments: tuple[str, ...], code: int) -> None:
    rig = lab_in(state)
    # The first check after a boot waits until processes are old enough; the hosts have come to rest then.
    rig.check("-q")
    wait_for_timers(rig.lab.machines)
    before = look(rig.lab.machines)
    answer = rig.check(*arguments)
    after = look(rig.lab.machines)
    assert answer.code == code
    traces, sessions = compiled(list(TRACES.values())), compiled(list(SESSIONS.values()))
    changed = []
    for host in before.files:
        assert len(before.files[host]) > 10_000, host
        changed += [f"{host}: {line}" for line in changes(before.files[host], after.files[host], traces)]
        changed += [f"{host}: {line}" for line in changes(before.units[host], after.units[host], sessions)]
    assert not changed, "\n".join(changed)


def test_the_comparison_would_see_a_change(lab_in: Callable[[str], Rig]) -> None:
    rig = lab_in("prod")
    rig.spoil()
    before = look(rig.lab.machines)
    file, folder = f"{SHARED}/public/files/constitution.txt", f"{SHARED}/private"
    # The same length and the same time of content: the hash and the time of status tell.
    rig.lab.app.run(f"touch -r {file} ~/stamp && tr W w <{file} | dd of={file} conv=notrunc status=none", user="hkn")
    rig.lab.app.run(f"touch -r ~/stamp {file} && chmod g-x {folder} && systemctl --user restart hkn-dev", user="hkn")
    after = look(rig.lab.machines)
    files = changes(before.files["vampires"], after.files["vampires"])
    assert [line for line in files if line.startswith(f"{file}:")]
    assert [line for line in files if line.startswith(f"{folder}:")]
    seen_there = changes(before.files["werewolves"], after.files["werewolves"])
    assert [line for line in seen_there if line.startswith(f"{file}:")], "the home is shared"
    assert [line for line in changes(before.units["vampires"], after.units["vampires"]) if "hkn-dev.service" in line]
