"""A step that must not depend on us: a transient unit of its own on the host, with a dead man's switch.

A cutover asks to be confirmed when it has done what could still be taken back. We look at the site from here and answer
over a new connection, which proves that the host can still be reached. Whoever does not hear us puts everything back. Other
steps that put back what they interrupted are in such a unit too, and judge on the host whether they are well.

A shell puts nothing back when it is killed. So its program keeps what is to be put back in a file, ``CV_PHASE``, which is
empty when nothing is; and when the unit has ended, however it did, the manager runs a second script, which runs the program
again with ``CV_AFTER`` if the file says that something is left. A kill of the whole unit may kill that script as well
(systemd 257 does), and an old manager knows no such thing: so a unit of another name waits for the end, too. Whoever comes
first of the two puts back, and the other finds it done.
"""

from __future__ import annotations

import shlex

from converge.errors import ConvergeError, Exit
from converge.journal.journal import folder, phase_file, program_lock
from converge.shell.library import MARK
from hosts.tool import KEEPER, NAME

STOP = 300
"""Seconds that a unit of ours may take to put back what it did, when somebody stops it."""


BEGINS = 45
"""Seconds within which a step that was sent begins, or its run has lost the lock without which it does not."""

GIVEN_UP = 5.0
"""Seconds after the end of a step's process within which whoever puts back for it shows up."""

STARTED_AT = """sed 's/^.*) //' "/proc/$p/stat" 2>/dev/null | cut -d' ' -f20"""


class RolledBack(ConvergeError):
    """The host put back by itself what a step had done."""

    exit_code = Exit.ROLLED_BACK


def unit_name(run: str, n: int) -> str:
    """The transient unit of a step."""
    return f"{NAME}-{run}-{n}.service"


def keeper_name(run: str, n: int) -> str:
    """The transient unit that waits for the end of a step's, to put back if it was killed: whoever kills that spares it."""
    return f"{KEEPER}-{run}-{n}.service"


def unit_script(run: str, n: int, label: str, limit: float, body: str, after: str = "") -> str:
    """Shell that runs `body` in a transient unit of the account, and waits for its result in ``N.rc``.

    `after` is run when that has ended, however it did, by the manager and by a unit that waits for it (``wait``).
    Where the manager knows no such units either runs in a session of its own. The body ends at once if it was begun before.
    """
    words = f"{NAME}: {label}"[:200].replace("%", "%%")
    unit = shlex.quote(unit_name(run, n))
    begin = f'systemd-run --user --quiet --unit={unit} --setenv=PATH="$PATH" --setenv=J="$J"'
    full = (
        f"--collect --description={shlex.quote(words)} -p TimeoutStopSec={STOP} -p RuntimeMaxSec={limit + STOP:g}"
        f""" -p "ExecStopPost=/bin/sh '$J/{n}.after'\""""
    )
    file, late = f'"$J/{n}.run"', f'"$J/{n}.after"'
    why = shlex.quote(f"{NAME}: waits for step {n} of run {run}, to put back if it is killed")
    keeper = (
        f"systemd-run --user --quiet --collect --unit={shlex.quote(keeper_name(run, n))} --description={why}"
        f" -p RuntimeMaxSec={limit + 3 * STOP:g}"
        ' --setenv=PATH="$PATH" --setenv=J="$J"'
    )
    return f"""printf %s {shlex.quote(f'mkdir "{_begun(n)}" || exit 0{chr(10)}' + body)} >{file} && sync {file} || exit 70
printf %s {shlex.quote(after)} >{late} && sync {late} || exit 70
export J
w=
begun() {{ n=50; while [ $n -gt 0 ]; do [ ! -d "{_begun(n)}" ] || return 0; n=$((n - 1)); sleep 0.1; done; return 1; }}
alone() {{ setsid /bin/sh "$@" </dev/null >/dev/null 2>&1 & }}
if {begin} {full} /bin/sh {file} </dev/null >/dev/null 2>&1 && begun; then :
else
  if {begin} /bin/sh {file} </dev/null >/dev/null 2>&1 && begun; then :; else alone {file}; w=$!; fi
fi
begun && {{ {keeper} /bin/sh {late} wait </dev/null >/dev/null 2>&1 || alone {late} wait; }}
at_work() {{
  if [ -n "$w" ]; then [ -d "/proc/$w" ]; return; fi
  case "$(systemctl --user show {unit} -p ActiveState)" in *=active|*=activating|*=deactivating) ;; *) return 1 ;; esac
}}
{_alive(run, n, "at_work")}
while [ ! -s "$J/{n}.rc" ] && alive; do sleep 0.1; done
"""


def _alive(run: str, n: int, unknown: str) -> str:
    """Shell: ``alive`` says whether the step or who puts back for it is at work, and waits a while before it says no.

    `unknown` is a command that tells where the step could not write down who it is (disk full).
    """
    lock = program_lock(run, n)
    return f"""acts() {{
  s=; read -r p s 2>/dev/null <"$J/{n}.started"
  if [ -n "$s" ] && [ "$({STARTED_AT})" = "$s" ]; then return 0; fi
  if [ -e {lock} ] && ! flock -n {lock} true; then return 0; fi
  [ -z "$s" ] && {unknown}
}}
alive() {{
  a={int(GIVEN_UP * 5)}
  while [ $a -gt 0 ]; do ! acts || return 0; [ ! -s "$J/{n}.rc" ] || return 0; a=$((a - 1)); sleep 0.2; done
  return 1
}}
"""


def _begun(n: int) -> str:
    return f"$J/{n}.begun"


def environment(run: str, n: int) -> str:
    """Shell that tells a step's program where to say what it does, where it is answered, and where it keeps its phase."""
    return f'export CV_STATE="$J/{n}.state" CV_CONFIRM="$J/{n}" CV_PHASE={phase_file(run, n)}'


def notebook(n: int) -> str:
    """Shell that tells a step's program where to note whom the site leads to (``leads_to``)."""
    return f'export CV_LEADS="$J/{n}.leads"'


def noted(n: int) -> str:
    """Shell that says on stderr what a step's program noted and what its host's clock shows now, for ``launch.settle``.

    It comes after ``N.err``, of which the last line may have no end: a note is a line of its own all the same.
    """
    return (
        f'[ ! -s "$J/{n}.leads" ] || {{ [ -z "$(tail -c 1 "$J/{n}.err")" ] || echo\n'
        f'sed \'s/^/{MARK}leads: /\' "$J/{n}.leads"; '
        f"echo \"{MARK}now: $(cut -d' ' -f1 /proc/uptime)\"; }} >&2"
    )


def aftermath(n: int) -> str:
    """Shell that waits until nothing of the program is alive, and puts back what it left; sets `rc` if there was any."""
    return f"""exec 9>>"$CV_PHASE.lock"; flock 9
for again in 1 2 3; do
  [ -s "$CV_PHASE" ] || break
  CV_AFTER=yes /bin/sh "$J/{n}.sh" >>"$J/{n}.out" 2>>"$J/{n}.err" 8>&-
  rc=$?
done"""


def outcome_script(run: str, n: int, limit: float) -> str:
    """Shell that waits at most `limit` seconds for the end of a step that was sent, then prints and ends as it did.

    It says ``never`` and ends with ``Rc.VANISHED`` for one that did not begin, and with that status for one that was killed.
    """
    return (
        f"J={folder(run)}; n={int(limit * 5)}; w={BEGINS * 5}\n"
        # A step of before a reboot, or one that was killed, leaves no result however long one waits.
        f"{_alive(run, n, 'begins')}"
        "begins() { w=$((w - 1)); [ $w -gt 0 ] || { echo never; exit 79; }; }\n"
        f'while [ $n -gt 0 ] && [ ! -s "$J/{n}.rc" ] && alive; do n=$((n - 1)); sleep 0.2; done\n'
        f'[ -s "$J/{n}.rc" ] || exit 79\n'
        f'cat "$J/{n}.out"; cat "$J/{n}.err" >&2\n{noted(n)}\nexit "$(cat "$J/{n}.rc")"\n'
    )
