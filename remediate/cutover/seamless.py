"""The cutover in which the old application serves until the new one does: one program, two ways to lead requests over.

Both applications bind the same path and write the same PID file. So the old listener gets a second name (`$OLD`), the PID
file is parked, and the new application boots beside. It is let in when it has proven itself; the old one is ended when the
site was seen to answer from outside, over a new connection, and nobody is left in its queue.

*switch*: the public path is a symlink, which is pointed at `$OLD`, and then at the new listener on `$LISTEN`.
*rename*: the public path is the bound socket; the new application binds `$NEXT`, which is renamed over it. Such a master
goes on calling its listener `$NEXT`: a plain restart binds the right name, and a HUP or USR2 finds its configuration gone,
and leaves everything as it is.
"""

from __future__ import annotations

from remediate.cutover.guarded import GUARDED, REST
from remediate.cutover.shell import COMMON

_NAMES = r"""
hide() { # a name of a socket that has another one: `aside` moves none on which somebody listens
  [ "$(stat -c %h "$1")" -gt 1 ] || return 1
  h=$SOCKET_DIR/.attic/$CV_RUN/$CV_KEY
  (umask 077 && mkdir -p "$h") && mv -nT "$1" "$h/${1##*/}.$(up)" && [ ! -e "$1" ]
}
over_listen() { ln "$OLD" "$OLD.$$" && mv -T "$OLD.$$" "$LISTEN"; } # the old listener under the path that is bound
second_name() {
  hears "$OLD" || gone "$OLD" || return 1
  [ -e "$OLD" ] || ln "$(readlink -f "$PUBLIC")" "$OLD"
}
"""

SWITCH = r"""
BESIDE=$LISTEN link_text=$(readlink "$PUBLIC")
case "$link_text" in "$OLD") link_text=${LISTEN##*/} ;; esac
prepare() {
  second_name || return 1
  [ "$(readlink -f "$PUBLIC")" = "$OLD" ] || serves_at "$LISTEN" || relink "$PUBLIC" "$OLD" || return 1
  [ "$(inode "$LISTEN")" != "$(inode "$OLD")" ] || hide "$LISTEN"
}
unhook() { :; }
lead_over() { [ "$(readlink -f "$PUBLIC")" = "$LISTEN" ] || relink "$PUBLIC" "$link_text"; }
lead_back() { [ "$(readlink -f "$PUBLIC")" = "$OLD" ] || ! hears "$OLD" || (relink "$PUBLIC" "$OLD"); }
restore() {
  hears "$OLD" || return 0
  [ "$(inode "$LISTEN")" = "$(inode "$OLD")" ] || over_listen || return 1
  (relink "$PUBLIC" "$link_text") && hide "$OLD"
}
"""

RENAME = r"""
BESIDE=$NEXT starter=$XDG_RUNTIME_DIR/$NEW.beside config=$XDG_RUNTIME_DIR/$NEW.beside.rb
option='\(unicorn.*[[:space:]]\)\(-c\|--config-file\)[[:space:]=]*'
prepare() {
  second_name || return 1
  if serves_at "$LISTEN"; then BESIDE=$LISTEN; return 0; fi
  serves_at "$NEXT" || gone "$NEXT" || return 1
  named=$(sed -n "s#.*$option\\([^[:space:]]*\\).*#\\3#p" "$NEW_TREE/run")
  case "$named" in
    ''|*[!A-Za-z0-9./_-]*) fail "how $NEW_TREE/run names unicorn's configuration is not understood: --brief needs it not" ;;
    /*) ;;
    *) named=$NEW_TREE/$named ;;
  esac
  printf '%s\n' "original = '$named'" 'def self.listen(address, options = {})' \
    "  super(address.to_s.sub(/\\Aunix:/, '') == '$LISTEN' ? '$NEXT' : address, options)" end \
    'instance_eval(File.read(original), original)' | put "$config" 644 || return 1
  sed "s#$option[^[:space:]]*#\\1-c $config#" "$NEW_TREE/run" | put "$starter.run" 644 || return 1
  printf '%s\n' "exec /bin/bash -c \"\$(cat '$starter.run')\" '$NEW_TREE/run'" | put "$starter" 644 || return 1
  printf '%s\n' '[Service]' ExecStart= "ExecStart=/bin/bash $starter" | put "$(drop_in "$NEW" "$HOLD")" 644
}
unhook() { gone "$config" && gone "$starter" && gone "$starter.run"; }
lead_over() { serves_at "$LISTEN" || mv -T "$NEXT" "$LISTEN"; }
lead_back() { [ "$(inode "$LISTEN")" = "$(inode "$OLD")" ] || ! hears "$OLD" || over_listen; }
restore() { unhook; gone "$NEXT"; ! hears "$OLD" || hide "$OLD"; }
"""

_RUN = r"""
put_back() {
  [ "$phase" != over ] || lead_back || return 1
  drained "$new_inode"
  end_new || return 1
  restore || return 1
  [ "$(pid_in "$PID_FILE")" = "$old_main" ] || (printf '%s\n' "$old_main" | put "$PID_FILE" 644)
}
look
phase=quiet
tell "$NEW is started beside what serves; stopping this ends it again"
[ "$timer" != active ] || unit stop "$LOGROTATE_TIMER" || exit 1
for u in $OLDS; do graceful "$u" "$refusing" || exit 1; done
unit daemon-reload || exit 1
phase=beside
prepare && park || exit 1
open_gate || exit 1
serves_at "$BESIDE" || { unit start "$NEW" && comes_up "$BESIDE" 240; } || fail "$(silent "$BESIDE")"
main=$(prop "$NEW" MainPID) new_inode=$(inode "$BESIDE")
held_lines "$refusing" | put "$(drop_in "$NEW" "$HOLD")" 644 && unit daemon-reload && unhook || exit 1
within 15 finds "$BESIDE" || fail "$found"
steady "$BESIDE" || fail "$NEW answered, and its process did not stay for $STABLE s"
phase=over
lead_over || exit 1
serves_at "$PUBLIC" || fail "$(silent "$PUBLIC")"
tell "$NEW serves, and $OLDS waits; it waits to be confirmed from outside; stopping this puts $OLDS back"
confirmed
trap '' TERM INT HUP
phase=committed
tell "$NEW serves; $OLDS is ended as soon as nobody waits in its queue"
drained "$(inode "$OLD")" || fail "requests wait in the queue of $OLDS and are not answered"
for u in $OLDS; do graceful "$u" || exit 1; done
unit daemon-reload || exit 1
for u in $OLDS; do unit stop "$u" || fail "$u could not be stopped"; done
gone "$OLD" || fail "$OLD could not be moved aside"
"""


def program(way: str) -> str:
    """The whole program of a way, `SWITCH` or `RENAME`."""
    return COMMON + GUARDED + _NAMES + way + _RUN + REST
