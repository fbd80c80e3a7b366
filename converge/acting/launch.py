"""How a step is sent: one script that outlives the connection, keeps the acts' lock, and writes down what became of it."""

from __future__ import annotations

import shlex

from converge.acting import announce
from converge.acting.attempt import PUT_BACK, Attempt
from converge.acting.transient_unit import STARTED_AT, STOP, aftermath, environment, notebook, noted, unit_script
from converge.journal.journal import append_script, folder
from converge.journal.lock import ACT_LOCK, RUNTIME
from converge.shell.library import MARK, NICED, Rc

SHOWN = 200_000
"""Bytes of a step's output that come back; the rest stays on its host."""


def launch_script(run: str, attempt: Attempt, intent: str, *, typed: bool = False) -> str:
    """Shell that writes the intent, starts the script detached from the connection, and reports what it left.

    `intent` is the journal's line, or empty where the journal is on another host. A number is used once: a script whose
    number was begun before is not run again. One that is `typed` by a person says nothing that is for ``settle`` alone.
    """
    n = attempt.n
    undo = f"{_kept(f'{n}.undo.sh', attempt.undo)} && " if attempt.undo else ""
    body = _detached(run, attempt, bool(intent))
    session = f"setsid /bin/sh -c {shlex.quote(body)} </dev/null >/dev/null 2>&1 &\nwait $!"
    after = _after(run, attempt, bool(intent))
    start = unit_script(run, n, attempt.label, attempt.limit, body, after) if attempt.in_unit else session
    return f"""{RUNTIME}
{append_script(run, [intent] if intent else [])}
[ ! -e "$J/{n}.sh" ] || exit {Rc.REPEATED.value}
umask 077
{undo}{_kept(f"{n}.sh", attempt.script)} || exit {Rc.FAILED.value}
{start}
[ -s "$J/{n}.rc" ] || exit {Rc.VANISHED.value}
tail -c {SHOWN} "$J/{n}.out"
tail -c {SHOWN} "$J/{n}.err" >&2
{"" if typed else noted(n)}
exit "$(cat "$J/{n}.rc")"
"""


def _kept(name: str, text: str) -> str:
    """Shell that keeps `text` in the run's folder, whole or not at all: a way back that a full disk cut off is none."""
    file = f"$J/{name}"
    return f'printf %s {shlex.quote(text)} >"{file}.new" && sync "{file}.new" && mv -T "{file}.new" "{file}"'


def _ending(run: str, attempt: Attempt, journalled: bool) -> str:
    """What both have who may end a step: its places, and `end`, which writes what became of it."""
    n = attempt.n
    form = '{"v": 1, "kind": "result", "at": %s, "n": %s, "rc": %s}\\n'
    result = f'printf {shlex.quote(form)} "$(date +%s)" {n} "$rc" >>"$J/journal.jsonl"' if journalled else ":"
    title = announce.title(run, n, attempt.who, attempt.label)
    return f"""{NICED if attempt.is_on_a_host else ""}
J={folder(run)}
umask 077
{RUNTIME}
# Whoever stops us stops the script; we wait for what it puts back, and keep the lock meanwhile.
trap : TERM HUP INT
{notebook(n)}
{environment(run, n) if attempt.in_unit else ""}
{announce.ALOUD if attempt.is_on_a_host else "aloud() { :; }"}
ended() {{
  printf '%s\\n' "{MARK}failed: its program was $1 from outside, at what it was about" >>"$J/{n}.err"; rc={Rc.FAILED.value}
}}
status() {{ # how its program ended: killed before its limit is not ended at it, and a shell's own status is no answer
  case "$1" in
    124) rc={Rc.TIMED_OUT.value} ;;
    137) [ "${{spent:-0}}" -lt {int(attempt.limit)} ] || {{ rc={Rc.TIMED_OUT.value}; return; }}
      ended killed ;;
    143) ended ended ;;
    *) rc=$1
      [ "$rc" -le {Rc.ROLLED_BACK.value} ] || {{
        printf '%s\\n' "{MARK}failed: its program ended with status $rc" >>"$J/{n}.err"; rc={Rc.FAILED.value}
      }} ;;
  esac
}}
end() {{
  rc=$1
  printf 'ended with status %s\\n' "$rc" >>"$J/{n}.state"
  aloud {shlex.quote(title)}": ended with status $rc"
  {result}
  printf '%s\\n' "$rc" >"$J/{n}.rc.new" && mv -T "$J/{n}.rc.new" "$J/{n}.rc"
  exit 0
}}
begin() {{ printf '%s %s\\n' $$ "$(sed 's/^.*) //' /proc/$$/stat | cut -d' ' -f20)" >"$J/{n}.started"; }}"""


def _detached(run: str, attempt: Attempt, journalled: bool) -> str:
    """What goes on when we are gone: holds the acts' lock, ends the script at its limit, writes what became of it."""
    n = attempt.n
    title = announce.title(run, n, attempt.who, attempt.label)
    state = announce.state(run, n, attempt.who, attempt.label, puts_back=attempt.in_unit, undoable=attempt.undo is not None)
    # Its status is kept for whoever looks if only those are killed who wait for it.
    kept = 'trap : TERM HUP INT; /bin/sh "$0"{closed}; s=$?; echo $s >"${{0%.sh}}.status"; exit $s'
    watched = 'timeout -k {back:g} {limit:g} /bin/sh -c {kept} "$J/{n}.sh" >"$J/{n}.out" 2>"$J/{n}.err"'
    facts = {"back": PUT_BACK, "limit": attempt.limit, "n": n}
    if attempt.in_unit:
        kept = shlex.quote(kept.format(closed=""))
        program = f'(flock 9; exec {watched.format(kept=kept, **facts)} 8>&-) 9>>"$CV_PHASE.lock"'
    else:
        # Who watches over it has the lock as well, so that it is held as long as one of them lives; not the program, which
        # may start what stays.
        kept = shlex.quote(f'{GROUP} >"${{0%.sh}}.group"; {kept.format(closed=" 8>&-")}')
        program = watched.format(kept=kept, **facts)
    return f"""{_ending(run, attempt, journalled)}
: >"$J/{n}.out"; : >"$J/{n}.err"
begin
if [ -d "$XDG_RUNTIME_DIR" ]; then
  exec 8>>{ACT_LOCK}
  flock -n 8 || {{ echo '{MARK}busy: another step acts on this host' >"$J/{n}.err"; end {Rc.BUSY.value}; }}
  printf '%s\\n' {shlex.quote(f"{run}, step {n}: {attempt.label}")} >{ACT_LOCK}.info
fi
printf '%s\\n' {shlex.quote(state)} >"$J/{n}.state"
aloud {shlex.quote(f"{title}: begins")}
since=$(cut -d. -f1 /proc/uptime)
{program}
rc=$?
spent=$(($(cut -d. -f1 /proc/uptime) - since))
{aftermath(n) if attempt.in_unit else _left_alone(n)}
[ $rc != 137 ] || [ ! -s "$J/{n}.status" ] || rc=$(cat "$J/{n}.status")
status $rc
sync "$J/{n}.out" "$J/{n}.err"
end $rc
"""


GROUP = "sed 's/^.*) //' /proc/$$/stat | cut -d' ' -f3"
"""Shell that prints the process group of the shell in which it stands (proc_pid_stat(5), field 5)."""


def _left_alone(n: int) -> str:
    """Shell that ends a program of which only the watcher was killed: otherwise it would go on beside the next step."""
    return f"""if [ $rc = 137 ] && [ ! -s "$J/{n}.status" ]; then
  read -r g <"$J/{n}.group"
  # A group of its own is `timeout`'s doing (timeout(1)).
  if [ "${{g:-0}}" -gt 1 ] && [ "$g" != $$ ] && kill -s TERM -- "-$g"; then
    w={PUT_BACK:g}
    while kill -s 0 -- "-$g"; do
      [ $w -gt 0 ] || {{ kill -s KILL -- "-$g"; break; }}
      w=$((w - 1)); sleep 1
    done
  fi 2>/dev/null
fi"""


def _after(run: str, attempt: Attempt, journalled: bool) -> str:
    """What the manager runs when the unit of a step has ended: puts back for a step that was killed, under the same lock."""
    n = attempt.n
    return f"""{_ending(run, attempt, journalled)}
over() {{ [ -s "$J/{n}.rc" ]; }}
dead() {{ read -r p s 2>/dev/null <"$J/{n}.started" && [ "$({STARTED_AT})" != "$s" ]; }}
w={int(attempt.limit + PUT_BACK + STOP)}
[ "${{1:-}}" != wait ] || until over || dead || [ $w -le 0 ]; do sleep 1; w=$((w - 1)); done
over && exit 0
exec 8>>{ACT_LOCK}
# The step itself holds it while it lives; another one's step would be at work on the same units.
flock -w {STOP} 8 && ! over && [ -e "$J/{n}.started" ] || exit 0
begin
rc=
{aftermath(n)}
[ -n "$rc" ] || [ ! -s "$J/{n}.status" ] || rc=$(cat "$J/{n}.status")
[ -n "$rc" ] || ! grep -q '^{MARK}rolled-back: ' "$J/{n}.err" || rc={Rc.ROLLED_BACK.value}
[ -n "$rc" ] || exit 0
status "$rc"
end "$rc"
"""
