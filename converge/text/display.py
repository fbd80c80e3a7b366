"""Making text from a host fit to be shown: nothing in it may steer the terminal, the page or the reader's eye."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])|\x9b[0-?]*[ -/]*[@-~]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
# What makes a text look like another one (directions, joiners, fillers), or cannot be encoded (halves of surrogate pairs).
_DECEIVING = re.compile(
    r"[\x80-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def shown(text: str) -> str:
    """`text` without terminal sequences, with control characters and invisible ones made visible; line ends are kept."""
    if text.isascii() and text.isprintable():
        return text
    text = _ANSI.sub("", text.replace("\r\n", "\n"))
    text = _CONTROL.sub(lambda m: "␡" if m[0] == "\x7f" else chr(0x2400 + ord(m[0])), text)
    return _DECEIVING.sub(lambda m: f"<U+{ord(m[0]):04X}>", text)


def one_line(text: str, limit: int = 200) -> str:
    """`text` on one line of at most `limit` characters."""
    line = " ".join(shown(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def clipped(text: str, lines: int = 120, chars: int = 12_000) -> tuple[str, str]:
    """The beginning and the end of a long text, and a note of what was left out (empty: nothing was)."""
    rows = text.splitlines()
    if len(rows) <= lines and len(text) <= chars:
        return text, ""
    kept = text
    if len(rows) > lines:
        head, tail = rows[: lines * 2 // 3], rows[-(lines // 3) :]
        kept = "\n".join([*head, f"[… {len(rows) - len(head) - len(tail):,} lines …]", *tail])
    if len(kept) > chars:
        kept = kept[: chars * 2 // 3] + "\n[…]\n" + kept[-chars // 3 :]
    return kept, f"shortened: {len(rows):,} lines, {len(text):,} characters in all; the whole is in run.json"


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 statement``, ``2 statements``; `plural` where it is not formed with an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural or noun + 's'}"


def when(at: float) -> str:
    """A moment (seconds since the epoch) for people, in UTC; empty for 0."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else ""


def clock(at: float) -> str:
    """The time of day of a moment, in UTC, to the tenth of a second."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-5] if at else ""


def duration(seconds: float) -> str:
    """A stretch of time for people: ``0.61 s``, ``12.4 s``, ``3 min 05 s``."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
