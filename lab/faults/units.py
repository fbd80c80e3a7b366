"""Faults of the units on the server."""

from __future__ import annotations

from collections.abc import Callable

from lab.faults.model import Fault, as_user, fault
from lab.lab import Lab
from lab.payload import site, units
from lab.payload.control import login
from lab.payload.places import (
    APP_UNIT,
    LOGROTATE_TIMER,
    LOGROTATE_UNIT,
    MIGRATE_UNIT,
    PROD,
    UNITS,
    USER,
)


def _reloaded(script: str) -> Callable[[Lab], None]:
    def apply(lab: Lab) -> None:
        lab.app.run(f"set -e\ncd {UNITS}\n{script}", user=USER)
        units.reload(lab)

    return apply


def _by_hand(lab: Lab) -> None:
    lab.app.run(["systemctl", "--user", "stop", APP_UNIT], user=USER)
    login(lab, lab.app.name, f"setsid {PROD}/current/run </dev/null >/dev/null 2>&1 &")
    site.wait(lab.app, solr=True)


def _legacy_unit_back(lab: Lab) -> None:
    units.put(lab, {MIGRATE_UNIT: units.migrate_unit()})


def _legacy_unit_serves(lab: Lab) -> None:
    units.put(lab, {MIGRATE_UNIT: units.from_repository(APP_UNIT, lab.app.name)})
    lab.app.run(f"systemctl --user stop {APP_UNIT} && systemctl --user start {MIGRATE_UNIT}", user=USER)
    site.wait(lab.app, solr=True)


def _legacy_unit_beside(lab: Lab) -> None:
    units.put(lab, {MIGRATE_UNIT: units.from_repository(APP_UNIT, lab.app.name)})
    # As a reboot with both enabled does: each start dies of the socket that is bound, and takes the PID file meanwhile.
    lab.app.run(f"systemctl --user enable --now {MIGRATE_UNIT}", user=USER)
    main = f'"$(systemctl --user show {APP_UNIT} -p MainPID | cut -d= -f2-)"'
    lab.app.wait_until(f'[ "$(cat {PROD}/current/tmp/pids/unicorn.pid 2>/dev/null)" != {main} ]', user=USER)


FAULTS: tuple[Fault, ...] = (
    fault(
        "unit-edited",
        "somebody edited the unit on the server alone",
        "UNIT-1",
        _reloaded(f"sed -i 's/^\\[Service\\]/&\\nEnvironment=LANG=C/' {APP_UNIT}"),
    ),
    fault(
        "unit-file-is-a-link",
        "the unit's file is a link into the release",
        "UNIT-1",
        _reloaded(f"ln -sf {PROD}/current/config/systemd/{APP_UNIT} {APP_UNIT}"),
    ),
    fault(
        "shared-drop-in",
        "a drop-in of all units whose name begins with hkn- changes how they end",
        "UNIT-1 UNIT-10",
        _reloaded("mkdir hkn-.service.d; printf '[Service]\\nKillMode=process\\n' > hkn-.service.d/limits.conf"),
    ),
    fault(
        "enabled-by-a-copy",
        "a copy of the unit's file lies where the link belongs that enables it",
        "UNIT-3",
        _reloaded(f"cp --remove-destination {APP_UNIT} default.target.wants/{APP_UNIT}"),
    ),
    fault("not-reloaded", "the unit's file is newer than what systemd read", "UNIT-2", as_user(f"touch {UNITS}/{APP_UNIT}")),
    fault(
        "not-enabled",
        "the unit would not start after a reboot",
        "UNIT-3",
        as_user(f"systemctl --user disable {APP_UNIT}"),
    ),
    fault("migrate-unit-left", "the migrate unit's file is there again", "UNIT-4", _legacy_unit_back),
    fault("migrate-masked", "the migrate unit is masked", "UNIT-4", _reloaded(f"ln -s /dev/null {MIGRATE_UNIT}")),
    fault(
        "migrate-drop-in-left",
        "a folder with a drop-in of the migrate unit is left among the units",
        "UNIT-4",
        _reloaded(f"mkdir {MIGRATE_UNIT}.d; echo '[Service]' > {MIGRATE_UNIT}.d/limits.conf"),
    ),
    fault(
        "app-stopped",
        "hkn-rails.service is stopped",
        "UNIT-5 RUBY-2 SOCK-2 SOCK-3 PID-1 WEB-1 WEB-2 SOLR-5 LOG-1",
        as_user(f"systemctl --user stop {APP_UNIT}"),
    ),
    fault(
        "migrate-unit-serves",
        "the migrate unit is back, and serves the release instead of hkn-rails.service",
        "DEP-5 UNIT-4 UNIT-5 RUBY-2 SOCK-3 PID-1 LOG-1",
        _legacy_unit_serves,
    ),
    fault(
        "migrate-unit-beside",
        "the migrate unit is back and enabled, and starts again and again beside hkn-rails.service",
        "UNIT-4 UNIT-5 UNIT-6 PID-1",
        _legacy_unit_beside,
    ),
    fault(
        "started-by-hand",
        "the application runs from a login, and its unit does not",
        "UNIT-5 RUBY-2 SOCK-3 PID-1 LOG-1",
        _by_hand,
    ),
    fault(
        "second-unit",
        "a copy of the unit is enabled too",
        "UNIT-6",
        _reloaded(f"cp {APP_UNIT} hkn-rails-copy.service; systemctl --user enable hkn-rails-copy.service"),
    ),
    fault(
        "link-dangles",
        "a link that starts a unit leads nowhere",
        "UNIT-7",
        as_user(f"ln -s {UNITS}/hkn-old.service {UNITS}/default.target.wants/hkn-old.service"),
    ),
    fault(
        "logrotate-restarts-migrate",
        "the nightly log rotation restarts the migrate unit",
        "UNIT-8",
        _reloaded(f"sed -i 's/{APP_UNIT}/{MIGRATE_UNIT}/' {LOGROTATE_UNIT}"),
    ),
    fault(
        "timer-stopped",
        "the log rotation's timer is stopped",
        "UNIT-9",
        as_user(f"systemctl --user stop {LOGROTATE_TIMER}"),
    ),
    fault(
        "timer-masked",
        "the log rotation's timer is masked",
        "UNIT-9",
        _reloaded(f"systemctl --user stop {LOGROTATE_TIMER}; ln -sf /dev/null {LOGROTATE_TIMER}"),
    ),
)
