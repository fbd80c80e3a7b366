"""Faults of Solr, its PID file and what the application believes of both."""

from __future__ import annotations

from pathlib import Path

from lab.faults.model import Fault, as_user, fault
from lab.lab import Lab
from lab.payload import neighbours, search, site
from lab.payload.control import login
from lab.payload.places import APP_UNIT, PROD, RAILS, SOLR, SOLR_PID_FILE, SOLR_PORT, USER

_CORE = f"http://127.0.0.1:{SOLR_PORT}/solr/production"


def _stop(lab: Lab) -> None:
    search.stop(lab, lab.app.name)


def _listen_everywhere(lab: Lab) -> None:
    search.stop(lab, lab.app.name)
    login(
        lab,
        lab.app.name,
        f"setsid {SOLR}/bin/solr start -f -p {SOLR_PORT} -s $(readlink -f {PROD}/current)/solr -h 0.0.0.0 "
        f'</dev/null >/dev/null 2>&1 & printf %s "$!" > {SOLR_PID_FILE}',
    )
    search.wait(lab, lab.app.name)


def _old_home(lab: Lab) -> None:
    releases = lab.app.run(["ls", f"{PROD}/releases"], user=USER).stdout.split()
    search.stop(lab, lab.app.name)
    search.start(lab, lab.app.name, str(Path(f"{PROD}/releases") / min(releases) / "solr"))
    search.wait(lab, lab.app.name)


def _not_detected(lab: Lab) -> None:
    lab.app.run(f"mv {SOLR_PID_FILE} {SOLR_PID_FILE}.aside", user=USER)
    lab.app.run(["systemctl", "--user", "restart", APP_UNIT], user=USER)
    site.wait(lab.app, solr=False)
    lab.app.run(f"mv {SOLR_PID_FILE}.aside {SOLR_PID_FILE}", user=USER)


def _reboot(lab: Lab) -> None:
    # A number that the file kept from before may be another process's by now, and then the application believes in it.
    lab.app.run(f"printf 28731 > {SOLR_PID_FILE}", user=USER)
    lab.reboot(lab.app.name)
    site.wait(lab.app, solr=False)
    neighbours.wait(lab)


def _on_legacy(lab: Lab) -> None:
    # A home of its own: the shared index would be locked by the Solr that serves.
    home = f"{RAILS}/solr-of-{lab.legacy.name}"
    lab.legacy.run(f"cp -r $(readlink -f {PROD}/current)/solr {home} && rm -rf {home}/*/data", user=USER)
    search.start(lab, lab.legacy.name, home, record=False)
    search.wait(lab, lab.legacy.name)


FAULTS: tuple[Fault, ...] = (
    fault("solr-stopped", "Solr is stopped", "SOLR-1 SOLR-2 SOLR-3 SOLR-4 SOLR-5", _stop),
    fault("solr-everywhere", "Solr listens on every address", "SOLR-1", _listen_everywhere),
    fault("solr-old-home", "Solr runs from an older release", "SOLR-2", _old_home),
    fault(
        "index-empty",
        "Solr's index has no document",
        "SOLR-3",
        as_user(
            f"curl -sf -o /dev/null -H 'Content-Type: text/xml' "
            f"--data-binary '<delete><query>*:*</query></delete>' '{_CORE}/update?commit=true'"
        ),
    ),
    fault(
        "solr-pid-dead",
        "Solr's PID file names a process of the old host",
        "SOLR-4",
        as_user(f"printf 28731 > {SOLR_PID_FILE}"),
    ),
    fault(
        "host-rebooted",
        "the host was booted again: the application is back, and nobody started its Solr before",
        "SOLR-1 SOLR-2 SOLR-3 SOLR-4 SOLR-5",
        _reboot,
    ),
    fault("solr-not-detected", "the application booted without its Solr", "SOLR-5", _not_detected),
    fault("solr-on-legacy", "a Solr of hkn runs on the old host", "SOLR-6", _on_legacy),
)
