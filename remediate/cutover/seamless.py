"""The cutover in which the old application serves until the new one does: one program on the host.

Both applications bind the same path, `$LISTEN`, and write the same PID file. So the old listener gets a second name
(`$OLD`), the PID file is parked, and the new application boots beside: by a temporary configuration it binds `$NEXT`. When
it has proven itself `$NEXT` is renamed over `$LISTEN`. The old one is ended when the site was seen to answer from outside,
over a new connection, and nobody is left in its queue. Taking it back is a rename again, of another name of the old
listener.

*rename*: the web server asks `$LISTEN` itself.
*switch*: it asks a symlink to `$LISTEN`. What is switched is the socket to which the link leads, and not the link: units
know no other path than `$LISTEN`, so a link to a temporary name, were it there for the boot of the new application, would
lead nowhere after a reboot, or after a restart of either unit. As it is, the web server's path leads at every instant to
the path that whoever starts next will bind.

The new master goes on calling its listener `$NEXT`: a plain restart binds the right name, and a HUP or USR2 finds its
configuration gone, and leaves everything as it is.
"""

from __future__ import annotations

from remediate.cutover import brief
from remediate.cutover.phases import GUARDED, REST
from remediate.cutover.shell import COMMON

_NAMES = r"""
hiding=$SOCKET_DIR/.attic/$CV_RUN/$CV_KEY
make_hiding() { (umask 077 && mkdir -p "$hiding"); }
hide() { # a name of a socket that has another one: `aside` moves none on which somebody listens
  [ "$(stat -c %h "$1")" -gt 1 ] || return 1
  make_hiding && mv -nT "$1" "$hiding/${1##*/}.$(up)" && [ ! -e "$1" ]
}
same() { [ "$(inode "$LISTEN")" = "$(inode "$OLD")" ]; }
over_listen() { same || { ln "$OLD" "$OLD.$$" && mv -T "$OLD.$$" "$LISTEN"; }; } # the old listener, under the path again
straighten() { # a link that leads elsewhere than to the path which units bind
  [ ! -L "$PUBLIC" ] || [ "$(readlink -f "$PUBLIC")" = "$(readlink -f "$LISTEN")" ] || (relink "$PUBLIC" "$LISTEN")
}
has_second() { [ "$(inode "$OLD")" = "$old_inode" ] && [ -S "$OLD" ]; }
second_name() {
  make_hiding || fail "$hiding could not be made" # before it is needed: then the disk may be full
  has_second && return
  # A cutover that could not end what served before it left that with this name. If it is to serve again it waits as whoever
  # comes does.
  if serves_at "$OLD"; then gone "$NEXT" && mv -T "$OLD" "$NEXT" || return 1; fi
  ! hears "$OLD" || fail "somebody else than $OLDS and $NEW, or $NEW from another release, listens at $OLD"
  gone "$OLD" && ln "$(readlink -f "$PUBLIC")" "$OLD"
}
old_hears() { # 0: the old application listens, under its second name or the path; 1: not; 2: that cannot be told
  if has_second; then hears "$OLD"; return; fi
  [ "$(inode "$LISTEN")" != "$new_inode" ] || return 1
  hears "$LISTEN"
}
"""

_BESIDE = r"""
BESIDE=$NEXT starter=$XDG_RUNTIME_DIR/$NEW.beside config=$XDG_RUNTIME_DIR/$NEW.beside.rb
option='\(unicorn.*[[:space:]]\)\(-c\|--config-file\)[[:space:]=]*'
prepare() {
  second_name || return 1
  if serves_at "$LISTEN"; then BESIDE=$LISTEN; return 0; fi
  over_listen && straighten || return 1
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
"""

_RUN = r"""
alone() { # nobody but the new application answers; without ss too, so that neither word is taken for the other
  [ "$phase" != quiet ] && ! answers "$OLD" || return 1
  old_hears; [ $? != 0 ] && ! same && [ "$(state "$NEW")" = active ] && within 15 answers "$PUBLIC"
}
is_named() { [ "$(pid_in "$PID_FILE")" = "$1" ]; }
names() { is_named "$1" || printf '%s\n' "$1" | put "$PID_FILE" 644; } # PID: it is in the file
unpark() ( # PID: what `park` moved aside of it comes back, by renames alone: for those there is room on a full disk too
  cv_place "$PID_FILE"
  n=$(grep -nxF "aside $CV_P" "$forth/log" | tail -n 1 | cut -d: -f1)
  [ -n "$n" ] && k=$(cat "$forth/$n/store")/kept && [ "$(pid_in "$k")" = "$1" ] || exit 1
  if ! cv_here "$CV_P"; then mv -nT "$k" "$CV_P"; elif [ -f "$CV_P" ] && [ ! -L "$CV_P" ]; then cv_swap "$k" "$k.last"; fi
  is_named "$1"
)
lead_back() { # nothing that is dead is put in the place of anything
  if has_second && ! same; then hears "$OLD"; [ $? = 1 ] || over_listen || return 1; fi
  straighten
}
put_back() {
  [ "$phase" != quiet ] || return 0
  lead_back || return 1
  note
  drained "$new_inode"
  end_new || return 1
  unhook; gone "$NEXT"
  old_hears
  case $? in
    0) [ ! -e "$OLD" ] || hide "$OLD" || gone "$OLD" || miss "$OLD could not be moved aside" ;;
    1) gone "$OLD"; revive || return 1 ;;
    *) revive || return 1 ;;
  esac
  ! mains | grep -qx "$old_main" || is_named "$old_main" || unpark "$old_main" || (names "$old_main") ||
    miss "$PID_FILE does not name process $old_main, which serves"
}
aftermath
look
note
enter quiet
tell "$NEW is started beside what serves; stopping this ends it again"
[ "$timer" != active ] || unit stop "$LOGROTATE_TIMER" || exit 1
hold_old "$refusing" || exit 1
unit daemon-reload || exit 1
enter beside
prepare && park || exit 1
open_gate || exit 1
serves_at "$BESIDE" || { unit start "$NEW" && comes_up "$BESIDE" 240; } || fail "$(silent "$BESIDE")"
main=$(prop "$NEW" MainPID) new_inode=$(inode "$BESIDE")
names "$main" || exit 1 # also one that had been started before, and wrote its file then
held_lines "$refusing" | put "$(drop_in "$NEW" "$HOLD")" 644 && unit daemon-reload && unhook || exit 1
within 15 finds "$BESIDE" || fail "$found"
steady "$BESIDE" || fail "$(unsteady "$BESIDE")"
[ "$BESIDE" = "$LISTEN" ] || same || fail "$OLDS has bound $LISTEN anew meanwhile"
enter over
[ "$BESIDE" = "$LISTEN" ] || mv -T "$NEXT" "$LISTEN" || exit 1
straighten || exit 1
note
serves_at "$PUBLIC" || fail "$(silent "$PUBLIC")"
tell "$NEW serves, and $OLDS waits; it waits to be confirmed from outside; stopping this puts $OLDS back"
confirmed
trap '' TERM INT HUP
enter committed
tell "$NEW serves; $OLDS is ended as soon as nobody waits in its queue"
drained "$(inode "$OLD")" || fail "requests wait in the queue of $OLDS and are not answered, or ss cannot tell"
hold_old && unit daemon-reload || exit 1
for u in $OLDS; do end_old "$u" || fail "$u could not be stopped"; done
enter tidy
gone "$OLD" || fail "$OLD could not be moved aside"
"""

SEAMLESS = COMMON + GUARDED + _NAMES + _BESIDE + _RUN + REST
"""The whole program."""

_HEARD = r"""
heard() { # what serves before still listens; if killed, as it was then: in the phase file it has a name
  if [ -z "$CV_AFTER" ]; then
    listener_pids "$PUBLIC" >/dev/null || return 0 # who listens cannot be told: nobody is stopped on that
    [ -n "$(holder_of "$PUBLIC")$(holder_of "$OLD")" ]; return
  fi
  read -r _ _ _ _ listened <"$CV_PHASE" && [ -n "$listened" ]
}
"""

BACK = f"{COMMON}{GUARDED}{_HEARD}if heard; then\n{_NAMES}{_BESIDE}{_RUN}else\n{brief.BODY}fi\n{REST}"
"""The same as a way back: from an application that does not even listen any more nothing can be handed over, so briefly."""
