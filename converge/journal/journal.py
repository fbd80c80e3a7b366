"""The journal of a run, written ahead: intent, then result, then proof. The one on the app host is the truth.

A run's folder on the host where a step acts is ``~/.local/state/NAME/runs/ID`` (0700) and holds for step N its
script ``N.sh``, the way back ``N.undo.sh``, ``N.state``, which says in words what it does and what stopping it does, its
outputs ``N.out`` and ``N.err``, and ``N.rc`` once it has ended. The app host's has ``journal.jsonl`` besides, one JSON
object a line, of which the control machine keeps a mirror.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from converge.errors import ConnectionLost, ConvergeError, Exit
from converge.journal.history import Entry, Kind, Story
from converge.shell.library import Rc
from converge.transport import Link
from hosts.tool import NAME

SCHEMA = 1
LATEST = 1e11
"""Seconds since the epoch that no clock shows; more cannot be told as a date."""
STATE = f'"$HOME"/.local/state/{NAME}'

Types = dict[str, tuple[type, ...]]
STEP: Types = {"n": (int,), "step": (str,), "host": (str,)}
NEEDED: dict[str, Types] = {
    "intent": STEP,
    "waiting": STEP | {"where": (str,), "typed": (str,)},
    **{kind: {"n": (int,)} for kind in ("result", "undone", "left", "purged")},
}
"""Fields without which a line of this kind is none of ours, and their types."""
TYPED: Types = {
    **STEP,
    **{"rc": (int,), "seq": (int,), "limit": (int, float), "sentence": (str,), "undo": (str,)},
    **{"who": (str,), "machine": (str,), "rollback": (str,)},
}
"""Types of fields wherever they are."""


class JournalError(ConvergeError):
    """The journal could not be written or read; nothing is done without it. Once a step was sent (`begun`) it stays open."""

    exit_code = Exit.FAILS

    def __init__(self, message: str, *, begun: bool = False) -> None:
        super().__init__(message)
        if begun:
            self.exit_code = Exit.UNKNOWN


def line(kind: Kind, **data: Any) -> str:
    """One line of a journal, without its line break."""
    return json.dumps({"v": SCHEMA, "kind": kind, "at": round(time.time(), 3), **data}, ensure_ascii=True, sort_keys=True)


def parse(id: str, text: str, started: Iterable[int] = ()) -> Story:
    """The story that a journal tells, beside which the scripts of the `started` steps lie.

    A line that a crash cut off is left out: what it was about to say did not happen. Any other one that cannot be read
    makes the story a damaged one.

    Raises:
        JournalError: a line is of a later schema.
    """
    story = Story(id, started=frozenset(started))
    lines = text.split("\n")
    for number, raw in enumerate(lines, 1):
        try:
            story.entries.append(_entry(id, raw))
        except ValueError as problem:
            # What has no line break yet was not written to its end, whatever it looks like.
            if number < len(lines) and not _cut_off(raw, problem):
                story.unreadable.append(number)
    return story


def _entry(id: str, raw: str) -> Entry:
    """The entry that a line is.

    Raises:
        ValueError: it is none.
        JournalError: it is of a later schema.
    """
    try:
        data: Any = json.loads(raw)
    except RecursionError:
        raise ValueError("it is nested without end") from None
    schema, kind, at = (data.pop(key, None) if isinstance(data, dict) else None for key in ("v", "kind", "at"))
    if type(schema) is int and schema > SCHEMA:
        raise JournalError(f"journal of run {id} is of schema {schema}, not {SCHEMA}: use a newer version")
    if type(schema) is not int or not isinstance(kind, str) or not isinstance(at, int | float) or not 0 <= at < LATEST:
        raise ValueError("it is no entry")
    needed = NEEDED.get(kind, {})
    if any(type(data.get(key)) not in kinds for key, kinds in needed.items()):
        raise ValueError(f"it is no {kind}")
    if any(type(data[key]) not in kinds for key, kinds in TYPED.items() if key in data):
        raise ValueError("a field is of a type that it never has")
    return Entry(kind, float(at), data)


def _cut_off(raw: str, problem: ValueError) -> bool:
    """Whether a line that could not be read for this `problem` is the beginning of one: it was never written to its end."""
    if not isinstance(problem, json.JSONDecodeError) or raw[:1] not in {"", "{"}:
        return False
    # Nothing was wrong before its end; the reader names where a string or a word begins that has none.
    if problem.msg.startswith("Unterminated string") or len(raw) - problem.pos < len("false"):
        return True
    # It wants one character more behind an escape, be that whole or not.
    escape = re.search(r"\\u[0-9a-fA-F]{0,4}\Z", raw)
    return escape is not None and escape.start() <= problem.pos


def folder(run: str) -> str:
    """A run's folder on a host, as a shell word."""
    return f"{STATE}/runs/{shlex.quote(run)}"


def phase_file(run: str, n: int) -> str:
    """Where the program of step `n` keeps what is to be put back, as a shell word: on its host, until that boots again."""
    return f'"${{XDG_RUNTIME_DIR:-/run/user/$(id -u)}}"/{NAME}-{shlex.quote(run)}-{n}.phase'


def program_lock(run: str, n: int) -> str:
    """What every process of that program holds while it lives, as a shell word."""
    return f"{phase_file(run, n)}.lock"


def append_script(run: str, lines: list[str]) -> str:
    """Shell that adds lines to a run's journal and waits until the disk has them."""
    begin = f'J={folder(run)}; (umask 077 && mkdir -p -- "$J") || exit 70\n'
    if not lines:
        return begin
    text = "".join(f"{text}\n" for text in lines)
    # A line that a crash cut off must not swallow the next one.
    return (
        begin
        + 'if [ -s "$J/journal.jsonl" ] && [ -n "$(tail -c 1 "$J/journal.jsonl")" ]; then echo >>"$J/journal.jsonl"; fi\n'
        f'(umask 077 && printf %s {shlex.quote(text)} >>"$J/journal.jsonl") && sync "$J/journal.jsonl" || exit 70\n'
    )


class Journal:
    """Writes a run's journal on the app host and its mirror in `mirror`. `begun` says that a step was sent."""

    def __init__(self, run: str, link: Link, mirror: Path | None = None, *, begun: bool = False) -> None:
        self.run, self.link, self.mirror = run, link, mirror
        self.begun = begun

    def write(self, kind: Kind, then: str = "", /, **data: Any) -> None:
        """Add a line on the host, then to the mirror; `then` is shell that runs there after it, whatever becomes of that.

        Raises:
            JournalError: the host did not take it (disk full, home read-only).
            ConnectionLost: the connection ended.
        """
        self.write_if("", kind, then, **data)

    def write_if(self, held: str, kind: Kind, then: str = "", /, **data: Any) -> None:
        """The same, in one exec behind shell that ends with ``Rc.UNLOCKED`` unless this run holds the lock.

        Raises:
            JournalError: as of ``write``.
            ConnectionLost: the connection ended, or the run does not hold the lock; nothing was written.
        """
        text = line(kind, **data)
        done = self.link.exec(held + append_script(self.run, [text]) + (f"( {then} )\nexit 0\n" if then else ""), limit=30)
        if held and done.rc == Rc.UNLOCKED:
            raise ConnectionLost(f"{self.link.name}: run {self.run} does not hold the lock any more: nothing more is done")
        if done.rc != 0:
            seen = done.err.decode(errors="replace").strip() or f"status {done.rc}"
            raise self.failed(f"the journal of run {self.run} on {self.link.name} could not be written ({seen})")
        self.note(text)

    def note(self, text: str) -> None:
        """Add a line to the mirror alone: it rides to the host in the exec of its step.

        Raises:
            JournalError: this machine did not take it (disk full, folder not ours to write).
        """
        if self.mirror is None:
            return
        with self._here(f"{self.mirror}, this machine's copy of the journal, could not be written"):
            self.mirror.parent.mkdir(parents=True, exist_ok=True)
            with self.mirror.open("a", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())

    def make(self, folder: Path) -> None:
        """Make a folder of the run on this machine, and what it lies in.

        Raises:
            JournalError: this machine did not take it (disk full, folder not ours to write).
        """
        with self._here(f"{folder}, this machine's folder of the run, could not be made"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def failed(self, what: str) -> JournalError:
        """The error for what could not be kept."""
        more = f"nothing more is done; what was done is in the journal on {self.link.name}"
        return JournalError(f"{what}: {more if self.begun else 'nothing is done'}", begun=self.begun)

    @contextmanager
    def _here(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise self.failed(f"{what} ({problem.strerror})") from None


STORIES = f"""cd {STATE}/runs 2>/dev/null || exit 0
for r in *; do
  s=
  for f in "$r"/*.sh; do
    n=${{f##*/}}; n=${{n%.sh}}
    case $n in *[!0-9]*|'') continue ;; esac
    [ ! -s "$f" ] || s="$s $n"
  done
  [ -n "$s" ] || [ -r "$r/journal.jsonl" ] || continue
  printf '\\036%s\\n%s\\n' "$r" "$s"
  # Damage can be any byte, also the one that parts the journals here.
  [ ! -r "$r/journal.jsonl" ] || tr '\\036' '?' <"$r/journal.jsonl" || exit 1
done
"""
"""Shell that prints each run's id, the numbers of the scripts that lie in its folder, and its journal."""


def stories(link: Link) -> list[Story]:
    """All runs in a host's journal, oldest first.

    Raises:
        JournalError: the folder is there and cannot be read, or a journal is of a later schema.
    """
    done = link.exec(STORIES, limit=30)
    if done.rc != 0:
        raise JournalError(f"the journals on {link.name} could not be read: {done.err.decode(errors='replace').strip()}")
    found = []
    for part in done.out.decode(errors="replace").split("\036")[1:]:
        id, numbers, text = part.split("\n", 2)
        found.append(parse(id, text, map(int, numbers.split())))
    return sorted(found, key=lambda story: story.order)
