"""Files that a plan has read: the condition that one still has its text, and which were edited since."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable

from converge.steps.step import Condition

_STATE = re.compile(r"(?P<path>/.*) is (?:as it was read \(sha256 (?P<digest>\w+)\)|not there)")


def as_read(path: str, text: str | None) -> Condition:
    """A file has the text that was read, trailing blank lines apart; None: it is not there."""
    place = shlex.quote(path)
    if text is None:
        return Condition(f"{path} is not there", f"[ ! -e {place} ]")
    whole = text.rstrip("\n") + "\n"
    digest = hashlib.sha256(whole.encode()).hexdigest()[:12]
    read = f"printf '%s\\n' \"$(cat {place})\" | sha256sum | cut -c 1-12"
    return Condition(f"{path} is as it was read (sha256 {digest})", f'[ "$({read})" = {digest} ]')


def edited(planned: Iterable[str], now: Iterable[str]) -> list[str]:
    """Paths of which preconditions of a step say something else now than when it was planned."""
    before, after = _states(planned), _states(now)
    return [path for path, state in after.items() if before.get(path, state) != state]


def _states(sentences: Iterable[str]) -> dict[str, str]:
    """What is said of files, by path: a digest, or nothing of one that is not there."""
    found = [match for sentence in sentences if (match := _STATE.fullmatch(sentence))]
    return {match["path"]: match["digest"] or "" for match in found}
