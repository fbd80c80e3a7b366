"""Faults of the hosts: who they are, what they share, and what still runs on the old one."""

from __future__ import annotations

from lab.faults.model import Fault, as_root, as_user, fault
from lab.lab import Lab
from lab.payload.control import login
from lab.payload.places import HOME, LOGROTATE_UNIT, PROD, SOCKETS

_ROTATION = f"{HOME}/logrotate/logrotate.conf"


def _part_homes(lab: Lab) -> None:
    lab.legacy.run(
        "mkdir -p /run/other-home && mount -t tmpfs none /run/other-home && mkdir /run/other-home/{upper,work} && "
        "mount -t overlay -o lowerdir=/home,upperdir=/run/other-home/upper,workdir=/run/other-home/work none /home"
    )


def _serve_on_legacy(lab: Lab) -> None:
    login(
        lab,
        lab.legacy.name,
        f"cd {PROD}/current || exit 1; "
        f"setsid /usr/bin/unicorn -E production -l {SOCKETS}/prod.sock ~/hkn-dev/config.ru </dev/null >/dev/null 2>&1 &",
    )
    lab.legacy.wait_until(f"curl -sf -o /dev/null --unix-socket {SOCKETS}/prod.sock http://x/")


FAULTS: tuple[Fault, ...] = (
    fault("other-host", "the app host calls itself dev-vampires", "HOST-1", as_root("hostname dev-vampires")),
    fault(
        "host-upgraded",
        "the app host has a newer Debian release than the inventory says",
        "HOST-1",
        as_root("sed -i --follow-symlinks 's/^VERSION_ID=.*/VERSION_ID=\"99\"/' /etc/os-release"),
    ),
    fault(
        "not-in-group",
        "hkn is no longer in the group that may run services on the app host",
        "HOST-2",
        as_root("gpasswd -d hkn ocfapphost"),
    ),
    fault("no-linger", "hkn does not linger on the app host", "HOST-2", as_root("rm /var/lib/systemd/linger/hkn")),
    fault(
        "rotation-failed",
        "the last log rotation failed, for want of its configuration",
        "HOST-2",
        as_user(
            f"mv {_ROTATION} {_ROTATION}.away; systemctl --user start {LOGROTATE_UNIT} || true\n"
            f"mv {_ROTATION}.away {_ROTATION}"
        ),
    ),
    fault("homes-apart", "the old host has another /home than the app host", "HOST-3", _part_homes),
    fault(
        "legacy-serves",
        "on the old host somebody started an application server by hand, in the current release",
        "HOST-4",
        _serve_on_legacy,
    ),
)
