"""The brief cutover: the old application ends, then the new one starts; and a plain start where nothing serves."""

from __future__ import annotations

from remediate.cutover.phases import GUARDED, REST
from remediate.cutover.shell import COMMON

BODY = r"""
alone() { return 1; }
put_back() { [ "$phase" != over ] || { end_new && revive; }; }
aftermath
look anyhow
note
enter quiet
[ "$timer" != active ] || unit stop "$LOGROTATE_TIMER" || exit 1
hold_old || exit 1
open_gate || exit 1
tell "$OLDS is stopped, then $NEW is started; stopping this starts $OLDS again"
enter over
for u in $OLDS; do end_old "$u" || fail "$u could not be stopped"; done
leads_to nobody
[ "$(pid_in "$PID_FILE")" = "$(prop "$NEW" MainPID)" ] || within 70 pid_is_free ||
  fail "$PID_FILE names a server that still runs: process $(pid_in "$PID_FILE")"
park || exit 1
unit start "$NEW" || fail "$NEW could not be started"
comes_up "$PUBLIC" 90 || fail "$(silent "$PUBLIC")"
note
main=$(prop "$NEW" MainPID)
held_lines "$refusing" | put "$(drop_in "$NEW" "$HOLD")" 644 && unit daemon-reload || exit 1
within 15 finds "$PUBLIC" || fail "$found"
steady "$PUBLIC" || fail "$(unsteady "$PUBLIC")"
tell "$NEW serves; it waits to be confirmed from outside; stopping this starts $OLDS again"
confirmed
trap '' TERM INT HUP
"""

BRIEF = COMMON + GUARDED + BODY + REST

START = (
    COMMON
    + r"""
: "${CV_STATE:=}" "${CV_PHASE:=}" "${CV_AFTER:=}"
left= # what a person types when what was started by hand has ended, and the unit does not serve in its place
phase=before why= well= timer=unknown was=0
enter() { # PHASE: how far it has come, the timer's state and the unit's process, for whoever comes after one that is killed
  phase=$1
  [ -z "$CV_PHASE" ] || { echo "$phase $timer $was" >"$CV_PHASE.new" && mv -T "$CV_PHASE.new" "$CV_PHASE"; }
}
tell() { [ -z "$CV_STATE" ] || printf '%s\n' "$1" >"$CV_STATE"; }
fail() { why=$1; exit 1; }
ended() { for u in $OLDS; do ! has_ended "$u" || return 0; done; return 1; } # one of them
serving() { for u in $OLDS; do listener_pids "$PUBLIC" | grep -x "$(main_of "$u")"; done; }
# What puts right at the end does so also where no line can be written of it any more (disk full), or a job is queued.
finish() { # what served has ended: the unit is started in its place, unless this was done
  ! serves_at "$PUBLIC" || return 0
  s=$(serving)
  if [ -n "$s" ]; then why="$why; process $s serves on, beside which $NEW cannot start"; left=; return; fi
  case "$(state "$NEW"):$(prop "$NEW" MainPID)" in
    "active:$was") within 20 serves_at "$PUBLIC" || systemctl --user restart "$NEW" ;;
    active:*) ;; # it boots, or may be mended where it runs
    *) systemctl --user start "$NEW" ;;
  esac
}
last() { # also of one that is stopped, or was killed, in the middle
  trap '' TERM INT HUP; trap - EXIT
  # It may end between the signal that it has written down and gave, and writing that down.
  [ "$phase" != ending ] || [ -s "$CV_STEP/ended" ] || ! within "$STOP_TIMEOUT" ended || phase=over
  if [ "$phase" = over ] && [ -z "$well" ]; then
    why=${why:-a part of it could not be done} left=$(printf '%s' "$(start_again)" | tr '\n' ' ')
    finish
  fi
  [ "$timer" != active ] || systemctl --user start "$LOGROTATE_TIMER" ||
    why="${why:+$why; }$LOGROTATE_TIMER could not be started"
  [ -z "$CV_PHASE" ] || true >"$CV_PHASE"
  [ -n "$why" ] || return 0
  cv_end failed "$why${left:+; mend that, and $NEW serves; or let serve again what did, and type on $(uname -n): $left}" 70
}
trap last EXIT
trap 'trap "" TERM INT HUP; why="it was stopped by a signal"; exit 1' TERM INT HUP
if [ -n "$CV_AFTER" ]; then
  trap '' TERM INT HUP
  read -r phase timer was <"$CV_PHASE"
  fail "it was killed"
fi
timer=$(state "$LOGROTATE_TIMER") app=$(state "$NEW") was=$(prop "$NEW" MainPID)
note
unkept="what is to be put back could not be kept in $CV_PHASE"
if [ -n "${OLDS:-}" ]; then
  tell "$OLDS is ended, then $NEW is started; once it is told to end, stopping this starts $NEW all the same"
else
  tell "$NEW is started; stopping this leaves that to the manager"
fi
enter quiet || fail "$unkept"
[ "$timer" != active ] || unit stop "$LOGROTATE_TIMER" || exit 1
gate=$(drop_in "$NEW" "$GATE")
[ ! -e "$gate" ] || aside "$gate" || exit 1
unit daemon-reload || exit 1
unit reset-failed "$NEW"
for u in ${OLDS:-}; do
  [ "$phase" = over ] || enter ending || { phase=quiet; fail "$unkept"; }
  quit_old "$u" || exit 1
  enter over || fail "$unkept"
  leads_to nobody
  within "$STOP_TIMEOUT" has_ended "$u" || fail "$u was told to end $STOP_TIMEOUT s ago, and has not"
done
if [ "$app" != active ]; then
  within 70 pid_is_free || fail "$PID_FILE names a server that still runs: process $(pid_in "$PID_FILE")"
  [ ! -e "$PID_FILE" ] || aside "$PID_FILE" || exit 1
  unit start "$NEW" || fail "$NEW could not be started"
elif ! within 20 serves_at "$PUBLIC"; then
  unit restart "$NEW" || fail "$NEW could not be restarted"
fi
comes_up "$PUBLIC" 90 || fail "$(silent "$PUBLIC")"
note
first=$(prop "$NEW" MainPID); sleep 2
serves_at "$PUBLIC" && [ "$(prop "$NEW" MainPID)" = "$first" ] || fail "$NEW answered, and was gone 2 s later"
well=y
echo "$NEW serves: process $first"
"""
)

RESTART = (
    COMMON
    + r"""
added=
note
if [ "$(prop "$NEW" KillSignal)" != 3 ] || [ -n "$(prop "$NEW" ExecStop)" ]; then
  graceful "$NEW" && added=$(drop_in "$NEW" "$GRACEFUL") || exit 1
fi
unit daemon-reload || exit 1
unit restart "$NEW" || exit 1
comes_up "$PUBLIC" 90 || { silent "$PUBLIC" >&2; exit 1; }
note
[ -z "$added" ] || { aside "$added" && unit daemon-reload; } || exit 1
echo "$NEW serves: process $(prop "$NEW" MainPID)"
"""
)
