"""How the site came to stand as the migration page describes it: the old host, the second tree, the traces of both."""

from __future__ import annotations

from lab.lab import Lab
from lab.payload import home, neighbours, search, site, source, units, web
from lab.payload.capistrano import checkout, deploy
from lab.payload.places import (
    APP_UNIT,
    LOGROTATE_TIMER,
    LOGROTATE_UNIT,
    MIGRATE,
    MIGRATE_UNIT,
    SHARED,
    SOCKETS,
    SOLR_PID_FILE,
    USER,
)
from lab.payload.ruby import ruby_of

# A PID as a host counts it after months. No process of a fresh host is near it, so on the other host it is dead.
LEGACY_SOLR_PID = 28731


def build(lab: Lab) -> None:
    """From bare hosts to the page's "today"."""
    old, new = ruby_of(lab.legacy), ruby_of(lab.app)
    lab.facts["ruby"] = {"version": new.version, "old_version": old.version}
    lab.say("laying out the home, the web server and the neighbours")
    home.lay(lab, old, new)
    web.lay(lab)
    neighbours.lay(lab)
    source.create_forge(lab, old, new)
    _serve_from_legacy(lab)
    _move_beside(lab)
    _leave_traces(lab)


def _serve_from_legacy(lab: Lab) -> None:
    lab.say("deploying production to werewolves, as in 2018")
    lab.point_apphost(lab.legacy.name)
    host = lab.legacy.name
    names = (APP_UNIT, LOGROTATE_UNIT)
    units.put(lab, {name: units.from_repository(name, host) for name in names} | units.logrotate_timer())
    lab.legacy.run(["systemctl", "--user", "enable", APP_UNIT], user=USER)
    _deploy(lab, host, "master", "production")
    site.wait(lab.legacy)


def _move_beside(lab: Lab) -> None:
    lab.say("deploying migrate to vampires, beside it")
    lab.legacy.run(["systemctl", "--user", "disable", "--now", APP_UNIT], user=USER)
    search.stop(lab, lab.legacy.name)
    lab.point_apphost(lab.app.name)
    lab.app.run(["mkdir", MIGRATE], user=USER)
    lab.app.run(["ln", "-s", SHARED, f"{MIGRATE}/shared"], user=USER)
    units.put(lab, {MIGRATE_UNIT: units.migrate_unit(), LOGROTATE_UNIT: units.edited_logrotate()})
    lab.app.run(["systemctl", "--user", "enable", MIGRATE_UNIT], user=USER)
    _deploy(lab, lab.app.name, "migrate", "migrate")
    lab.app.run(["systemctl", "--user", "enable", "--now", LOGROTATE_TIMER], user=USER)
    units.reload(lab)
    site.wait(lab.app)


def _deploy(lab: Lab, host: str, branch: str, stage: str) -> None:
    # Without a Solr that the PID file names, restart_solr aborts the deployment.
    search.start(lab, host, search.EMPTY_HOME)
    search.wait(lab, host)
    with checkout(lab, branch) as folder:
        deploy(lab, folder, stage)


def _leave_traces(lab: Lab) -> None:
    stranded = f"{MIGRATE}/releases/20181126204600"
    revision = lab.app.run(["cat", f"{MIGRATE}/current/REVISION"], user=USER).stdout
    lab.app.run(
        f"""
        set -e
        mkdir -p {stranded}/public/files
        printf '%s' '{revision}' > {stranded}/REVISION
        echo 'minutes of the meeting that nobody finds' > {stranded}/public/files/minutes-2018-11-26.txt
        ln -s {MIGRATE}/shared/public/images/officers {SHARED}/public/pictures/officers
        printf %s {LEGACY_SOLR_PID} > {SOLR_PID_FILE}
        rm -rf {search.EMPTY_HOME}
        ruby -rsocket -e 'UNIXServer.new("{SOCKETS}/old.sock").close'
        """,
        user=USER,
    )
    # The application decides on Solr when it boots: from here on it has none.
    lab.app.run(["systemctl", "--user", "restart", MIGRATE_UNIT], user=USER)
    lab.legacy.run(["rm", "-f", f"{SOCKETS}/prod.sock"], user=USER)
    site.wait(lab.app)


def settle(lab: Lab) -> None:
    """Wait for the site; start the Solr that runs on the app host while its PID file names another host's process."""
    search.start(lab, lab.app.name, f"{MIGRATE}/current/solr", record=False)
    neighbours.wait(lab)
    search.wait(lab, lab.app.name)
    site.wait(lab.app, solr=False, stage="migrate")
