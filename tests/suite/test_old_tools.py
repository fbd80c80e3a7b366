"""What is sent to a host asks of its tools only what the oldest host of production has: Debian 8 (legacy), Debian 9 (app).

The lab's hosts are younger. So the words of each command are held against a table of what those releases' tools know:
systemd 215, coreutils 8.23, findutils 4.4, grep 2.20, util-linux 2.25, procps 3.3.9, iproute2 3.16, curl 7.38, mawk 1.3.3;
the app host's curl is 7.52. Of these the table has what is used. What it does not have is added, if those releases' manuals
have it, or done without. What a tool's answer looks like is not seen here.
"""

from __future__ import annotations

import getopt
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from converge.acting import announce, attempt, launch, transient_unit
from converge.journal import journal, lock
from converge.readings import Reading, batch
from converge.runs import attic, recovery, undo_plan
from converge.shell import library
from facts.application import READINGS
from facts.host import memory
from facts.host.processes import Process
from facts.preflight import DEPLOYING
from facts.prelude import prelude
from hosts.loader import load
from remediate import solr_move
from remediate.cutover import brief, seamless
from remediate.cutover.shell import by_hand
from tests.suite.shell_words import commands, functions
from tests.targets import at_app

INV = load("production", offline=True)

Tools = Mapping[str, tuple[str, ...]]

DEBIAN_8: Tools = {
    # Short flags as getopt(3) has them, then the long ones.
    "awk": ("F:v:",), "cat": ("",), "chmod": ("",), "cmp": ("s",), "cp": ("p",),
    "curl": ("sSkfm:o:w:A:H:", "resolve="),
    "cut": ("c:d:f:",), "date": ("",), "dirname": ("",), "du": ("skx",), "findmnt": ("nro:T:",), "flock": ("nw:",),
    "grep": ("EFace:hilm:noqrvx", "include="),
    "head": ("c:n:",), "hostname": ("",), "id": ("Gnu",), "kill": ("0s:",), "ldd": ("",), "ln": ("s",), "logger": ("t:",),
    "logrotate": ("ds:",), "ls": ("dl",), "mkdir": ("p",), "mv": ("nT",), "pgrep": ("fu:",), "pwd": ("P",),
    "readlink": ("efm",), "renice": ("n:p:",), "rmdir": ("",), "sed": ("e:n",), "setsid": ("",), "sh": ("c:",),
    "sha256sum": ("",), "sleep": ("",), "sort": ("nu",), "ss": ("elnptx",), "stat": ("Lc:", "printf="), "sync": ("",),
    "systemctl": ("p:", "user", "no-legend", "no-pager", "plain", "full", "state="),
    "systemd-cat": ("t:",), "tail": ("c:n:",), "timeout": ("k:",), "touch": ("",), "tr": ("d",), "uname": ("n",),
    "wc": ("l",), "xargs": ("0r",),
    # What the shell has itself (dash 0.5.7).
    ":": ("",), "break": ("",), "cd": ("P",), "command": ("v",), "continue": ("",), "echo": ("",), "eval": ("",),
    "exec": ("",), "exit": ("",), "export": ("",), "printf": ("",), "read": ("r",), "return": ("",),
    "set": ("",), "shift": ("",), "trap": ("",), "true": ("",), "umask": ("",), "wait": ("",),
}  # fmt: skip

DEBIAN_9: Tools = {
    **DEBIAN_8,
    "bundle": ("", "dry-run"),
    "curl": (DEBIAN_8["curl"][0], "resolve=", "unix-socket="),
    # Of these, systemd 232 does not know --collect: where a unit cannot be had with it, it is asked for without.
    "systemd-run": ("p:", "collect", "description=", "quiet", "scope", "service-type=", "setenv=", "unit=", "user"),
}
"""The app host's, with the application's own."""

VERBS = {
    "cat", "daemon-reload", "disable", "enable", "is-enabled", "is-system-running", "list-jobs", "list-units",
    "reset-failed", "restart", "show", "start", "stop",
}  # fmt: skip
FIND = {
    "-L", "-delete", "-depth", "-exec", "-lname", "-maxdepth", "-mindepth", "-name", "-o", "-path", "-print", "-printf",
    "-prune", "-type", "-xdev",
}  # fmt: skip
TEST = {*["-L", "-S", "-d", "-e", "-f", "-n", "-r", "-s", "-x", "-z", "-eq", "-ge", "-gt", "-le", "-lt", "-ne", "=", "!="]}
FIRST = {"awk", "command", "exec", "flock", "setsid", "sh", "systemd-run", "timeout", "trap", "xargs"}
"""What follows the first operand of these is not theirs."""

MAWK = (
    (re.compile(r"printf[^;}]*%[^\"%]*[di]"), "its awk ends at 2^31 - 1 with %d: use %.0f"),
    (re.compile(r"\[\[:"), "its awk knows no [[:class:]]"),
    (re.compile(r"[\])\w]\{\d"), "its awk knows no {n} in patterns"),
    (re.compile(r"\b(?:asort|gensub|strftime|strtonum|systime)\("), "that is a function of gawk's"),
)


def too_new(script: str, tools: Tools, known: set[str] | None = None) -> list[str]:
    """What a script calls that these tools do not know, in words."""
    own = functions(script) | (known or set())
    return [why for words in commands(script) if (why := _too_new(words, tools, own))]


def _too_new(words: Sequence[str], tools: Tools, own: set[str]) -> str:
    name, rest = words[0].rpartition("/")[2] or words[0], list(words[1:])
    if words[0] == "S":
        name, rest = "systemctl", ["--user", *rest]
    elif words[0] in own or "$" in words[0]:
        return ""
    line = " ".join(words)[:100]
    if name in {"[", "find"}:
        flags = {w for w in rest if re.fullmatch(r"-[a-zA-Z]+|!?=+", w)}
        flags -= set(rest[rest.index("-exec") + 1 :]) if "-exec" in rest else set()
        strange = flags - (TEST if name == "[" else FIND)
        return f"{line}: {' '.join(sorted(strange))}" if strange else ""
    if name not in tools:
        return f"{line}: {name} is not known to be there"
    short, *long = tools[name]
    try:
        operands = (getopt.getopt if name in FIRST else getopt.gnu_getopt)(rest, short, long)[1]
    except getopt.GetoptError as problem:
        return f"{line}: {problem}"
    if name == "systemctl" and operands and operands[0] not in VERBS and not operands[0].startswith("$"):
        return f"{line}: no verb of systemd 215"
    if name == "awk":
        return next((f"{line}: {why}" for pattern, why in MAWK if pattern.search(operands[0])), "")
    return ""


def script_of(reading: Reading[object]) -> str:
    """What a host is sent for a reading."""
    assert reading.script
    return f"{prelude(INV)}\n{reading.script(at_app(INV))}"


ASKED = {name: r for name, r in READINGS.items() if r.on != "control" and getattr(r, "script", None)}
"""The readings that are shell for a host."""


@pytest.mark.parametrize("name", ASKED)
def test_reading_asks_what_its_oldest_host_can_answer(name: str) -> None:
    reading = ASKED[name]
    assert too_new(script_of(reading), DEBIAN_9 if reading.on == "app" else DEBIAN_8) == []


SOLR = Process(2, 3, 4.0, "/c", "/w", "/java", "java -jar start.jar")
BY_HAND = by_hand([Process(2, 3, 4.0, "/c", "/w", "/ruby", "unicorn master")])

STEP = attempt.Attempt(1, "vampires", ":", ":", 9.0, "act", who="ada")

ACTS = {
    "step": launch.launch_script("R1", STEP, "{}"),
    "confirmed step": launch.launch_script("R1", replace(STEP, confirm=True), "{}"),
    "frame": batch.script([("true", 1.0)], prelude(INV), batch.new_nonce()),
    "library": library.LIBRARY,
    "lock": lock.holding_script("{}", "R1"),
    "outcome": transient_unit.outcome_script("R1", 1, 9.0),
    "journals": journal.STORIES,
    "fate": recovery.fate_script("R1", 1),
    "way back": undo_plan.way_script("R1", 1),
    "notices": announce.ALOUD,
    "nobody deploys": DEPLOYING,
    "room": memory.room_script(INV),
    "attic": attic.LISTING,
    "purge": attic.PURGE,
    "seamless": BY_HAND + seamless.SEAMLESS,
    "seamless back": BY_HAND + seamless.BACK,
    "brief": BY_HAND + brief.BRIEF,
    "start": BY_HAND + brief.START,
    "restart": BY_HAND + brief.RESTART,
    "move of Solr": solr_move.move_program("/r/2", "/r/pid", SOLR, "/r/1/solr").script,
    "Solr back": solr_move.back_program("/r/2", "/r/pid", "/r/1/solr").script,
}
"""Most of what acts, and what is around it."""

APP_HOST = {"confirmed step", "seamless", "seamless back", "brief", "start", "restart", "move of Solr", "Solr back"}
"""What is the app host's alone."""


@pytest.mark.parametrize("name", ACTS)
def test_what_acts_calls_what_the_oldest_host_has(name: str) -> None:
    given = functions(prelude(INV)) | functions(library.LIBRARY)
    tools = DEBIAN_9 if name in APP_HOST else DEBIAN_8
    assert too_new(ACTS[name], tools, given) == []


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("ss -Hxl", "option -H"),
        ("x=$(systemctl --user show a --value -p MainPID)", "option --value"),
        ("S show a --value -p MainPID", "option --value"),
        ("S edit a", "no verb"),
        ('printf %s "$(stat --cached=never f)"', "option --cached"),
        ("if jq . f; then :; fi", "jq is not known"),
        ("curl -s --unix-socket /s http://a/", "option --unix-socket"),
        ("grep -P x f", "option -P"),
        ("find . -newermt yesterday", "-newermt"),
        ("find . -type f -exec realpath {} +", "realpath is not known"),
        ("case $x in a) sort -V f ;; esac", "option -V"),
        ("cat f | awk '{ b += $1 } END { printf \"%d\\n\", b }'", "use %.0f"),
        ("awk '/[0-9]{3}/'", "no {n}"),
        ("awk '/[[:space:]]/'", "no [[:class:]]"),
        ("f() { numfmt 1; }; f", "numfmt is not known"),
        ("timeout 5 /bin/sh -c 'date -d now'", "option -d"),
        ("trap 'rm -rf x' EXIT", "rm is not known"),
        ("[ a -nt b ]", "-nt"),
        ("for f in $(ls -v); do :; done", "option -v"),
        ("cat <<EOF\nnl\nEOF\nxargs --max-procs=2 true", "option --max-procs"),
    ],
)
def test_what_is_newer_is_found(script: str, why: str) -> None:
    (found,) = too_new(script, DEBIAN_8)
    assert why in found


@pytest.mark.parametrize("script", ["echo 'jq is $(jq)' # jq", "x=jq; case jq in jq|nl) : ;; esac", "cat <<'E'\njq\nE\n"])
def test_what_is_no_command_is_not_found(script: str) -> None:
    assert too_new(script, DEBIAN_8) == []
