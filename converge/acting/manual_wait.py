"""Waiting for a person to do a step: what is said meanwhile, what the hosts show, and how the wait ends."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from converge.acting.attempt import Attempt, facts_of
from converge.acting.executor import Executor
from converge.acting.manual import hand_line, login, place, refusal, withdraw_script
from converge.checking.record import StepRecord
from converge.errors import ConnectionLost
from converge.journal.journal import folder
from converge.steps import Step
from converge.text.durations import in_words

PATIENCE = 12 * 3600.0
"""Seconds that a run waits for one step of a person who is at the terminal."""

SOON, LATE = 2.0, 15.0
"""Seconds between two looks: at first, and when it has taken a while."""

TRIES = 3
"""So often it is asked for that what was laid ready is taken back."""

NEWS = 60.0
"""Seconds after which the first word comes that it still waits; from then on the time to the next one doubles."""

Ended = Literal["done", "settled", "moved", "over", "stopped", "failed"]
"""How a wait ends: the step was done; its statements hold, so it need not be; what it relied on changed; nobody did it in
time; the run is to stop; it was run and did not come to its end."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the hosts shows: the step was begun by the line that was laid ready, or done, or cannot be any more.

    ``unread`` shows nothing either: it was not answered.
    """

    kind: Literal["begun", "done", "moved", "nothing", "unread"]
    text: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """How a wait ended, in words if there are any, and the time of the last look that did not show the step begun."""

    kind: Literal["begun", "done", "settled", "moved", "over", "stopped"]
    idle: float
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
        facts: dict[str, Any] = {"n": n, "step": step.id, "host": step.host, "sentence": step.sentence}
        if attempt:
            # It may be typed and the run end before it looks again: then no other line says what was to be done.
            facts = facts_of(attempt, record)
        where = place(step, executor.inv)
        executor.journal.write("waiting", typed=typed, laid=attempt is not None, where=where, **facts)
        self._tell(step, typed)
        record.started = record.waited = time.time()
        self.ease(True)
        try:
            end = self._until(step, record, attempt)
            if attempt and (end.kind == "begun" or (end.kind != "stopped" and not self._is_withdrawn(attempt))):
                record.begun = end.idle
                ended = self._followed(record, attempt)
            else:
                ended = self._ended(end, step, record, n)
        finally:
            self.ease(False)
        if ended != "stopped":
            self.waits_for = ""
        return ended

    def _tell(self, step: Step, typed: str) -> None:
        inv = self.executor.inv
        self.say(f"  this step is a person's: {refusal(step, inv)}. Type {place(step, inv)}{login(step, inv)}:")
        self.say(f"      {typed}")
        limit = in_words(self.limit)
        self.say(f"  waiting for that, at most {limit}; Ctrl-C ends it, and a later run goes on from what it finds")

    def _until(self, step: Step, record: StepRecord, attempt: Attempt | None) -> End:
        began = told = time.monotonic()
        news, moved, last, idle = NEWS, 0, "", record.waited
        while True:
            self.executor.lock.check()
            looked = time.time()
            seen = self._look(step, attempt)
            if seen.kind == "begun":
                return End("begun", idle)
            if seen.kind != "unread":
                # Not when the answer came: it may have been begun while that was on its way.
                idle = looked
            if seen.kind == "done":
                return End("done", idle, seen.text)
            changed = bool(last) and seen.text != last
            if seen.kind == "moved" or changed:
                holds = self.holds(record.statements)
                if holds:
                    return End("settled", idle, "what it is for holds")
                # A look that failed by chance must not end a long wait: twice, and the statements could be read.
                moved = moved + 1 if seen.kind == "moved" and holds is False else 0
                if moved > 1:
                    return End("moved", idle, seen.text)
            now = time.monotonic()
            if changed or now - told >= news:
                self.say(f"  {in_words(now - began)}: still waiting for {step.id}{f': {seen.text}' if seen.text else ''}")
                told, news = now, news if changed else 2 * news
            last = seen.text or last
            if self.stopped():
                return End("stopped", idle)
            if now - began >= self.limit:
                return End("over", idle)
            self._pause(min(LATE, SOON + (now - began) / 20, max(0.0, began + self.limit - now)))

    def _ended(self, end: End, step: Step, record: StepRecord, n: int) -> Ended:
        """What becomes of a step that was not begun by the line that was laid ready, and is not waited for any more."""
        record.seconds = round(time.time() - record.started, 3)
        if end.kind in {"done", "settled"}:
            record.result, record.rc = "done", 0
            record.reason = f"done by hand, seen at {_clock()}: {end.text or 'it is done'}"
            self.executor.done_by_hand(n, step, record)
        elif end.kind == "moved":
            record.result, record.reason = "not needed", f"while a person was waited for: {end.text}"
        elif end.kind == "stopped":
            record.result = "not reached"
            record.reason = f"the run was stopped while it waited for a person; {record.reason}"
        elif end.kind == "over":
            record.result = "manual"
            record.reason = f"nobody did it within {in_words(self.limit)}. {record.reason}"
        return end.kind if end.kind != "begun" else "failed"

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.stopped():
            time.sleep(min(0.25, max(0.0, end - time.monotonic())))

    def _look(self, step: Step, attempt: Attempt | None) -> Look:
        executor = self.executor
        is_done, text = self._sign(step)
        if is_done:
            return Look("done", text)
        begun = f"[ ! -e {folder(executor.journal.run)}/{attempt.n}.sh ] || {{ echo begun; exit; }}\n" if attempt else ""
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
        if answer.rc != 0:
            return Look("unread", text)
        if not said:
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

    def _is_withdrawn(self, attempt: Attempt) -> bool:
        """Take back what was laid ready: whether nobody began it, or can any more.

        Raises:
            ConnectionLost: it could not be told; what is waited for may still be typed.
        """
        link, script = self.executor.links[attempt.host], withdraw_script(self.executor.journal.run, attempt.n)
        for _ in range(TRIES):
            said = link.exec(script, limit=60).out.strip()
            if said in {b"withdrawn", b"begun"}:
                return said == b"withdrawn"
            self._pause(SOON)
        raise ConnectionLost(
            f"{link.name}: step {attempt.n} is not waited for any more, and whether its line can still be typed is not known"
        )

    def _followed(self, record: StepRecord, attempt: Attempt) -> Ended:
        self.ease(False)
        self.say("  begun by hand")
        record.reason = ""
        self.executor.follow(attempt, record)
        record.reason = "; ".join(part for part in (record.reason, f"run by hand, {_clock()}") if part)
        return "done" if record.result == "done" else "failed"


def _clock() -> str:
    return time.strftime("%H:%M:%S")
