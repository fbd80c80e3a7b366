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
left= # what a person types when what was started by hand has ended, and the unit does not serve in its place
fail() {
  echo "$1${left:+; mend that, and $NEW serves; or let serve again what did, and type on $(uname -n): $left}" >&2
  exit 1
}
last() { # also of one that is stopped in the middle
  trap '' TERM INT HUP
  [ -z "$left" ] || [ "$(state "$NEW")" = active ] || (unit start "$NEW")
  [ "$timer" != active ] || unit start "$LOGROTATE_TIMER"
}
timer=$(state "$LOGROTATE_TIMER") app=$(state "$NEW")
note
[ "$timer" != active ] || unit stop "$LOGROTATE_TIMER" || exit 1
trap last EXIT
trap 'exit 143' TERM INT HUP
gate=$(drop_in "$NEW" "$GATE")
[ ! -e "$gate" ] || aside "$gate" || exit 1
unit daemon-reload || exit 1
unit reset-failed "$NEW"
told=
for u in ${OLDS:-}; do
  left=$(start_again)
  quit_old "$u" || { [ -n "$told" ] || left=; exit 1; }
  told=y
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
