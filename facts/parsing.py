"""Small pure functions that the readings' parsers share: scripts print ``key=value`` lines below ``[section]`` lines."""

from __future__ import annotations

import re
from collections.abc import Iterator

from converge.errors import Unobservable
from converge.readings import Context, Raw

_NO_BUS = ("Failed to connect to bus", "Failed to get D-Bus connection", "Failed to connect to user scope bus")
_SPAN = re.compile(r"([\d.]+)\s*([a-zµ]+)")
_SECONDS = {
    "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0,
    "month": 2629800.0, "y": 31557600.0,
}  # fmt: skip


def observed(raw: Raw, at: str) -> Raw:
    """`raw` if its script could see what it was asked for.

    Raises:
        Unobservable: the script failed, or the account's systemd manager could not be reached.
    """
    said = (raw.err.strip() or raw.out.strip()).splitlines()
    for marker in _NO_BUS:
        if marker in raw.err or marker in raw.out:
            raise Unobservable(f"{at}: the account's systemd manager cannot be reached ({marker}): is lingering on?")
    if raw.rc != 0:
        raise Unobservable(f"{at}: the reading ended with status {raw.rc}: {said[-1] if said else 'no output'}")
    return raw


def pairs(lines: list[str]) -> dict[str, str]:
    """``key=value`` lines; of a key that occurs twice the last one counts, lines without ``=`` are not kept."""
    return {key: value for key, found, value in (line.partition("=") for line in lines) if found}


def every(lines: list[str], key: str) -> list[str]:
    """The values of all ``key=value`` lines with this key, in order."""
    return [line[len(key) + 1 :] for line in lines if line.startswith(f"{key}=")]


def sections(lines: list[str]) -> dict[str, list[str]]:
    """Lines below their ``[name]`` line; what comes before the first one is not kept."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in lines:
        if line.startswith("[") and line.endswith("]"):
            current = found.setdefault(line[1:-1], [])
        elif current is not None:
            current.append(line)
    return found


def number(text: str, what: str, at: str) -> int:
    """`text` as an integer.

    Raises:
        Unobservable: it is none.
    """
    try:
        return int(text)
    except ValueError:
        raise Unobservable(f"{at}: expected a number for {what}, read {text!r}") from None


def process_id(text: str) -> int | None:
    """The process id that is the whole text of a PID file; None if it is none, whatever else calls itself a digit."""
    return int(text) if re.fullmatch(r"[0-9]{1,10}", text) else None


def within_entries(over: bool, what: str, c: Context) -> None:
    """Go on if a reading did not have to walk more than the inventory allows.

    Raises:
        Unobservable: it had to.
    """
    if over:
        raise Unobservable(
            f"{c.at}: {what} has more than {c.inv.limits.entries} entries "
            f"(limits.entries of {c.inv.file or 'the inventory'}), and was not read to its end"
        )


def time_span(text: str) -> float:
    """A time span of systemd's (``1min 30s``) in seconds; ``infinity`` is infinite, what cannot be read is 0."""
    if text == "infinity":
        return float("inf")
    return sum(float(count) * _SECONDS.get(unit, 0.0) for count, unit in _SPAN.findall(text))


ABSENT = ("No such file or directory", "Not a directory")


def only_absences(raw: Raw, at: str) -> Raw:
    """`raw`, if all that it complains of are paths that do not exist, which is an answer and not a failure.

    Raises:
        Unobservable: as `observed`, or something was refused or broken (permission, stale file handle, missing tool).
    """
    observed(raw, at)
    for line in raw.err.splitlines():
        if line.strip() and not any(word in line for word in ABSENT):
            raise Unobservable(f"{at}: {line.strip()}")
    return raw


def records(raw: Raw, at: str, **widths: int) -> Iterator[tuple[str, list[str]]]:
    """Kind and fields of each tab-separated line; `widths` names the kinds that may occur and how many fields follow.

    Raises:
        Unobservable: a line is of another kind or width (a file's name may hold a tab or a line's end).
    """
    for line in raw.lines:
        kind, *fields = line.split("\t")
        if widths.get(kind) != len(fields):
            raise Unobservable(f"{at}: a line of the answer cannot be understood: {line[:200]!r}")
        yield kind, fields
