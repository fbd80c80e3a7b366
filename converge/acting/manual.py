"""Steps that only a person may do: whose they are, what to type, and a step laid ready as one line."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from converge.errors import NotAllowed
from converge.journal.journal import folder
from converge.journal.lock import heard_script, mine_script
from converge.readings.answers import CONTROL
from converge.shell.library import LIBRARY, NICED, Rc
from converge.steps import Run, Step
from converge.steps.describe import described
from converge.text.durations import in_words
from hosts.schema import Inventory
from hosts.tool import NAME

if TYPE_CHECKING:
    from converge.acting.attempt import Attempt

FUNCTION = re.compile(r"^(\w+)\(\) ?[({]", re.MULTILINE)
VARIABLE = re.compile(r"^([A-Z_]+)=", re.MULTILINE)


def is_a_persons(step: Step, inv: Inventory) -> bool:
    """Whether a person must do the step: it says so, or the inventory does not allow it to the tool."""
    return bool(step.person) or (step.may is not None and step.may not in inv.may)


def place(step: Step, inv: Inventory) -> str:
    """Where a person does the step."""
    return "on this machine" if step.host == CONTROL else f"on {step.host} as {inv.account.user}"


def login(step: Step, inv: Inventory) -> str:
    """How a person gets there, in brackets; empty for this machine."""
    host = inv.hosts.get(step.host)
    if host is None:
        return ""
    config = inv.connect.ssh_config
    # An ssh_config of the inventory's own knows the hosts by the inventory's names.
    words = ["ssh", *(["-F", shlex.quote(config)] if config else []), *(["-p", str(host.port)] if host.port else [])]
    return f" ({' '.join(words)} {inv.connect.user or inv.account.user}@{host.name if config else host.address})"


def refusal(step: Step, inv: Inventory) -> str:
    """Why the step is a person's."""
    named = inv.file or "the inventory"
    return step.person or f"{named} does not allow this tool to {step.may} (may = {list(inv.may)})"


def needs_what_is_sent(program: str, prelude: str) -> bool:
    """Whether a program needs functions or variables that a step is sent with: no person's shell has them."""
    functions = "|".join(FUNCTION.findall(prelude + LIBRARY))
    names = "|".join([*VARIABLE.findall(prelude), r"CV_\w+"])
    return re.search(rf"\b(?:{functions})\s+[\w\"'$/-]|\$\((?:{functions})\b|\$\{{?(?:{names})\b", program) is not None


def by_hand(step: Step, inv: Inventory, prelude: str, *, waits: bool = False) -> str:
    """What a person does instead of the tool; `waits` if the run lays it ready and waits for it."""
    why, where = refusal(step, inv), place(step, inv)
    if step.typed:
        return f"{why}. To {step.sentence}, type {where}:\n  {step.typed}"
    if waits:
        return f"{why}. To {step.sentence}: the run lays it ready, prints the one line to type {where}, and waits"
    if any(needs_what_is_sent(act.script, prelude) for act in step.acts if isinstance(act, Run)):
        return (
            f"{why}. To {step.sentence}, let the run wait for you (start it at a terminal, or with --wait 2h): it lays this "
            f"ready as one line to type {where}; or allow it (may = [..., \"{step.may}\"]); or do it as docs/runbook.md "
            "says: here it is one program, which cannot be typed"
        )
    commands = "\n".join(f"  {text}" for act in step.acts for text in described(act).splitlines())
    return f"{why}. To {step.sentence}, type {where}:\n{commands}"


def hand_line(run: str, n: int) -> str:
    """What a person types on the host where step `n` was laid ready."""
    return f"sh ~/.local/state/{NAME}/runs/{shlex.quote(run)}/{n}.hand"


def lay_script(run: str, n: int) -> str:
    """Shell that keeps its input as what ``hand_line`` runs."""
    return f'J={folder(run)}; umask 077; mkdir -p "$J" && cat >"$J/{n}.new" && mv -T "$J/{n}.new" "$J/{n}.hand"'


def withdraw_script(run: str, n: int) -> str:
    """Shell that takes back what was laid ready, and says ``withdrawn``; or ``begun``, if somebody has begun it."""
    # Who begins it makes a folder of that name. On a full disk nobody makes either, and a rename finds room.
    return f"""J={folder(run)} T="$J/{n}.typed"
(set -C; : >"$T") 2>/dev/null
if [ -f "$T" ]; then echo withdrawn
elif [ -d "$T" ]; then echo begun
else {{ [ -e "$J/{n}.over" ] || mv -T "$J/{n}.hand" "$J/{n}.over"; }} && echo withdrawn
fi
"""


def hand_script(run: str, attempt: Attempt, launch: str, hostname: str | None, *, is_app: bool) -> str:
    """What a person runs, which works only while the run holds its lock.

    `launch` is what the executor would have sent; `hostname` is None for the control machine; the lock is where `is_app`.

    Raises:
        NotAllowed: the host's name is empty.
    """
    if hostname == "":
        raise NotAllowed(f"step {attempt.n} is for a host without a name: correct hosts.{attempt.host}.hostname")
    label, n = " ".join(attempt.label.split()), attempt.n
    wrong = f'echo "nothing was done: this is for {hostname}, and here is $(uname -n)" >&2; exit {Rc.WRONG_HOST.value}'
    check = f'[ "$(uname -n)" = {shlex.quote(hostname or "")} ] || {{ {wrong}; }}'
    held = mine_script(run) if is_app else heard_script(run) if hostname else ""
    late = f"run {run} does not wait for this any more: start a new one, and type its line"
    return f"""# {label}
# Step {n} of run {run}, laid ready for a person. It works once, and only while that run waits for it.
{check if hostname else ""}
{NICED if hostname else ""}
echo {shlex.quote(f"{label} (at most {in_words(attempt.limit)}) ...")}
J={folder(run)}
(
{held}
# Two people may type it in the same moment.
[ ! -e "$J/{n}.sh" ] || exit {Rc.REPEATED.value}
mkdir "$J/{n}.typed" 2>/dev/null || {{ [ ! -e "$J/{n}.typed" ] || exit {Rc.REPEATED.value}; exit {Rc.FAILED.value}; }}
# Where its script could not be kept (disk full) nothing began: the run waits on, and it may be typed again.
trap '[ -e "$J/{n}.sh" ] || rmdir "$J/{n}.typed"' EXIT
{launch}
)
rc=$?
[ $rc != {Rc.FAILED.value} ] || [ -e "$J/{n}.sh" ] || rc=kept
case $rc in
  0) echo "done: run {run} goes on by itself" ;;
  {Rc.UNLOCKED.value}) echo "nothing was done: {late}" >&2 ;;
  {Rc.REPEATED.value}) echo "nothing was done: this was run before, or is not waited for any more" >&2 ;;
  kept) echo "nothing was done: it could not be kept here (is the disk full?). Mend that, and type it again" >&2
    rc={Rc.FAILED.value} ;;
  *) echo "not done (status $rc): run {run} says what becomes of it" >&2 ;;
esac
exit $rc
"""
