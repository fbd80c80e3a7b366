"""The sockets between the web server and the application, by inode and owner, never by name alone; unicorn's PID file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from converge.errors import Unobservable
from converge.readings import Context, Raw, reading
from facts.host.processes import ABOUT, Process, processes
from facts.parsing import every, number, observed, pairs, process_id, sections

PID_FILE = "tmp/pids/unicorn.pid"
"""Where unicorn keeps its process id, relative to a release (a linked directory: all stages and hosts share it)."""

LISTENER_PIDS = r"""
listener_pids() {
  i=$(stat -Lc %i "$1" 2>/dev/null) || return 0
  held=$(ss -xlpe) || return 69
  held=$(printf '%s\n' "$held" | grep -F "$SOCKET_DIR/")
  if printf '%s\n' "$held" | grep -F ' LISTEN ' | grep -qvF ' ino:'; then
    echo "ss does not say which socket a listener is (no ino:), so nobody could be found behind $1" >&2; return 69
  fi
  printf '%s\n' "$held" | grep -E "ino:$i( |\$)" | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -un
}
"""
"""Shell: `listener_pids PATH` prints the account's processes that hold the listener behind a path; fails if it cannot."""

_USER = re.compile(r"pid=(\d+)")
_INODE = re.compile(r"\bino:(\d+)")


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the web server sends the site's requests; `paths` are all that its configuration names."""

    config: str
    paths: tuple[str, ...]
    chosen: str


@reading(
    'if [ -r "$VHOSTS" ]; then upstreams | sed "s/^/path=/"; else echo unreadable; fi\necho "chosen=$(upstream)"',
)
def upstream(raw: Raw, c: Context) -> Upstream:
    """The sockets that the web server's configuration names for the site.

    The inventory's own socket counts when the configuration cannot be read.
    """
    lines = observed(raw, c.at).lines
    web = c.inv.web
    if "unreadable" in lines and web.socket == "auto":
        raise Unobservable(f"{c.at}: {web.vhosts} cannot be read, and the inventory leaves the socket to be discovered")
    return Upstream(web.vhosts, tuple(every(lines, "path")), pairs(lines).get("chosen", ""))


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in the sockets' directory. `kind` and the numbers are those of the name itself; `leads_to` follows links."""

    name: str
    path: str
    kind: str
    mode: int
    uid: int
    inode: int
    link: str
    leads_to: str
    end_kind: str
    end_mode: int
    end_inode: int

    @property
    def is_socket(self) -> bool:
        """Whether the name is, or leads to, a socket."""
        return self.end_kind == "socket"


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening unix socket: the name that it was bound to, its inode in the file system, who holds it."""

    bound_as: str
    inode: int
    backlog: int
    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sockets:
    """The sockets' directory of the app host with everything that listens there."""

    uid: int
    entries: Mapping[str, Entry]
    listeners: tuple[Listener, ...]
    holders: Mapping[int, Process]

    def at(self, path: str) -> Entry | None:
        """The entry for a path."""
        return next((e for e in self.entries.values() if e.path == path), None)

    def listening_on(self, path: str) -> tuple[Listener, ...]:
        """Listeners that a connection to this path reaches."""
        entry = self.at(path)
        if entry is None or not entry.is_socket:
            return ()
        return tuple(row for row in self.listeners if row.inode == entry.end_inode)

    def owners(self, path: str) -> tuple[Process, ...]:
        """Processes of the account that hold the listener behind a path."""
        return tuple(self.holders[pid] for row in self.listening_on(path) for pid in row.pids if pid in self.holders)

    def is_dead(self, entry: Entry) -> bool:
        """Whether it is a socket of the account on which nobody listens, or a link that leads nowhere."""
        if entry.uid != self.uid:
            return False
        if entry.kind == "symbolic link":
            return not entry.end_kind
        return entry.kind == "socket" and not any(row.inode == entry.inode for row in self.listeners)


def parse_listener(line: str) -> Listener | None:
    """A row of ``ss -xlpe``; None if it is no listening stream socket.

    The columns: type, state, receive queue (the accept backlog), send queue, name, ... and ``ino:`` of the file system.
    """
    words = line.split()
    inode = _INODE.search(line)
    if len(words) < 5 or words[1] != "LISTEN" or not words[2].isdigit():
        return None
    pids = tuple(dict.fromkeys(int(pid) for pid in _USER.findall(line)))
    return Listener(words[4], int(inode.group(1)) if inode else 0, int(words[2]), pids)


def _entry(text: str, at: str) -> Entry:
    parts = text.split("\t")
    if len(parts) != 6:
        raise Unobservable(f"{at}: a name in the sockets' directory is described as {text!r}")
    path, own, end, link, leads_to, _ = parts
    kind, mode, uid, inode = own.split("/")
    end_kind, end_mode, _, end_inode = end.split("/") if end else ("", "0", "", "0")
    what = f"the status of {path}"
    return Entry(
        path.rsplit("/", 1)[-1], path, kind, int(mode, 8), number(uid, what, at), number(inode, what, at),
        link, leads_to, end_kind, int(end_mode, 8), number(end_inode, what, at),
    )  # fmt: skip


@reading(
    ABOUT
    + r"""
need ss
[ -d "$SOCKET_DIR" ] || { echo "$SOCKET_DIR is not there" >&2; exit 1; }
echo "uid=$(id -u)"
for f in "$SOCKET_DIR"/* "$SOCKET_DIR"/.[!.]*; do
  [ -e "$f" ] || [ -L "$f" ] || continue
  printf 'entry=%s\t%s\t%s\t%s\t%s\t.\n' "$f" "$(stat -c '%F/%a/%u/%i' "$f")" "$(stat -Lc '%F/%a/%u/%i' "$f" 2>/dev/null)" \
    "$(readlink "$f")" "$(readlink -f "$f")"
done
echo '[listeners]'
rows=$(ss -xlpe) || exit 1
rows=$(printf '%s\n' "$rows" | grep -F "$SOCKET_DIR/")
printf '%s\n' "$rows"
echo '[holders]'
for p in $(printf '%s\n' "$rows" | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -un); do about "$p"; done
true
"""
)
def sockets(raw: Raw, c: Context) -> Sockets:
    """Every name in the sockets' directory, every listener bound below it, and the account's processes that hold them."""
    lines = observed(raw, c.at).lines
    found = sections(lines)
    rows = [parse_listener(line) for line in found.get("listeners", [])]
    if any(row and not row.inode for row in rows):
        raise Unobservable(f"{c.at}: ss does not say which socket a listener is (no ino:), so none could be called dead")
    entries = [_entry(text, c.at) for text in every(lines, "entry")]
    return Sockets(
        number(pairs(lines[:1]).get("uid", ""), "the account's uid", c.at),
        {entry.name: entry for entry in entries},
        tuple(row for row in rows if row),
        {process.pid: process for process in processes(found.get("holders", []), c.at)},
    )


@dataclass(frozen=True, slots=True)
class PidFile:
    """Unicorn's PID file. `pid` is None where the text is no process id; `old` is the text of the one for upgrades."""

    path: str
    exists: bool
    text: str
    pid: int | None
    old_exists: bool
    old_text: str
    old_is_alive: bool


@reading(
    f"""
f="$CURRENT/{PID_FILE}"
[ ! -e "$f" ] || {{ echo exists=yes; echo "text=$(head -c 64 "$f" | tr '\\n' ' ')"; }}
[ ! -e "$f.oldbin" ] || {{ old=$(head -c 64 "$f.oldbin" | tr '\\n' ' '); echo old_exists=yes; echo "old=$old"
  case "$old" in ''|*[!0-9\\ ]*) ;; *) [ ! -d "/proc/${{old%% *}}" ] || echo old_alive=yes;; esac; }}
echo "path=$(readlink -f "$CURRENT")/{PID_FILE}"
"""
)
def unicorn_pid_file(raw: Raw, c: Context) -> PidFile:
    """What unicorn's PID file says, and whether an upgrade left its old one behind."""
    said = pairs(observed(raw, c.at).lines)
    text = said.get("text", "").strip()
    return PidFile(
        f"{c.inv.current}/{PID_FILE}",
        said.get("exists") == "yes",
        text,
        process_id(text),
        said.get("old_exists") == "yes",
        said.get("old", "").strip(),
        said.get("old_alive") == "yes",
    )
