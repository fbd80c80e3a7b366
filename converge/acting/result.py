"""What a step left on its host, read back into its record."""

from __future__ import annotations

import re
import time

from converge.acting.attempt import GRACE
from converge.checking.record import StepRecord
from converge.shell.library import MARK, Rc
from converge.text.masking import mask
from converge.transport import Completed
from converge.transport.link import TIMED_OUT


def is_unheard(done: Completed) -> bool:
    """Whether it was killed on its host, or has ended without a word, who waited there for the end of a step."""
    return done.rc > Rc.ROLLED_BACK and done.rc != TIMED_OUT


KEPT = "could not all be put back"
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
    if last and re.match(r"(?:act \d+|the undo) ended with status \d+(?:;|$)", said):
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
        # Refused in the middle, it is as if it had not begun, unless what it did by then could not be put back.
        record.result, record.reason = "failed" if KEPT in said else "refused", said or "refused"
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
