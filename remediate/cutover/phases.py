"""What the programs of a cutover have in common: what they look at, how they accept the new application, how they put back.

A cutover is in one of these phases; whatever ends it in one does what stands beside it. Phases in which something is to be
put back are kept in a file, beyond the program: one that is killed is run again, for that alone (``CV_AFTER``):

    before      nothing was changed
    quiet       timer and drop-ins are put back
    beside      and the new application is ended: it served nobody
    over        the site is led back to the old application, then the new one is ended; an old one that has ended meanwhile
                is started again, but not at the cost of a new one that answers: that one stays, and it is said; one
                that was started by hand is not, and it is said what to type
    committed   the new one serves, confirmed from outside: nothing is put back any more, and what was held is let go
    tidy        and what served before has ended: what is left of the cutover is cleared
    done

What puts right at the end does so also where the home takes nothing any more (disk full, quota): what it does is noted in
the runtime directory (``elsewhere``).
"""

from __future__ import annotations

HOLD = "90-migration-hold.conf"
"""Name of the runtime drop-in by which nobody but the cutover starts or stops the app's unit meanwhile."""

GUARDED = r"""
: "${CV_STATE:=}" "${CV_CONFIRM:=}" "${CV_PHASE:=}" "${CV_AFTER:=}" "${DRAIN:=60}"
phase=before why= found= main= lost= serving= beyond= new_inode=0 timer=$(state "$LOGROTATE_TIMER") old_main= old_inode=0
tell() { echo "$1"; [ -z "$CV_STATE" ] || printf '%s\n' "$1" >"$CV_STATE"; }
enter() { # PHASE: what is to be put back from now on, kept for whoever comes after us if we are killed
  phase=$1
  [ -n "$CV_PHASE" ] || return 0
  if [ "$phase" != done ]; then
    printf '%s %s %s %s %s\n' "$phase" "${timer:-unknown}" "$new_inode" "$old_inode" "$old_main" >"$CV_PHASE.new" &&
      mv -T "$CV_PHASE.new" "$CV_PHASE" && return
    case "$phase" in committed|tidy) ;; *) fail "what is to be put back could not be kept in $CV_PHASE" ;; esac
  fi
  true >"$CV_PHASE" # also on a full disk: what is confirmed must not be put back
}
fail() { trap '' TERM INT HUP; why=$1; exit 1; }
inode() { stat -Lc %i "$1" 2>/dev/null || echo 0; }
queue() { # INODE: how many wait there; 1 if nobody listens, 2 if that cannot be told
  l=$(ss -xle) && [ -n "$l" ] || return 2
  # Other file systems have sockets of the same inode number: ours were bound in this folder.
  l=$(printf '%s\n' "$l" | grep -F " $SOCKET_DIR/")
  ! printf '%s\n' "$l" | grep . | grep -qv ' ino:' || return 2 # an old ss, which does not tell inodes
  printf '%s\n' "$l" |
    awk -v k="ino:$1" '{ for (n = 1; n <= NF; n++) if ($n == k) { print $3; f = 1; exit } } END { exit !f }'
}
hears() { [ -S "$1" ] || return 1; queue "$(inode "$1")" >/dev/null; } # PATH: somebody listens behind it; 1 and 2 as above
drained() { # INODE: its queue was empty several times, or nobody listens any more
  d=0 t=$(($(up) + DRAIN))
  while [ "$d" -lt 5 ]; do
    q=$(queue "$1"); r=$?
    [ "$r" != 1 ] || return 0
    if [ "$r:$q" = 0:0 ]; then d=$((d + 1)); else d=0; fi
    [ "$(up)" -le "$t" ] || return 1
    sleep 0.1
  done
}
gone() { if [ -e "$1" ] || [ -L "$1" ]; then (aside "$1"); fi; }
# No restart of a unit that runs can be made to do nothing and succeed: a false condition skips the start, but not the stop
# before it. So it is refused, and who is refused reads why in what systemctl tells them to look at: the unit's status.
refusing="[Unit]
Description=Held by hkn-migration (run $CV_RUN) while it leads the site over, a few minutes at most: then do again what was\
 refused, of a deploy all of it
RefuseManualStart=yes
RefuseManualStop=yes"
holder_of() { # PATH: the main process of an old one that listens there
  for u in $OLDS; do m=$(main_of "$u"); [ "${m:-0}" -le 1 ] || ! listener_pids "$1" | grep -qx "$m" || echo "$m"; done
}
mains() { for u in $OLDS; do m=$(main_of "$u"); [ "${m:-0}" -le 1 ] || echo "$m"; done; }
look() { # [anyhow]: also where the old application serves nobody
  if [ -z "$GATED" ] && [ -z "$(mains)" ] && serves_at "$PUBLIC"; then
    phase=done
    echo "$NEW serves already: there is nothing to take back"; exit 0
  fi
  old_main=$(holder_of "$PUBLIC") old_inode=$(inode "$PUBLIC")
  [ -n "$old_main" ] || { old_main=$(holder_of "$OLD") old_inode=$(inode "$OLD"); }
  if [ -z "$old_main" ] && [ "${1:-}" != anyhow ]; then
    listener_pids "$PUBLIC" >/dev/null || fail "who listens behind $PUBLIC cannot be told"
    fail "none of $OLDS listens behind $PUBLIC any more"
  fi
  o=$(pid_in "$PID_FILE")
  [ "$o" -le 1 ] || mains | grep -qx "$o" || [ "$o" = "$(prop "$NEW" MainPID)" ] || ! is_master "$o" ||
    fail "$PID_FILE names process $o, a server of none of the units that are handed over"
  ! is_master "$(pid_in "$PID_FILE.oldbin")" || fail "$PID_FILE.oldbin names a server that runs: somebody upgrades it"
  case "$(state "$LOGROTATE_UNIT")" in inactive|failed) ;; *) fail "the log rotation is at work" ;; esac
}
hold_old() { # [LINES...]: one whose start failed to be tidied up may be held as the new one of that
  for u in $OLDS; do graceful "$u" "$@" && gone "$(drop_in "$u" "$HOLD")" || return 1; done
}
park() { # unicorn does not start while the file names a process that lives, and ends the one that an .oldbin names
  ! [ -e "$PID_FILE.oldbin" ] || aside "$PID_FILE.oldbin" || return 1
  ! [ -e "$PID_FILE" ] || [ "$(pid_in "$PID_FILE")" = "$(prop "$NEW" MainPID)" ] || aside "$PID_FILE"
}
open_gate() { gone "$(drop_in "$NEW" "$GATE")" && unit daemon-reload && unit reset-failed "$NEW"; }
close_gate() { ! is_unit "$1" || printf '[Unit]\n%s\n' "$GATE_SHUT" | put "$(drop_in "$1" "$GATE")" 644; }
finds() { # a search that Solr answered: the application writes a line whenever it does without
  [ -n "$SEARCH" ] || return 0
  [ -r "$LOG" ] || { found="whether Solr answers searches is not known: $LOG cannot be read"; return 1; }
  size=$(stat -Lc %s "$LOG"); code=$(ask "$1" "$SEARCH")
  n=$(tail -c "+$((size + 1))" "$LOG" | grep -cF -e "$FALLBACK")
  found="a search by the new application was answered with $code, $n times without Solr"
  [ "$code" = 200 ] && [ "$n" = 0 ]
}
steady() { # the same process for a while, and itself in the end
  t=$(($(up) + STABLE))
  while [ "$(up)" -le "$t" ] && [ "$(prop "$NEW" MainPID)" = "$main" ]; do sleep 0.5; done
  serves_at "$1" && [ "$(prop "$NEW" MainPID)" = "$main" ]
}
unsteady() { # SOCKET: why `steady` does not hold
  if [ "$(prop "$NEW" MainPID)" = "$main" ]; then silent "$1"; return; fi
  echo "$NEW answered, and its process did not stay for $STABLE s"
}
confirmed() { # somebody outside saw the site answer, and says so over a connection of their own
  [ -n "$CV_CONFIRM" ] || return 0
  : >"$CV_CONFIRM.asked"
  t=$(($(up) + CONFIRM))
  while [ "$(up)" -le "$t" ]; do
    # Before the answer is heard: one that was given to what a deploy has replaced meanwhile does not count.
    case "$(readlink "/proc/$main/cwd")" in ''|"$(readlink -f "$NEW_TREE")") ;; *) fail "$(silent "$PUBLIC")" ;; esac
    [ "$(prop "$NEW" MainPID)" = "$main" ] || fail "$NEW was restarted while it waited to be confirmed"
    [ ! -e "$CV_CONFIRM.yes" ] || return 0
    [ ! -e "$CV_CONFIRM.no" ] || fail "seen from outside: $(cat "$CV_CONFIRM.no")"
    sleep 0.2
  done
  fail "nobody confirmed within $CONFIRM s, over a new connection, that the site answers"
}
# What puts right at the end does so also where the home takes nothing any more: no line, and not the status with which it
# ends. The step's folder is then one in the runtime directory, where the phase is kept too; so no guard is left out.
elsewhere() {
  beyond=$XDG_RUNTIME_DIR/.attic/$CV_RUN/$CV_KEY/back
  (umask 077 && mkdir -p "$beyond") && true >>"$beyond/log" || { beyond=; return 1; }
  [ -L "$CV_STEP/ended" ] || { ln -s "$beyond/ended" "$CV_STEP/ended.$$" && mv -T "$CV_STEP/ended.$$" "$CV_STEP/ended"; }
}
# Plainly where no line can be written there either, or where a job is queued.
reload() { (unit daemon-reload) || systemctl --user daemon-reload; }
miss() { bad="${bad:+$bad; }$1"; } # what could not be put right
let_go() { # UNIT DROP-IN: it is started and stopped again as its file says
  d=$(drop_in "$1" "$2"); gone "$d" || true >"$d" || miss "$d could not be moved aside"
  reload
}
resume() {
  [ "$timer" = active ] || return 0
  (unit start "$LOGROTATE_TIMER") || systemctl --user start "$LOGROTATE_TIMER"
  [ "$(state "$LOGROTATE_TIMER")" = active ] || miss "$LOGROTATE_TIMER could not be started"
}
deaf() { # who listens nowhere still boots, and serves nobody
  l=$(ss -xlpe) && l=$(printf '%s\n' "$l" | sed 1d) && { [ -z "$l" ] || [ "${l#*pid=}" != "$l" ]; } &&
    ! printf '%s\n' "$l" | grep -q "pid=$(prop "$NEW" MainPID),"
}
end_new() {
  let_go "$NEW" "$HOLD"
  # A signal that Ruby gets while it loads can be lost; nobody is to wait without a site until the manager gives up.
  ! deaf || STOP_TIMEOUT=2
  (graceful "$NEW" && unit daemon-reload && unit stop "$NEW") || systemctl --user stop "$NEW"
  (unit reset-failed "$NEW"); let_go "$NEW" "$GRACEFUL"
  case "$(state "$NEW")" in inactive|failed) ;; *) return 1 ;; esac
}
revive() {
  serving=
  for u in $OLDS; do
    if ! is_unit "$u"; then
      ! has_ended "$u" || lost="$u has ended; to start it again, type on $(uname -n): $(start_again)"
      continue
    fi
    let_go "$u" "$GRACEFUL"; (unit reset-failed "$u")
    (unit start "$u") || systemctl --user start "$u" || return 1
    serving=$u
  done
  [ -n "$lost" ] || return 0
  # Nothing waits for a gate any more where nobody serves, and a person is to find it open.
  [ -n "$serving" ] || GATED=
  return 1
}
keep_new() {
  let_go "$NEW" "$HOLD"; resume
  why=$why${bad:+; $bad}
  tell "$NEW serves, and goes on: $why; nothing is put back, as $OLDS does not listen any more"
  enter done
  cv_end failed "$NEW serves, and goes on, as $OLDS does not listen any more, to which the site was to be led back: $why" 70
}
let_all_go() { # what serves, and what waits, is the manager's and the log rotation's again
  let_go "$NEW" "$HOLD"
  [ "$phase" != committed ] || { (hold_old) || miss "$OLDS is still held"; reload; }
  resume
  why=$why${bad:+; $bad}
}
back() {
  trap '' TERM INT HUP; trap - EXIT
  why=${why:-a part of it could not be done} bad= forth=${CV_STEP:-}
  [ -z "$beyond" ] || CV_STEP=$beyond CV_KEY=$CV_KEY/back
  case "$phase" in
    done) return 0 ;;
    committed)
      let_all_go; enter done; tell "$NEW serves, and what served before is still there: $why"
      cv_end failed "$NEW serves, but what served before is still there: $why" 70 ;;
    tidy)
      let_all_go; enter done; tell "$NEW serves; left: $why"
      cv_end failed "$NEW serves, and what served before has ended; left: $why" 70 ;;
    before) cv_end failed "$why" 70 ;;
  esac
  ! alone || keep_new
  tell "putting back what served before: $why"
  put_back || miss "${lost:-a part of it could not be put back}"
  [ -z "$GATED" ] || (close_gate "$NEW") || miss "the gate before $NEW could not be closed"
  for u in $OLDS; do let_go "$u" "$GRACEFUL"; done
  resume
  { [ -n "$lost" ] && [ -z "$serving" ]; } || within 90 answers "$PUBLIC" || miss "$PUBLIC does not answer"
  note
  tell "what served before was put back: $why${bad:+; but $bad}"
  enter done
  [ -z "$bad" ] || cv_end failed "$why; $bad" 70
  cv_end rolled-back "$why: what served before serves again" 81
}
aftermath() { # run again in the place of one that was killed: only what it would have put back is done
  if [ -z "$CV_AFTER" ]; then elsewhere || fail "what is put back could not be noted in $XDG_RUNTIME_DIR"; return 0; fi
  elsewhere
  read -r phase timer new_inode old_inode old_main <"$CV_PHASE" || phase=before
  fail "it was killed"
}
trap back EXIT
# A stop of the unit signals twice, by the manager and by `timeout`, and a shell in its EXIT trap has forgotten that trap.
trap 'trap "" TERM INT HUP; why="it was stopped by a signal"; back; exit 0' TERM INT HUP
"""

REST = r"""
enter tidy
if [ -z "$GATED" ]; then for u in $OLDS; do close_gate "$u" || fail "the gate before $u could not be closed"; done; fi
for u in $OLDS $NEW; do gone "$(drop_in "$u" "$GRACEFUL")" || fail "the drop-in of $u could not be moved aside"; done
gone "$(drop_in "$NEW" "$HOLD")" && unit daemon-reload || fail "$(drop_in "$NEW" "$HOLD") could not be moved aside"
[ "$timer" != active ] || unit start "$LOGROTATE_TIMER" || fail "$LOGROTATE_TIMER could not be started"
enter done
tell "$NEW serves: process $main"
"""
