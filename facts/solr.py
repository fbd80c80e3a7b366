"""Solr beside the application: who listens, which release is its home, what it holds, and what the PID file claims."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

from converge.errors import Unobservable
from converge.readings import Context, Raw, reading
from facts.host.processes import ABOUT, Process, processes
from facts.parsing import every, observed, pairs, process_id, sections

_HOME = re.compile(r"-Dsolr\.solr\.home=(\S+)")
_PID = re.compile(r"pid=(\d+)")
LOOPBACK = ("127.0.0.1", "[::ffff:127.0.0.1]", "[::1]", "::1")


@dataclass(frozen=True, slots=True)
class PortListener:
    """A row of ``ss`` on Solr's port; without `pids` it is somebody else's."""

    address: str
    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Core:
    """What Solr says of the core: where it lives and how many documents it finds; None where it does not answer."""

    instance_dir: str
    found: int | None


@dataclass(frozen=True, slots=True)
class Solr:
    """Everything that is known of Solr on one host. `java` are the account's Solr processes, on whatever port."""

    host: str
    current: str
    listeners: tuple[PortListener, ...]
    java: tuple[Process, ...]
    ancestors: tuple[Process, ...]
    pid_file: str
    pid_file_exists: bool
    pid_text: str
    pid_owner: Process | None
    core: Core | None

    @property
    def ours(self) -> Process | None:
        """The account's Java process that listens on the port."""
        pids = {pid for row in self.listeners for pid in row.pids}
        return next((p for p in self.java if p.pid in pids), None)

    @property
    def home(self) -> str:
        """The Solr home that our listening process was started with, empty if there is none."""
        return home_of(self.ours) if self.ours else ""

    @property
    def pid(self) -> int | None:
        """The process id in the PID file, None if it holds none."""
        return process_id(self.pid_text)

    @property
    def wrapper(self) -> Process | None:
        """The outermost process that was started for our Solr: what the PID file should name."""
        return self.ancestors[-1] if self.ancestors else None

    @property
    def pid_is_true(self) -> bool:
        """Whether the PID file names our Solr or a process that it descends from."""
        line = {p.pid for p in self.ancestors} | ({self.ours.pid} if self.ours else set())
        return self.ours is not None and self.pid in line


def home_of(process: Process) -> str:
    """The Solr home in a Java process's command line."""
    match = _HOME.search(process.cmdline)
    return match.group(1) if match else ""


def parse_port(line: str) -> PortListener | None:
    """A row of ``ss -ltnp`` (state, two queues, address, peer, users); None for its heading."""
    words = line.split()
    if len(words) < 4 or words[0] != "LISTEN":
        return None
    return PortListener(words[3].rsplit(":", 1)[0], tuple(dict.fromkeys(int(pid) for pid in _PID.findall(line))))


def parse_core(status: str, answer: str, core: str) -> Core | None:
    """The core from Solr's two JSON answers; None if the first one does not describe it."""
    try:
        told: dict[str, Any] = json.loads(status)["status"][core]
        folder = str(told["instanceDir"])
    except (ValueError, KeyError, TypeError):
        return None
    try:
        found: int | None = int(json.loads(answer)["response"]["numFound"])
    except (ValueError, KeyError, TypeError):
        found = None
    return Core(folder, found)


@reading(
    lambda c: (
        ABOUT
        + rf"""
need ss; need pgrep; need curl
f="$CURRENT"/{shlex.quote(c.inv.solr.pid_file)}
echo "current=$(readlink -f "$CURRENT")"
[ ! -e "$f" ] || {{ echo exists=yes; pid=$(head -c 64 "$f" | tr -d '\n'); echo "pid=$pid"; }}
echo '[listeners]'
ss -ltnp "sport = :$SOLR_PORT" || exit 1
echo '[java]'
for p in $(pgrep -u "$(id -u)" -f '^[^ ]*java .*start[.]jar'); do about "$p"; done
echo '[ancestors]'
j=$(ss -ltnp "sport = :$SOLR_PORT" | sed -n 's/.*pid=\([0-9]*\),.*/\1/p' | head -n 1)
p=$j
while [ -n "$p" ]; do
  p=$(sed 's/^.*) //' "/proc/$p/stat" 2>/dev/null | cut -d' ' -f2)
  [ "${{p:-0}}" -gt 1 ] || break
  case "$(tr '\0' ' ' <"/proc/$p/cmdline" 2>/dev/null)" in *solr*) about "$p";; *) break;; esac
done
echo '[owner]'
case "${{pid:-x}}" in *[!0-9]*) ;; *) about "$pid";; esac
echo '[core]'
base="http://127.0.0.1:$SOLR_PORT/solr"
# Without the index's size: it is added up from files which a commit may take away meanwhile, and the answer is a 500 then.
echo "status=$(curl -s -m 5 "$base/admin/cores?action=STATUS&core=$SOLR_CORE&indexInfo=false&wt=json" | tr -d '\n')"
echo "answer=$(curl -s -m 5 "$base/$SOLR_CORE/select?q=*:*&rows=0&wt=json" | tr -d '\n')"
"""
    ),
    on="here",
)
def solr(raw: Raw, c: Context) -> Solr:
    """Solr on this host: listeners of its port, our Java processes, the PID file's claim, the core's state."""
    lines = observed(raw, c.at).lines
    found = sections(lines)
    head = pairs([line for line in lines[: lines.index("[listeners]")] if "=" in line]) if "[listeners]" in lines else {}
    if not head:
        raise Unobservable(f"{c.at}: the reading of Solr is cut off: {raw.out[:80]!r}")
    rows = [parse_port(line) for line in found.get("listeners", [])]
    owner = processes(found.get("owner", []), c.at)
    asked = found.get("core", [])
    return Solr(
        host=c.at,
        current=head.get("current", ""),
        listeners=tuple(row for row in rows if row),
        java=processes(found.get("java", []), c.at),
        ancestors=processes(found.get("ancestors", []), c.at),
        pid_file=f"{c.inv.current}/{c.inv.solr.pid_file}",
        pid_file_exists=head.get("exists") == "yes",
        pid_text=head.get("pid", "").strip(),
        pid_owner=owner[0] if owner else None,
        core=parse_core("".join(every(asked, "status")), "".join(every(asked, "answer")), c.inv.solr.core),
    )
