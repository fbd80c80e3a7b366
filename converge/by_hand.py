"""Steps that only a person may do: what to type, laying a step ready as one line, and waiting until it was done."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from converge.compile import described
from converge.errors import UsageError
from converge.guards import NotAllowed
from converge.journal import NAME, folder
from converge.lock import heard_script, mine_script
from converge.readings.store import CONTROL
from converge.record import StepRecord
from converge.shell import NICED, Rc
from converge.steps import Run, Step
from hosts.schema import Inventory

if TYPE_CHECKING:
    from converge.executor import Executor
    from converge.launch import Attempt

OWN_WORDS = re.compile(
    r"\b(?:aside|put|relink|chmode|unit|prop|started|upstream)\s+[\w\"'$/-]|\$(?:\(upstream|UNIT\b|SOLR_)"
)
"""Of a program that needs the functions and variables which a step is sent with; no person's shell has them."""

PATIENCE = 12 * 3600.0
"""Seconds that a run waits for one step of a person who is at the terminal."""

SOON, LATE = 2.0, 15.0
"""Seconds between two looks: at first, and when it has taken a while."""

NEWS = 60.0
"""Seconds after which the first word comes that it still waits; from then on the time to the next one doubles."""

DURATION = re.compile(r"(\d+(?:\.\d+)?)([smh])")
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}

Ended = Literal["done", "settled", "moved", "over", "stopped", "failed"]
"""How a wait ends: the step was done; its statements hold, so it need not be; what it relied on changed; nobody did it in
time; the run is to stop; it was run and did not come to its end."""


def duration(text: str) -> float:
    """Seconds from ``90s``, ``30m`` or ``2h``; ``0`` is none.

    Raises:
        UsageError: it is none of these.
    """
    if text.strip() == "0":
        return 0.0
    found = DURATION.fullmatch(text.strip())
    if not found:
        raise UsageError(f"--wait {text}: a time is a number with s, m or h, as in 90s, 30m or 2h; 0 is not to wait")
    return float(found[1]) * UNITS[found[2]]


def in_words(seconds: float) -> str:
    """A time as a person says it."""
    unit = next((u for u in ("h", "m") if seconds >= UNITS[u]), "s")
    return f"{seconds / UNITS[unit]:.3g} {'min' if unit == 'm' else unit}"


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


def by_hand(step: Step, inv: Inventory, *, waits: bool = False) -> str:
    """What a person does instead of the tool; `waits` if the run lays it ready and waits for it."""
    why, where = refusal(step, inv), place(step, inv)
    if step.typed:
        return f"{why}. To {step.sentence}, type {where}:\n  {step.typed}"
    if waits:
        return f"{why}. To {step.sentence}: the run lays it ready, prints the one line to type {where}, and waits"
    if any(OWN_WORDS.search(act.script) for act in step.acts if isinstance(act, Run)):
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
(
{held}
# Two people may type it in the same moment.
J={folder(run)}; [ ! -e "$J/{n}.sh" ] && mkdir "$J/{n}.typed" 2>/dev/null || exit {Rc.REPEATED.value}
{launch}
)
rc=$?
case $rc in
  0) echo "done: run {run} goes on by itself" ;;
  {Rc.UNLOCKED.value}) echo "nothing was done: {late}" >&2 ;;
  {Rc.REPEATED.value}) echo "nothing was done: this was run before" >&2 ;;
  *) echo "not done (status $rc): run {run} says what becomes of it" >&2 ;;
esac
exit $rc
"""


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the hosts shows: the step was begun by the line that was laid ready, or done, or cannot be any more."""

    kind: Literal["begun", "done", "moved", "nothing"]
    text: str = ""


class Hands:
    """Waits for a person, at most `limit` seconds for each step; 0 is not at all.

    `holds` judges statements anew: whether all of them hold, None where that cannot be read. `stopped` says that the run
    is to end; `ease` that nothing acts meanwhile, and that something does again.
    """

    def __init__(
        self,
        executor: Executor,
        say: Callable[[str], None],
        limit: float,
        holds: Callable[[Sequence[str]], bool | None],
        stopped: Callable[[], bool],
        ease: Callable[[bool], None] = lambda _easy: None,
    ) -> None:
        self.executor, self.say, self.limit = executor, say, limit
        self.holds, self.stopped, self.ease = holds, stopped, ease
        self.waits_for = ""
        """The step that was waited for when the run was stopped, or lost its connection; empty for none."""

    def wait(self, step: Step, record: StepRecord) -> Ended:
        """Lay the step ready, say what to type, and wait; what became of it is in the record, as of a step of the tool's.

        Raises:
            JournalError, ConnectionLost: as of any step.
        """
        executor = self.executor
        attempt = None if step.typed else executor.lay(step, record)
        n = attempt.n if attempt else executor.number()
        typed = step.typed or hand_line(executor.journal.run, n)
        self.waits_for = step.id
        facts = {"step": step.id, "host": step.host, "sentence": step.sentence, "where": place(step, executor.inv)}
        executor.journal.write("waiting", n=n, typed=typed, laid=attempt is not None, **facts)
        self._tell(step, typed)
        record.started = time.time()
        self.ease(True)
        try:
            ended = self._until(step, record, n, attempt)
        finally:
            self.ease(False)
        if ended in {"over", "moved", "stopped"}:
            record.seconds = round(time.time() - record.started, 3)
        if ended != "stopped":
            self.waits_for = ""
        return ended

    def _tell(self, step: Step, typed: str) -> None:
        inv = self.executor.inv
        self.say(f"  this step is a person's: {refusal(step, inv)}. Type {place(step, inv)}{login(step, inv)}:")
        self.say(f"      {typed}")
        limit = in_words(self.limit)
        self.say(f"  waiting for that, at most {limit}; Ctrl-C ends it, and a later run goes on from what it finds")

    def _until(self, step: Step, record: StepRecord, n: int, attempt: Attempt | None) -> Ended:
        began = told = time.monotonic()
        news, moved, last = NEWS, 0, ""
        while True:
            self.executor.lock.check()
            seen = self._look(step, n, attempt)
            if seen.kind == "begun" and attempt:
                return self._followed(record, attempt)
            if seen.kind == "done":
                return self._found(step, record, n, "done", seen.text)
            changed = bool(last) and seen.text != last
            if seen.kind == "moved" or changed:
                holds = self.holds(record.statements)
                if holds:
                    return self._found(step, record, n, "settled", "what it is for holds")
                # A look that failed by chance must not end a long wait: twice, and the statements could be read.
                moved = moved + 1 if seen.kind == "moved" and holds is False else 0
                if moved > 1:
                    record.result, record.reason = "not needed", f"while a person was waited for: {seen.text}"
                    return "moved"
            now = time.monotonic()
            if changed or now - told >= news:
                self.say(f"  {in_words(now - began)}: still waiting for {step.id}{f': {seen.text}' if seen.text else ''}")
                told, news = now, news if changed else 2 * news
            last = seen.text or last
            if self.stopped():
                record.result = "not reached"
                record.reason = f"the run was stopped while it waited for a person; {record.reason}"
                return "stopped"
            if now - began >= self.limit:
                record.result = "manual"
                record.reason = f"nobody did it within {in_words(self.limit)}. {record.reason}"
                return "over"
            self._pause(min(LATE, SOON + (now - began) / 20, max(0.0, began + self.limit - now)))

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.stopped():
            time.sleep(min(0.25, max(0.0, end - time.monotonic())))

    def _look(self, step: Step, n: int, attempt: Attempt | None) -> Look:
        executor = self.executor
        is_done, text = self._sign(step)
        if is_done:
            return Look("done", text)
        begun = f'[ ! -e {folder(executor.journal.run)}/{n}.sh ] || {{ echo begun; exit; }}\n' if attempt else ""
        tests = "".join(
            f"(\n{c.test}\n) >/dev/null 2>&1 </dev/null || {{ printf '%s\\n' {shlex.quote(c.sentence)}; exit; }}\n"
            for c in step.when
            if not c.passes
        )
        if not begun and not tests:
            return Look("nothing", text)
        answer = executor.links[step.host].exec(f"{executor.prelude}\n{begun}{tests}", limit=120)
        said = answer.out.decode(errors="replace").strip()
        if begun and said == "begun":
            return Look("begun")
        if not said or answer.rc != 0:
            return Look("nothing", text)
        # It may have been done between the two questions: that is no move.
        is_done, text = self._sign(step)
        return Look("done", text) if is_done else Look("moved", f"it is not so any more that {said}")

    def _sign(self, step: Step) -> tuple[bool, str]:
        """Whether the step's sign shows that it was done, and what was seen; never without a sign."""
        if not step.sign:
            return False, ""
        seen = self.executor.links[step.sign.host].exec(f"{self.executor.prelude}\n{step.sign.test}", limit=60)
        return seen.rc == 0, " ".join(seen.out.decode(errors="replace").split())

    def _followed(self, record: StepRecord, attempt: Attempt) -> Ended:
        self.ease(False)
        self.say("  begun by hand")
        record.reason = ""
        self.executor.follow(attempt, record)
        record.reason = "; ".join(part for part in (record.reason, f"run by hand, {_clock()}") if part)
        return "done" if record.result == "done" else "failed"

    def _found(self, step: Step, record: StepRecord, n: int, ended: Ended, text: str) -> Ended:
        record.result, record.rc = "done", 0
        record.seconds = round(time.time() - record.started, 3)
        record.reason = f"done by hand, seen at {_clock()}: {text or 'it is done'}"
        self.executor.done_by_hand(n, step, record)
        return ended


def _clock() -> str:
    return time.strftime("%H:%M:%S")
