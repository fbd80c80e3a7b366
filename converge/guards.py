"""Guards: what no step may do, and what must be as it was when a run is over."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from converge.errors import ConvergeError, Exit, Unobservable, UsageError
from converge.room import parse_room, room_script
from converge.shell import NICED
from converge.transport import Link
from hosts.schema import Inventory


class NotAllowed(UsageError):
    """A step asks for something that no step may do; nothing of it was run."""


class GuardFailed(ConvergeError):
    """What a run must know before it may act could not be read; nothing was done."""

    exit_code = Exit.FAILS


class TooManyEntries(Unobservable):
    """A tree is larger than the inventory lets anybody walk."""


FORBIDDEN = {
    "rm": "nothing is deleted: use Aside, or `aside PATH` in a program",
    "rmdir": "nothing is deleted: use Aside, or `aside PATH` in a program",
    "unlink": "nothing is deleted: use Aside, or `aside PATH` in a program",
    "shred": "nothing is deleted: use Aside, or `aside PATH` in a program",
    "truncate": "nothing is emptied: use Write, or `put PATH MODE` in a program",
    "dd": "files are written beside and renamed: use Write, or `put PATH MODE` in a program",
    "kill": "processes are signalled only by Signal or cv_signal, which make sure of them (`kill -0` may be used to look)",
    "pkill": "it hits others' processes too: use Signal",
    "killall": "it hits others' processes too: use Signal",
    "skill": "it hits others' processes too: use Signal",
    "chown": "files stay whose they are",
    "chgrp": "files stay whose they are",
    "sudo": "a step acts as the account alone",
    "su": "a step acts as the account alone",
    "eval": "what it runs cannot be seen beforehand",
    "reboot": "the host is not ours",
    "shutdown": "the host is not ours",
    "crontab": "crontabs are shown to a person, not changed",
    "loginctl": "lingering is the host staff's to set",
}

PREFIXES = {"exec", "command", "nice", "nohup", "setsid", "env", "time"}
KEYWORDS = {"then", "do", "else", "elif", "if", "while", "until", "!", "{"}
SEPARATOR = re.compile(r"\$\(|`|;;|&&|\|\||[;|&()\n]")
PATTERNS = (
    (re.compile(r"\bfind\b[^\n;|]*\s-delete\b"), "find -delete: nothing is deleted: use Aside"),
    (re.compile(r"-(?:exec|ok)(?:dir)?\s+(?:rm|unlink|rmdir|kill)\b"), "find -exec of a forbidden program"),
    (re.compile(r"\bxargs\b[^\n;|]*\s(?:rm|unlink|rmdir|kill)\b"), "xargs of a forbidden program"),
    (re.compile(r"\brsync\b[^\n;|]*\s--del"), "rsync --delete: nothing is deleted"),
    (re.compile(r"\bgit\b[^\n;|]*\spush\b[^\n;|]*\s(?:-f\b|--force|\+\S)"), "git push by force: only fast-forward pushes"),
    (re.compile(r"\bgit\b[^\n;|]*\s(?:clean|reset)\b"), "git clean and git reset lose work"),
    (re.compile(r"\bln\s+-\w*f"), "ln -f is not atomic: use Link, or `relink PATH TARGET` in a program"),
    (re.compile(r"\b(?:sed|perl)\b[^\n;|]*\s-\w*i\b"), "files are not edited in place: use Write, or `put PATH MODE`"),
    (re.compile(r"\bfuser\b[^\n;|]*\s-\w*k"), "fuser -k: use Signal"),
)
REDIRECT = re.compile(r"(?<![0-9>&-])[0-9]?>(?![>&])\s*(/[^\s;|&)]*)")


def lint(script: str) -> None:
    """Refuse a program that deletes, signals, escapes or writes over files outright. Against oversight, not malice.

    Raises:
        NotAllowed: names what was seen and what to use instead.
    """
    text = _without_comments(script)
    for pattern, why in PATTERNS:
        if found := pattern.search(text):
            raise NotAllowed(f"a step's program has `{found.group().strip()}`: {why}")
    for found in REDIRECT.finditer(text):
        if not found.group(1).startswith("/dev/"):
            where = found.group(1)
            raise NotAllowed(f"a step's program writes over {where}: use Write, or `put PATH MODE` in a program")
    for words in _commands(text):
        _judge(words)


def _without_comments(script: str) -> str:
    return "\n".join(re.sub(r"(^|\s)#.*$", "", line) for line in script.replace("\\\n", " ").splitlines())


def _commands(text: str) -> list[list[str]]:
    """The words of each simple command, roughly: quoted text counts as part of the command that it is in."""
    found = []
    for piece in SEPARATOR.split(text):
        words = piece.split()
        while words and (words[0] in PREFIXES | KEYWORDS or re.match(r"^\w+=", words[0])):
            words = words[1:]
            while words and words[0].startswith("-"):
                words = words[1:]
        if words:
            found.append(words)
    return found


def _judge(words: list[str]) -> None:
    program = words[0].strip("\"'").rsplit("/", 1)[-1]
    if program == "kill" and words[1:2] == ["-0"]:
        return
    if program == "timeout":
        _judge([w for w in words[1:] if not re.match(r"^(-.*|[0-9.]+[smh]?|\d+)$", w)] or ["true"])
        return
    if program in FORBIDDEN:
        raise NotAllowed(f"a step's program has `{' '.join(words[:4])}`: {FORBIDDEN[program]}")
    if program == "systemctl" and "--user" not in words:
        seen = " ".join(words[:4])
        raise NotAllowed(f"a step's program has `{seen}` without --user: only the account's own units are touched")


@dataclass(frozen=True, slots=True)
class Guard:
    """What a guard of a run saw; `holds` is False when the run must not go on, or ended badly."""

    name: str
    holds: bool
    text: str


@dataclass(frozen=True, slots=True)
class Tree:
    """Files and bytes of the data that users made."""

    files: int
    bytes: int


def data_folders(inv: Inventory) -> list[str]:
    """The shared folders that hold users' data: logs, caches and PID files come and go by themselves."""
    return [f"{inv.shared}/{name}" for name in inv.stages.linked_dirs if name.split("/")[0] not in {"log", "tmp"}]


def read_tree(link: Link, inv: Inventory) -> Tree:
    """Count the data that users made on the app host; again, if a file went while it was counted.

    Raises:
        TooManyEntries: it has more files and folders than the inventory lets anybody walk.
        Unobservable: it could not be counted.
    """
    folders, most = " ".join(shlex.quote(folder) for folder in data_folders(inv)), inv.limits.entries
    # Not %d: the awk of Debian 9 ends at 2^31 - 1 with it, and what was lost beyond 2 GiB would not be seen.
    count = (
        f"awk 'NR > {most} {{ many = 1 }} /unread/ {{ bad = 1 }} /^[0-9]/ {{ n++; b += $1 }} "
        'END { if (many) print "many"; else if (bad) exit 1; else printf "%.0f %.0f\\n", n, b }\''
    )
    # A folder that does not exist yet holds nothing; one that cannot be read is not known, and must not count as empty.
    walk = 'find "$d" -type f -printf "%s\\n" -o -printf ".\\n"'
    each = f'for d; do [ ! -d "$d" ] || {walk} || echo unread; done'
    script = f"{NICED}\nset -- {folders}; {{ {each}; }} | head -n {most + 1} | {count}"
    for _ in range(3):
        done = link.exec(script, limit=60)
        words = done.out.decode(errors="replace").split()
        if words == ["many"]:
            raise TooManyEntries(
                f"the shared data below {inv.shared} has more than {most} entries (limits.entries of "
                f"{inv.file or 'the inventory'})"
            )
        if done.rc == 0 and len(words) == 2 and all(word.isdigit() for word in words):
            return Tree(int(words[0]), int(words[1]))
    seen = (done.err.decode(errors="replace").strip().splitlines() or [f"status {done.rc}"])[0]
    raise Unobservable(f"the shared data below {inv.shared} could not be counted ({seen})")


def tree_if_readable(link: Link, inv: Inventory) -> Tree | None:
    """The same, None where it could not be counted or asked for."""
    try:
        return read_tree(link, inv)
    except (Unobservable, ConvergeError):
        return None


def tree_kept(before: Tree | None, after: Tree | None) -> Guard:
    """Whether no shared data was lost between two readings (None: it could not be read)."""
    name = "shared data kept"
    if before is None or after is None:
        when = "before" if before is None else "after"
        return Guard(name, False, f"{name}: not known, the data could not be read {when} the run")
    seen = f"{before.files} files, {before.bytes} bytes before; {after.files} files, {after.bytes} bytes after"
    lost = after.files < before.files or after.bytes < before.bytes
    return Guard(name, not lost, f"{name}: {'LOST DATA: ' if lost else ''}{seen}")


DEPLOYING = r"""
grep -laF -e "$R/repo" -e "$R/releases/" /proc/[0-9]*/cmdline 2>/dev/null | while IFS= read -r f; do
  d=${f%/cmdline}
  [ "$(stat -c %u "$d" 2>/dev/null)" = "$(id -u)" ] || continue
  # What runs in a unit is the application; a deploy comes over a login.
  if grep -q '\.service' "$d/cgroup" 2>/dev/null && ! grep -q 'session-' "$d/cgroup"; then continue; fi
  c=$(tr '\0' ' ' <"$f" 2>/dev/null)
  case "${c%% *}" in *git|*bundle|*rake|*ruby*|*tar) printf '%s %s\n' "${d##*/}" "$c" ;; esac
done
exit 0
"""


def nobody_deploys(link: Link, inv: Inventory) -> Guard:
    """Whether no program of a deploy is at work in the target stage on the app host."""
    name = "nobody else deploys"
    done = link.exec(f"R={shlex.quote(inv.stage)}\n{DEPLOYING}", limit=20)
    busy = done.out.decode(errors="replace").strip()
    if done.rc != 0:
        return Guard(name, False, f"{name}: could not be read (status {done.rc})")
    if busy:
        process = busy.splitlines()[0][:200]
        return Guard(name, False, f"{name}: a deploy is going on in {inv.stage}: process {process}: wait for its end")
    return Guard(name, True, f"{name}: no deploy is at work in {inv.stage}")


def room_for_two(link: Link, inv: Inventory) -> Guard:
    """Whether the app host has memory for a second copy of the application. Advice: the brief cutover needs none."""
    name = "room for two copies"
    done = link.exec(room_script(inv), limit=20)
    try:
        room = parse_room(done.out.decode(errors="replace"), link.name, inv)
    except Unobservable as problem:
        return Guard(name, False, f"{name}: not known, {problem}")
    return Guard(name, room.holds_two, f"{name}: {room}")
