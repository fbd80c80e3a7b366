"""Where things lie on the hosts, and who owns them."""

from __future__ import annotations

USER = "hkn"
OWNER = "hkn:hkn"
HOME = "/home/h/hk/hkn"
RAILS = f"{HOME}/hkn-rails"
PROD = f"{RAILS}/prod"
MIGRATE = f"{RAILS}/migrate"
SHARED = f"{PROD}/shared"
UNITS = f"{HOME}/.config/systemd/user"
ATTIC = f"{HOME}/attic"
SOLR = f"{HOME}/solr"
SOCKETS = "/srv/apps/hkn"

SITE = "hkn.eecs.berkeley.edu"
APP_UNIT = "hkn-rails.service"
MIGRATE_UNIT = "hkn-rails-migrate.service"
LOGROTATE_UNIT = "hkn-rails-logrotate.service"
LOGROTATE_TIMER = "hkn-rails-logrotate.timer"

SOLR_PORT = 8983
SOLR_PID_FILE = f"{SHARED}/tmp/pids/sunspot-solr-production.pid"
VHOSTS = "/etc/nginx/sites-enabled/virtual"
FORGE = "/srv/git/hkn-rails.git"

LINKED_FILES = ("config/database.yml", "config/secrets.yml")
LINKED_DIRS = (
    "log",
    "private",
    "public/examfiles",
    "public/files",
    "public/images",
    "public/pictures",
    "tmp/pids",
    "tmp/cache",
    "tmp/sockets",
)
