"""Shell that the programs of cutovers and restarts share: who serves where, and waiting by a clock that cannot be set."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from facts.host.processes import Process
from facts.sockets import LISTENER_PIDS, PID_FILE
from facts.units.states import GATE, GATE_SHUT, GRACEFUL
from facts.web import AGENT
from hosts.schema import Inventory

COMMON = (
    LISTENER_PIDS
    + r"""
state() { prop "$1" ActiveState; }
up() { cut -d. -f1 /proc/uptime; }
ask() { # SOCKET PATH
  curl -s -m 5 -A "$AGENT" -o /dev/null -w '%{http_code}' --unix-socket "$1" -H "Host: $SERVER_NAME" "http://localhost$2"
}
answers() { [ "$(ask "$1" "$PROBE")" = 200 ]; }
serves_at() { # SOCKET: the unit's own process answers there, from the release that is current
  p=$(prop "$NEW" MainPID)
  [ "${p:-0}" -gt 1 ] || return 1
  case "$(cgroup_of "$p")" in */"$NEW") ;; *) return 1 ;; esac
  [ "$(readlink "/proc/$p/cwd")" = "$(readlink -f "$NEW_TREE")" ] || return 1
  listener_pids "$1" | grep -qx "$p" && answers "$1"
}
within() { # SECONDS COMMAND...: until the command succeeds; an application that hangs costs each try 5 s
  t=$(($(up) + $1)); shift
  while [ "$(up)" -le "$t" ]; do "$@" && return 0; sleep 0.25; done
  return 1
}
is_lost() { r=$(prop "$NEW" NRestarts); [ "$(state "$NEW")" = failed ] || [ "${r:-0}" -ge 3 ]; }
comes_up() { # SOCKET SECONDS
  t=$(($(up) + $2))
  while [ "$(up)" -le "$t" ]; do serves_at "$1" && return 0; is_lost && return 1; sleep 0.25; done
  return 1
}
# What served before is units, or processes that were started by hand: `process-PID`, of which `by_hand` knows the rest.
is_unit() { case "$1" in process-*) return 1 ;; esac; }
main_of() { # UNIT or process-PID: its main process, 0 for none
  if is_unit "$1"; then prop "$1" MainPID; return; fi
  set -- "${1#process-}"
  [ "$(started "$1")" = "$(by_hand born "$1")" ] && [ "$(sed 's/^.*) //' "/proc/$1/stat" | cut -c 1)" != Z ] || set -- 0
  echo "$1"
}
has_ended() { [ "$(main_of "$1")" = 0 ]; }
quit_old() { # process-PID: one that ends by itself in this moment is not one that the plan did not see
  has_ended "$1" || (by_hand quit "${1#process-}") || { has_ended "$1" && : >"$CV_STEP/ended"; }
}
end_old() { # UNIT or process-PID: letting its requests finish
  if is_unit "$1"; then unit stop "$1"; else quit_old "$1" && within "$STOP_TIMEOUT" has_ended "$1"; fi
}
start_again() { # what a person types to let what was started by hand serve again
  for o in $OLDS; do is_unit "$o" || echo "systemctl --user stop $NEW; $(by_hand again "${o#process-}")"; done
}
drop_in() { printf '%s\n' "$XDG_RUNTIME_DIR/systemd/user/$1.d/$2"; }
held_lines() { printf '%s\n' "$@" '[Service]' ExecStop= KillSignal=SIGQUIT KillMode=mixed "TimeoutStopSec=$STOP_TIMEOUT"; }
graceful() { # UNIT [LINES...]
  is_unit "$1" || return 0
  u=$1; shift
  { held_lines "$@"; printf 'PIDFile=%%t/%s.pid\n' "$u"; } |
    put "$(drop_in "$u" "$GRACEFUL")" 644
}
is_master() { [ "$1" -gt 1 ] && tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null | grep -q '^unicorn[^ ]* master'; }
pid_in() {
  v=$(head -c 16 "$1" 2>/dev/null | tr -d '\n')
  case "$v" in ''|*[!0-9]*) echo 0 ;; *) echo "$v" ;; esac
}
pid_is_free() { o=$(pid_in "$PID_FILE"); [ "$o" -le 1 ] || ! is_master "$o"; }
note() ( # for the report: whose process is asked by whoever asks the web server now; nothing where that cannot be told
  t=$(cv_moment) held=$(listener_pids "$PUBLIC")
  for u in "$NEW" ${OLDS:-}; do
    m=$(main_of "$u")
    printf '%s\n' "$held" | grep -qx "${m:-0}" || continue
    c=$(readlink "/proc/$m/cwd"); leads_to "$u, release ${c##*/}" "$t"; return
  done
)
silent() { # SOCKET: why `serves_at` does not hold
  now=$(readlink -f "$NEW_TREE") cwd=$(readlink "/proc/$(prop "$NEW" MainPID)/cwd" 2>/dev/null)
  case "$cwd" in
    ''|"$now") echo "$NEW does not answer on $1 from $now; it is $(state "$NEW")" ;;
    *) echo "$NEW works in $cwd, and $now is the release that is current" ;;
  esac
}
"""
)


def by_hand(strays: Sequence[Process]) -> str:
    """The function of the programs that knows the processes which were started by hand, and how to start one again."""
    cases = []
    for stray in strays:
        seen = " ".join(shlex.quote(word) for word in (str(stray.started), stray.cmdline, stray.cwd, stray.cgroup))
        again = f"cd {shlex.quote(stray.cwd)} && setsid ./run </dev/null >/dev/null 2>&1 &"
        cases += [
            f"'born {stray.pid}') echo {stray.started} ;;",
            f"'quit {stray.pid}') cv_signal {stray.pid} QUIT {seen} ;;",
            f"'again {stray.pid}') printf '%s\\n' {shlex.quote(again)} ;;",
        ]
    return "\n".join(["by_hand() { # WHAT PID", '  case "$1 $2" in', *(f"    {case}" for case in cases), "  esac", "}", ""])


def settings(inv: Inventory, unit: str = "", tree: str = "", **more: str) -> str:
    """Variables of the programs: `unit` is to serve, from the release to which `tree` leads; the app's if not given."""
    values = {
        "NEW": unit or inv.app.unit,
        "NEW_TREE": tree or inv.current,
        "PROBE": inv.web.probe_path,
        "AGENT": AGENT,
        "GATE": GATE,
        "GATE_SHUT": GATE_SHUT,
        "GRACEFUL": GRACEFUL,
        "STOP_TIMEOUT": str(inv.app.stop_timeout + 8),
        **more,
    }
    words = "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
    return f'{words}\nPID_FILE="$NEW_TREE/{PID_FILE}"\n'
