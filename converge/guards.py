"""Guards: what no step may do, and what must be as it was when a run is over."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from converge.errors import ConvergeError, Exit, Unobservable, UsageError
from converge.transport import Link
from hosts.schema import Inventory


class NotAllowed(UsageError):
    """A step asks for something that no step may do; nothing of it was run."""


class GuardFailed(ConvergeError):
    """What a run must know before it may act could not be read; nothing was done."""

    exit_code = Exit.FAILS


FORBIDDEN = {
    "rm": "nothing is deleted: use Aside, or `aside PATH` in a program",
    "rmdir": "nothing is deleted: use Aside, or `aside PATH` in a program",
    "unlink": "nothing is deleted: use Aside, or `aside PATH` in a program",
    "shred": "nothing is deleted: use Aside, or `aside PATH` in a program",
    "truncate": "nothing is emptied: use Write, or `put PATH MODE` in a program",
    "dd": "files are written beside and renamed: use Write, or `put PATH MODE` in a program",
    "kill": "processes are signalled only by Signal, which makes sure of them (`kill -0` may be used to look)",
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
        Unobservable: it could not be counted.
    """
    folders = " ".join(shlex.quote(folder) for folder in data_folders(inv))
    count = "awk '/unread/ { bad = 1 } { n++; b += $1 } END { if (bad) exit 1; printf \"%d %d\\n\", n, b }'"
    # A folder that does not exist yet holds nothing; one that cannot be read is not known, and must not count as empty.
    each = 'for d; do [ ! -d "$d" ] || find "$d" -type f -printf "%s\\n" || echo unread; done'
    script = f"set -- {folders}; {{ {each}; }} | {count}"
    for _ in range(3):
        done = link.exec(script, limit=60)
        words = done.out.decode(errors="replace").split()
        if done.rc == 0 and len(words) == 2 and all(word.isdigit() for word in words):
            return Tree(int(words[0]), int(words[1]))
    seen = (done.err.decode(errors="replace").strip().splitlines() or [f"status {done.rc}"])[0]
    raise Unobservable(f"the shared data below {inv.shared} could not be counted ({seen})")


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


MEMORY = r""": "${XDG_RUNTIME_DIR:=/run/user/$(id -u)}"; export XDG_RUNTIME_DIR
awk '/^MemAvailable/ { print "available", $2 }' /proc/meminfo
for u in $CV_UNITS; do
  p=$(systemctl --user show "$u" -p MainPID | cut -d= -f2-)
  [ "${p:-0}" -gt 1 ] || continue
  grep -l "/$u\$" /proc/[0-9]*/cgroup 2>/dev/null | while IFS= read -r f; do
    awk '/^Pss:/ { print "used", $2 }' "${f%/cgroup}/smaps_rollup" 2>/dev/null
  done
done
exit 0
"""


def room_for_two(link: Link, inv: Inventory) -> Guard:
    """Whether the app host has memory for a second copy of the application. Advice: the brief cutover needs none."""
    name = "room for two copies"
    units = " ".join([inv.app.unit, *inv.app.legacy_units])
    done = link.exec(f"CV_UNITS={shlex.quote(units)}\n{MEMORY}", limit=20)
    return memory_verdict(name, done.out.decode(errors="replace"))


def memory_verdict(name: str, text: str) -> Guard:
    """The guard's verdict from lines ``available KIB`` and ``used KIB``."""
    available, used = 0, 0
    for key, _, value in (line.partition(" ") for line in text.splitlines()):
        available += int(value) if key == "available" else 0
        used += int(value) if key == "used" else 0
    if not available:
        return Guard(name, False, f"{name}: the host's free memory could not be read")
    seen = f"{available // 1024} MiB available, the application uses {used // 1024} MiB"
    return Guard(name, available > used, f"{name}: {seen}")
