"""hkn's Solr as a process: started as a person starts it, found by what it is, never by the PID file alone."""

from __future__ import annotations

from lab.lab import Lab
from lab.payload.control import login
from lab.payload.places import HOME, SHARED, SOLR, SOLR_PID_FILE, SOLR_PORT, USER

# A core with nothing in it, for the time before the first release brings its own.
EMPTY_HOME = f"{HOME}/.solr-before-release"
_CORE = f"http://127.0.0.1:{SOLR_PORT}/solr/production/select?q=*:*&rows=0&wt=json"


def start(lab: Lab, machine: str, solr_home: str, *, record: bool = True) -> None:
    """Start Solr from a login that then ends, so that it belongs to no unit; ``record`` writes the PID file."""
    record_it = f'mkdir -p {SHARED}/tmp/pids && printf %s "$!" > {SOLR_PID_FILE}' if record else ":"
    command = (
        f'home=$(readlink -f {solr_home}) && [ -n "$home" ] || exit 1; '
        f'setsid {SOLR}/bin/solr start -f -p {SOLR_PORT} -s "$home" -h 127.0.0.1 </dev/null >/dev/null 2>&1 & '
        f"{record_it}"
    )
    login(lab, machine, command)


def wait(lab: Lab, machine: str) -> None:
    """Return when the core answers."""
    lab.machines[machine].wait_until(f"curl -sf -m 2 -o /dev/null '{_CORE}'")


def stop(lab: Lab, machine: str) -> None:
    """End hkn's Solr there, if there is one; the PID file stays as it is."""
    lab.machines[machine].run(
        f"""
        {SOLR}/bin/solr stop -p {SOLR_PORT} >/dev/null 2>&1
        for i in $(seq 100); do pgrep -u {USER} -f '[j]etty.port={SOLR_PORT}' >/dev/null || exit 0; sleep 0.1; done
        echo 'Solr did not stop within 10 s'; exit 1
        """,
        user=USER,
    )
