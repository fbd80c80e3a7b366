"""Hosts: who answers, whether the account can keep services there, what of the application is running."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from converge.errors import Unobservable
from converge.readings import Context, Raw, reading
from converge.readings.testinfra import module
from facts.parsing import every, number, observed, pairs, records


@dataclass(frozen=True, slots=True)
class Identity:
    """Where a login landed, and as whom. `release` is VERSION_ID of os-release(5), empty if it has none."""

    hostname: str
    release: str
    user: str
    uid: int
    groups: tuple[str, ...]


@reading(
    r"""
printf 'hostname=%s\n' "$(hostname)"
printf 'release=%s\n' "$(sed -n 's/^VERSION_ID=//p' /etc/os-release | tr -d '"')"
printf 'user=%s\nuid=%s\ngroups=%s\n' "$(id -un)" "$(id -u)" "$(id -nG)"
""",
    on="here",
)
def identity(raw: Raw, c: Context) -> Identity:
    """Which host and account the session is on."""
    seen = pairs(observed(raw, c.at).lines)
    if not seen.get("hostname"):
        raise Unobservable(f"{c.at}: hostname printed nothing")
    uid = number(seen.get("uid", ""), "the uid", c.at)
    return Identity(
        seen["hostname"], seen.get("release", ""), seen.get("user", ""), uid, tuple(seen.get("groups", "").split())
    )


@dataclass(frozen=True, slots=True)
class UserManager:
    """The account's systemd. `state` is the word of ``is-system-running``, or ``unreachable`` with the reason in `words`.

    `failed` are all its units in the state failed, whoever's they are.
    """

    state: str
    words: str
    lingers: bool
    uid: int
    failed: tuple[str, ...] = ()

    @property
    def runtime_dir(self) -> str:
        """XDG_RUNTIME_DIR of the account."""
        return f"/run/user/{self.uid}"


# A dot may stand before the name of a failed unit, which only newer versions leave out with --plain.
@reading(r"""
printf 'state=%s\n' "$(S is-system-running 2>&1 | tr '\n' ' ')"
S list-units --state=failed --no-legend --plain --full --no-pager 2>/dev/null |
  awk 'NF { print "failed=" ($1 ~ /[.]/ ? $1 : $2) }'
if [ -e "/var/lib/systemd/linger/$ACCOUNT" ]; then echo lingers=yes; else echo lingers=no; fi
printf 'uid=%s\n' "$(id -u)"
""")
def user_manager(raw: Raw, c: Context) -> UserManager:
    """Whether the account's services can run on the app host without a login."""
    if raw.rc != 0:  # not `observed`: here a manager that cannot be reached is the answer
        raise Unobservable(f"{c.at}: the reading ended with status {raw.rc}: {raw.err.strip()}")
    seen = pairs(raw.lines)
    words = seen.get("state", "").strip()
    state = words if words and " " not in words else "unreachable"
    uid = number(seen.get("uid", ""), "the uid", c.at)
    return UserManager(state, words, seen.get("lingers") == "yes", uid, tuple(every(raw.lines, "failed")))


class User(Protocol):
    """A user in the host's own tables: what is used here of testinfra's ``User``."""

    @property
    def groups(self) -> list[str]:
        """Names of the groups that a login of the user gets."""
        ...


@module(lambda user: user.groups)
def account(host: Any, c: Context) -> User:
    """The account on the app host."""
    user: User = host.user(c.inv.account.user)
    return user


@dataclass(frozen=True, slots=True)
class HomeMount:
    """The account's home as one host sees it; `inodes` of places that must be the same ones on each host (None: absent)."""

    source: str
    fstype: str
    inodes: tuple[tuple[str, int | None], ...]


@reading(
    r"""
command -v findmnt >/dev/null || { echo "findmnt is not installed" >&2; exit 3; }
findmnt -n -r -o SOURCE,FSTYPE -T ~ | awk '{ print "mount\t" $1 "\t" $2 }'
for p in ~ "$ROOT" "$UNITS"; do printf 'inode\t%s\t%s\n' "$(stat -L -c %i "$p" 2>/dev/null)" "$p"; done
""",
    on="live",
)
def home_mount(raw: Raw, c: Context) -> HomeMount:
    """Which file system the account's home is on, and which inodes its important folders have there."""
    source, fstype, inodes = "", "", []
    for kind, fields in records(observed(raw, c.at), c.at, mount=2, inode=2):
        if kind == "mount":
            source, fstype = fields
        else:
            inodes.append((fields[1], int(fields[0]) if fields[0].isdigit() else None))
    if not fstype:
        raise Unobservable(f"{c.at}: findmnt does not say where the home is mounted from")
    return HomeMount(source, fstype, tuple(inodes))


@dataclass(frozen=True, slots=True)
class Server:
    """A process of the application's web server; `started` is in ticks since boot (proc(5))."""

    pid: int
    started: int
    cgroup: str
    cwd: str
    cmdline: str

    @property
    def is_master(self) -> bool:
        """Whether it is a master: workers are named so, a master may not be named yet."""
        return " worker[" not in self.cmdline


@dataclass(frozen=True, slots=True)
class Activity:
    """What of the application runs on one host: its units with their ActiveState, and server processes below its trees."""

    units: tuple[tuple[str, str], ...]
    servers: tuple[Server, ...]

    @property
    def active_units(self) -> list[str]:
        """Units that run, start or stop."""
        return [name for name, state in self.units if state not in {"inactive", "failed"}]

    @property
    def is_idle(self) -> bool:
        """Nothing of the application runs."""
        return not self.active_units and not self.servers


UNICORN = "^unicorn|^[^ ]*ruby[^ ]* .*unicorn"
"""Command lines of unicorn: by its own title, or as Ruby starts it; not an editor or a pager with a file of that name."""


@reading(
    rf"""
command -v pgrep >/dev/null || {{ echo "pgrep is not installed" >&2; exit 3; }}
for u in "$UNIT" $LEGACY_UNITS; do printf 'unit\t%s\t%s\n' "$u" "$(prop "$u" ActiveState)"; done
for p in $(pgrep -u "$(id -u)" -f '{UNICORN}'); do
  cwd=$(readlink "/proc/$p/cwd") || continue
  case $cwd in "$ROOT"/*) ;; *) continue ;; esac
  words=$(tr '\000\t\n' '   ' <"/proc/$p/cmdline")
  printf 'server\t%s\t%s\t%s\t%s\t%s\n' "$p" "$(started "$p")" "$(cgroup_of "$p")" "$cwd" "$words"
done
""",
    on="here",
)
def activity(raw: Raw, c: Context) -> Activity:
    """What of the application runs on a host, by systemd and by the processes (one started by hand has no unit)."""
    units, servers = [], []
    for kind, fields in records(observed(raw, c.at), c.at, unit=2, server=5):
        if kind == "unit":
            if not fields[1]:
                raise Unobservable(f"{c.at}: systemd does not say whether {fields[0]} is active: {raw.err.strip()}")
            units.append((fields[0], fields[1]))
        elif fields[1]:
            pid, started = number(fields[0], "a process", c.at), number(fields[1], "a start time", c.at)
            servers.append(Server(pid, started, fields[2], fields[3], fields[4].strip()))
    if not units:
        raise Unobservable(f"{c.at}: no answer about the units")
    return Activity(tuple(units), tuple(servers))
