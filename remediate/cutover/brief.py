"""The brief cutover: the old application ends, then the new one starts; and a plain start where nothing serves."""

from __future__ import annotations

from remediate.cutover.guarded import GUARDED, REST
from remediate.cutover.shell import COMMON

_BRIEF = r"""
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

BRIEF = COMMON + GUARDED + _BRIEF + REST

START = (
    COMMON
    + r"""
: "${CV_STATE:=}" "${CV_PHASE:=}" "${CV_AFTER:=}"
told= left= # what a person types when what was started by hand has ended, and the unit does not serve in its place
keep() { # for whoever comes after us if we are killed: the timer's state, and whether what served may have ended
  [ -n "$CV_PHASE" ] || return 0
  printf '%s %s\n' "${timer:-unknown}" "$told" >"$CV_PHASE.new" && mv -T "$CV_PHASE.new" "$CV_PHASE"
}
tell() { [ -z "$CV_STATE" ] || printf '%s\n' "$1" >"$CV_STATE"; }
fail() {
  echo "$1${left:+; mend that, and $NEW serves; or let serve again what did, and type on $(uname -n): $left}" >&2
  exit 1
}
last() { # also of one that is stopped, or was killed, in the middle
  trap '' TERM INT HUP
  [ -z "$left" ] || [ "$(state "$NEW")" = active ] || (unit start "$NEW")
  [ "$timer" != active ] || (unit start "$LOGROTATE_TIMER")
  [ -z "$CV_PHASE" ] || : >"$CV_PHASE"
}
if [ -n "$CV_AFTER" ]; then
  read -r timer told <"$CV_PHASE"
  # One that was killed before it told them to end has left them alone.
  for u in ${told:+$OLDS}; do within "$STOP_TIMEOUT" has_ended "$u" || told=; done
  [ -z "$told" ] || left=$(start_again)
  trap last EXIT
  fail "it was killed${told:+; $NEW is started}"
fi
timer=$(state "$LOGROTATE_TIMER") app=$(state "$NEW")
note
unkept="what is to be put back could not be kept in $CV_PHASE"
keep || fail "$unkept"
tell "${OLDS:+$OLDS is ended, then }$NEW is started; stopping this starts it all the same"
[ "$timer" != active ] || unit stop "$LOGROTATE_TIMER" || exit 1
trap last EXIT
trap 'exit 143' TERM INT HUP
gate=$(drop_in "$NEW" "$GATE")
[ ! -e "$gate" ] || aside "$gate" || exit 1
unit daemon-reload || exit 1
unit reset-failed "$NEW"
for u in ${OLDS:-}; do
  first=$told told=y
  keep || { told=$first; fail "$unkept"; }
  left=$(start_again)
  quit_old "$u" || { [ -n "$first" ] || left=; exit 1; }
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
