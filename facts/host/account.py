"""The account on a host: where a login lands, its groups, its user manager and linger, and its home."""

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
