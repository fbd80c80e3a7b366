"""The end of the migration, reached the short way and by other code than the suite's."""

from __future__ import annotations

from pathlib import Path

from lab.lab import Lab
from lab.payload import neighbours, past, ruby, search, site, source, units
from lab.payload.capistrano import checkout, deploy, transport
from lab.payload.control import git
from lab.payload.places import (
    APP_UNIT,
    ATTIC,
    LOGROTATE_TIMER,
    LOGROTATE_UNIT,
    MIGRATE,
    MIGRATE_UNIT,
    PROD,
    SHARED,
    SOCKETS,
    UNITS,
    USER,
)
from lab.payload.ruby import ruby_of

_OLD_HOOKS = """\
  after :publishing, :restart_unicorn
  after :publishing, :restart_solr
  after :publishing, :reindex_sunspot
"""
_NEW_HOOKS = """\
  # The application looks for Solr once, when it boots.
  after :publishing, :restart_solr
  after :publishing, :reindex_sunspot
  after :publishing, :restart_unicorn
"""
_GRACEFUL = """\
KillSignal=SIGQUIT
KillMode=mixed
TimeoutStopSec=70
"""


def build(lab: Lab) -> None:
    """From `migrated` to the desired state."""
    past.settle(lab)
    with checkout(lab) as folder:
        _finish_source(lab, folder)
        _retire_migrate_unit(lab)
        for name in (APP_UNIT, LOGROTATE_UNIT, LOGROTATE_TIMER):
            text = (folder / "config/systemd" / name).read_text()
            lab.app.write(f"{UNITS}/{name}", text, owner="hkn:hkn")
        units.reload(lab)
        search.stop(lab, lab.app.name)
        search.start(lab, lab.app.name, f"{MIGRATE}/current/solr")
        search.wait(lab, lab.app.name)
        lab.say("deploying production to vampires")
        deploy(lab, folder, "production")
    site.wait(lab.app, solr=True, stage="prod")
    lab.app.run(["systemctl", "--user", "enable", APP_UNIT, LOGROTATE_TIMER], user=USER)
    lab.app.run(["systemctl", "--user", "start", LOGROTATE_TIMER], user=USER)
    _retire_migrate_tree(lab)
    units.reload(lab)


def _finish_source(lab: Lab, tree: Path) -> None:
    """Merge, and mend what a merge leaves: the names, the paths, the Ruby, the order of the hooks, the unit's stop."""
    new = ruby_of(lab.app)
    git(tree, "merge", "-q", "--no-ff", "-m", "Merge branch 'migrate'", "origin/migrate")
    source.after(new).write(tree, ruby.gems(lab, lab.app, new))
    (tree / "config/deploy/migrate.rb").unlink()
    _edit(tree / "config/deploy.rb", _OLD_HOOKS, _NEW_HOOKS)
    _edit(tree / "config/deploy.rb", "join('bundle')", 'join("bundle-#{fetch(:rvm_ruby_version)}")')
    unit = tree / "config/systemd" / APP_UNIT
    _edit(unit, f"PIDFile={PROD}/current/tmp/pids/unicorn.pid\n", "")
    _edit(unit, "ExecStop=/bin/kill -s QUIT $MAINPID\n", _GRACEFUL)
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "Serve production from vampires, and finish the move")
    git(tree, "push", "-q", "origin", "master", env=transport(lab))


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    if text.count(old) != 1:
        raise ValueError(f"{path.name} has {text.count(old)} times {old!r}, expected once")
    path.write_text(text.replace(old, new))


def _retire_migrate_unit(lab: Lab) -> None:
    lab.app.run(
        f"""
        set -e
        systemctl --user disable --now {MIGRATE_UNIT}
        mkdir -p {ATTIC}
        mv {UNITS}/{MIGRATE_UNIT} {ATTIC}/
        """,
        user=USER,
    )


def _retire_migrate_tree(lab: Lab) -> None:
    lab.app.run(
        f"""
        set -e
        cp -an {MIGRATE}/releases/20181126204600/public/files/. {SHARED}/public/files/
        ln -sfn {SHARED}/public/images/officers {SHARED}/public/pictures/officers
        rm {MIGRATE}/shared
        mv {MIGRATE} {ATTIC}/migrate
        mv {SHARED}/bundle {ATTIC}/bundle
        rm {SOCKETS}/old.sock
        """,
        user=USER,
    )


def settle(lab: Lab) -> None:
    """Start Solr, which no unit does after a boot, and then the application again, which looks for it only once."""
    search.start(lab, lab.app.name, f"{PROD}/current/solr")
    search.wait(lab, lab.app.name)
    # A SIGQUIT before unicorn listens may be lost, and the stop would then last as long as the unit allows.
    site.wait(lab.app)
    lab.app.run(["systemctl", "--user", "restart", APP_UNIT], user=USER)
    site.wait(lab.app, solr=True, stage="prod")
    neighbours.wait(lab)
