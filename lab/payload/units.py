"""hkn's units as they lie on the server, where no deployment puts them: a person copied and edited them."""

from __future__ import annotations

from lab.lab import Lab
from lab.payload.places import (
    APP_UNIT,
    LOGROTATE_TIMER,
    LOGROTATE_UNIT,
    MIGRATE,
    MIGRATE_UNIT,
    OWNER,
    PROD,
    UNITS,
    USER,
)
from lab.payload.render import HERE, fill

SOURCE = HERE / "app/config/systemd"


def from_repository(name: str, host: str) -> str:
    """A unit file as the application's repository had it when ``host`` served."""
    return fill((SOURCE / name).read_text(), {"HOST": host})


def migrate_unit() -> str:
    """The hand-made unit of the second tree, in no repository."""
    text = from_repository(APP_UNIT, "vampires").replace(PROD, MIGRATE)
    return text.replace("HKN Rails App", "HKN Rails App (migrate)")


def edited_logrotate() -> str:
    """The logrotate unit as it was edited on the server alone."""
    return from_repository(LOGROTATE_UNIT, "vampires").replace(APP_UNIT, MIGRATE_UNIT)


def put(lab: Lab, files: dict[str, str]) -> None:
    """Write unit files and let both hosts' user managers read them again."""
    lab.app.run(["mkdir", "-p", UNITS], user=USER)
    for name, text in files.items():
        lab.app.write(f"{UNITS}/{name}", text, owner=OWNER)
    reload(lab)


def reload(lab: Lab) -> None:
    """daemon-reload on both hosts: each manager has its own copy of the shared unit files."""
    for machine in lab.machines.values():
        machine.run(["systemctl", "--user", "daemon-reload"], user=USER)


def logrotate_timer() -> dict[str, str]:
    """The timer as the repository has it."""
    return {LOGROTATE_TIMER: from_repository(LOGROTATE_TIMER, "")}
