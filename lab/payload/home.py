"""What lies in hkn's home beside the releases: Ruby, Solr, keys, log rotation, the data of years."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab.lab import Lab
from lab.machine import ACCOUNTS
from lab.payload import ruby, search, solr
from lab.payload.places import HOME, LINKED_DIRS, OWNER, SHARED, SOLR, USER
from lab.payload.render import HERE
from lab.payload.ruby import Ruby

# A stamp in the future is not believed, so a state that was frozen days ago does not rotate logs as it boots.
_STAMP = ".local/share/systemd/timers/stamp-hkn-rails-logrotate.timer"


def lay(lab: Lab, old: Ruby, new: Ruby) -> None:
    """Fill the home as it was on the old host in its last year."""
    ruby.install_rvm(lab.app)
    ruby.install_ruby(lab.legacy, old, default=True)
    ruby.install_ruby(lab.app, new, default=False)
    inside = lab.home / Path(HOME).relative_to("/home")
    solr.install(solr.artefact(lab), inside / Path(SOLR).relative_to(HOME), ACCOUNTS[USER].uid)
    shutil.copytree(HERE / "app/solr", inside / Path(search.EMPTY_HOME).relative_to(HOME))
    lab.app.run(["chown", "-R", OWNER, search.EMPTY_HOME])
    _lay_shared(lab)
    _lay_logrotate(lab)


def _lay_shared(lab: Lab) -> None:
    lab.app.run(["mkdir", "-p", *(f"{SHARED}/{name}" for name in ("config", *LINKED_DIRS))], user=USER)
    secret = "".join(f"{byte:02x}" for byte in range(64))
    secrets = f"production:\n  secret_key_base: '{secret}'\n"
    database = "production:\n  adapter: mysql2\n  database: hkn\n  username: hkn\n  password: not-a-real-one\n"
    for path, text, mode in (
        ("config/secrets.yml", secrets, 0o600),
        ("config/database.yml", database, 0o600),
        ("private/resumes/2016-ada.pdf", "%PDF-1.4 a resume of 2016\n", 0o600),
        ("private/resumes/2017-grace.pdf", "%PDF-1.4 a resume of 2017\n", 0o600),
        ("private/resumes/2018-alan.pdf", "%PDF-1.4 a resume of 2018\n", 0o600),
        ("private/saves.txt", "Save 000000000001\tCS 170 course survey\n", 0o644),
        ("public/files/constitution.txt", "We the members of Eta Kappa Nu ...\n", 0o644),
        ("public/examfiles/cs61a-2017-final.txt", "1. What would Python print?\n", 0o644),
        ("public/images/officers/2018.txt", "a picture of the officers of 2018\n", 0o644),
    ):
        lab.app.run(["mkdir", "-p", str(Path(f"{SHARED}/{path}").parent)], user=USER)
        lab.app.write(f"{SHARED}/{path}", text, mode=mode, owner=OWNER)


def _lay_logrotate(lab: Lab) -> None:
    configuration = (HERE / "templates/logrotate.conf").read_text()
    lab.app.run(f"mkdir -p ~/logrotate {Path(_STAMP).parent} && touch -d 2037-01-01 {_STAMP}", user=USER)
    lab.app.write(f"{HOME}/logrotate/logrotate.conf", configuration, owner=OWNER)
    lab.app.write(f"{HOME}/logrotate/status", "logrotate state -- version 2\n", owner=OWNER)
