"""How a step is sent: one script that outlives the connection, keeps the acts' lock, and writes down what became of it.

What it leaves is read back into the step's record (``settle``).
"""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass
from typing import Any

from converge.acting import announce
from converge.acting.transient_unit import STARTED_AT, STOP, aftermath, environment, notebook, noted, unit_script
from converge.checking.record import StepRecord
from converge.journal.journal import append_script, folder
from converge.journal.lock import ACT_LOCK, RUNTIME
from converge.shell.library import MARK, NICED, Rc
from converge.text.masking import mask
from converge.transport import Completed
from converge.transport.link import TIMED_OUT

CONTROL = "control"
PUT_BACK = 180.0
"""Seconds that a step has after its limit to put back what it interrupted, before it is killed."""
GRACE = PUT_BACK + 30.0
"""Seconds beyond a step's own limit before the exec that started it gives up hearing of it."""
SHOWN = 200_000
"""Bytes of a step's output that come back; the rest stays on its host."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One script, on its way to a host: number in the run, host, script, the way back, seconds it may take.

    One that `puts_back` runs in a unit of its own, and is run again for that if it is killed; so does one with `confirm`,
    which is taken back unless it is confirmed. `who` is whose run it is.
    `carries` says that the site rests on it, `needless` that it need not be taken back. `laid` is when it was laid ready
    for a person, who may begin it at any time since; None if it was not.
    """

    n: int
    host: str
    script: str
    undo: str | None
    limit: float
    label: str
    confirm: bool = False
    who: str = "unknown"
    carries: bool = False
    needless: bool = False
    laid: float | None = None
    puts_back: bool = False

    @property
    def in_unit(self) -> bool:
        """Whether it runs in a transient unit of its own."""
        return self.confirm or self.puts_back

    @property
    def is_on_a_host(self) -> bool:
        """Whether others work where it acts."""
        return self.host != CONTROL


def facts_of(attempt: Attempt, record: StepRecord) -> dict[str, Any]:
    """What the journal says of a step before it is begun, or of one that is laid ready for a person."""
    return {
        "n": attempt.n,
        "step": record.id,
        "host": attempt.host,
        "remedy": record.remedy,
        "statements": record.statements,
        "sentence": record.sentence,
        "undo": record.undo,
        "undoable": attempt.undo is not None,
        "needless": attempt.needless,
        "carries": attempt.carries,
        "limit": attempt.limit,
        "confirm": attempt.confirm,
        "puts_back": attempt.puts_back,
        "interrupts": record.interrupts,
    }


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


def is_unheard(done: Completed) -> bool:
    """Whether it was killed on its host, or has ended without a word, who waited there for the end of a step."""
    return done.rc > Rc.ROLLED_BACK and done.rc != TIMED_OUT


LEADS = re.compile(rf"^{MARK}leads: ([\d.]+) (.+)\n?", re.MULTILINE)
NOW = re.compile(rf"^{MARK}now: ([\d.]+)\n?", re.MULTILINE)


def led_of(err: str, since: float, heard: float) -> list[tuple[float, str]]:
    """Whom the site led to and from when, by our clock, of what ``noted`` said at the time `heard`.

    Of a host's clock only differences count. What was noted before `since`, when the step was sent or laid ready, is of
    another boot.
    """
    now = NOW.search(err)
    if now is None:
        return []
    found = [(round(heard - (float(now[1]) - float(moment)), 3), who) for moment, who in LEADS.findall(err)]
    return [(at, who) for at, who in found if since - 1 <= at <= heard]


def reason_of(err: str) -> tuple[str, str]:
    """The script's own words for why it ended, and its stderr without them."""
    words, rest = [], []
    for text in err.splitlines():
        if found := re.match(rf"{MARK}[\w-]+: (.*)", text):
            words.append(found.group(1))
        else:
            rest.append(text)
    return "; ".join(words), "\n".join(rest)


def _why(said: str, err: str) -> str:
    """Why a script failed. Of a program that ended with a status, its last words come first: they are what was seen."""
    last = (err.strip().splitlines() or [""])[-1].strip()
    if last and re.fullmatch(r"(?:act \d+|the undo) ended with status \d+", said):
        return f"{last} ({said})"
    return said or last or "it failed"


def settle(record: StepRecord, done: Completed, limit: float, laid: float | None = None) -> StepRecord:
    """Write into the step's record what its script left; it began since it was `laid` ready, None for since it was sent."""
    all_said = mask(done.err.decode(errors="backslashreplace"))
    record.led = led_of(all_said, record.started if laid is None else laid, time.time())
    said, err = reason_of(NOW.sub("", LEADS.sub("", all_said)))
    record.rc, record.seconds = done.rc, round(done.seconds, 3)
    record.out, record.err = mask(done.out.decode(errors="backslashreplace")), err
    if done.rc == Rc.DONE:
        record.result = "done"
    elif done.rc == Rc.UNLOCKED:
        record.result, record.reason = "refused", "this run does not hold the target's lock any more"
    elif done.rc in {Rc.MOVED, Rc.WRONG_HOST, Rc.REFUSED, Rc.BUSY}:
        record.result, record.reason = "refused", said or "refused"
    elif done.rc == Rc.ROLLED_BACK:
        record.result, record.reason = "rolled back", said
    elif done.rc == Rc.TIMED_OUT:
        # The status is that of the limit then; what it did about it, it said.
        put_back = f"{MARK}rolled-back: ".encode() in done.err
        record.result = "rolled back" if put_back else "failed"
        record.reason = f"it was ended after its limit of {limit:g} s{f': {said}' if said else ''}"
    elif done.rc == Rc.REPEATED:
        record.result, record.reason = "unknown", "it was begun before and is not repeated"
    elif done.rc == Rc.VANISHED:
        record.result, record.reason = "unknown", "its process disappeared without a result"
    elif done.rc == Rc.FAILED:
        record.result, record.reason = "failed", _why(said, err)
    elif done.rc < Rc.BUSY:
        # A shell's own, of a script that it could not read to its end or that it could not write for.
        record.result, record.reason = "failed", f"{_why(said, err)} (status {done.rc})"
    elif done.rc == TIMED_OUT:
        record.result, record.reason = "unknown", f"its host gave no result within {limit + GRACE:g} s"
    else:
        record.result, record.reason = "unknown", f"who waited for its end on its host was killed (status {done.rc})"
    return record
