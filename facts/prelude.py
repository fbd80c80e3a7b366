"""Shell that every reading, condition and program of a step may use: the target's paths as variables, small functions.

POSIX sh for the oldest host (systemd 215: ``show -p``, no ``--value``; no ``ss -H``). Functions only read.
"""

from __future__ import annotations

import shlex

from hosts.schema import Inventory

# CONVERGE_UID is the frame's (converge/readings/batch.py); a step, which has no frame, starts a process to learn it.
FUNCTIONS = r"""
export LC_ALL=C XDG_RUNTIME_DIR="/run/user/${CONVERGE_UID:-$(id -u)}"
S() { systemctl --user "$@"; }
prop() { S show "$1" -p "$2" | cut -d= -f2-; }
started() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
cgroup_of() { sed -n 's/^0:://p;s/^1:name=systemd://p' "/proc/$1/cgroup" 2>/dev/null | tail -n 1; }
upstreams() {
  [ -r "$VHOSTS" ] || return 3
  awk -v v="$SERVER_NAME" '{ gsub(/[";]/, "") }
    $1 == "server_name" { mine = 0; for (i = 2; i <= NF; i++) if ($i == v) mine = 1 }
    mine && $1 == "proxy_pass" { sub(/^http:\/\/unix:/, "", $2); sub(/:$/, "", $2); print $2 }' "$VHOSTS" | sort -u
}
upstream() { if [ "$SOCKET" = auto ]; then upstreams | head -n 1; else printf '%s\n' "$SOCKET"; fi; }
"""


def prelude(inv: Inventory) -> str:
    """Shell that defines the target's variables and the functions above. Nothing of it writes."""
    variables = {
        "ROOT": inv.stages.root,
        "STAGE": inv.stage,
        "CURRENT": inv.current,
        "SHARED": inv.shared,
        "LEGACY_STAGES": " ".join(inv.legacy_stages),
        "UNITS": inv.units_dir,
        "UNIT": inv.app.unit,
        "LEGACY_UNITS": " ".join(inv.app.legacy_units),
        "LOGROTATE_UNIT": inv.app.logrotate_unit,
        "LOGROTATE_TIMER": inv.app.logrotate_timer,
        "SOCKET_DIR": inv.web.socket_dir,
        "SOCKET": inv.web.socket,
        "LISTEN": inv.web.listen,
        "VHOSTS": inv.web.vhosts,
        "SERVER_NAME": inv.web.server_name,
        "SOLR_PORT": str(inv.solr.port),
        "SOLR_CORE": inv.solr.core,
        "ACCOUNT": inv.account.user,
        "ATTIC": inv.attic,
    }
    return "\n".join(f"{name}={shlex.quote(value)}" for name, value in variables.items()) + FUNCTIONS
