"""The forty properties that every tool in the comparison can express: one list, which each peer's runner renders.

They hold in the lab's state ``prod``, on its app host, and can all be read by the account itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["mode", "owner", "link", "package", "service", "user"]

HOME = "/home/h/hk/hkn"
STAGE = f"{HOME}/hkn-rails/prod"
SHARED = (
    "log", "private", "public/examfiles", "public/files", "public/images", "public/pictures", "tmp/pids", "tmp/cache",
    "tmp/sockets", "config/database.yml",
)  # fmt: skip


@dataclass(frozen=True)
class Property:
    """One assertion: a file's mode, a folder's owner, a link's target, a package that is installed, a system service that
    is enabled and runs, or a user's number; `value` is what is expected."""

    kind: Kind
    name: str
    value: str = ""


PROPERTIES: tuple[Property, ...] = (
    *(Property("mode", f"/etc/{name}", "644") for name in ("passwd", "group", "fstab", "debian_version", "login.defs")),
    *(Property("mode", f"/etc/{name}", "644") for name in ("ssh/sshd_config", "nginx/nginx.conf", "logrotate.conf")),
    Property("mode", "/usr/bin/git", "755"),
    Property("mode", f"{HOME}/.config/systemd/user/hkn-rails.service", "644"),
    Property("mode", f"{STAGE}/shared/config/database.yml", "600"),
    Property("mode", f"{STAGE}/shared/config/secrets.yml", "600"),
    *(Property("owner", path, "root") for path in ("/etc/nginx", "/etc/ssh", "/srv/apps")),
    Property("owner", "/srv/apps/hkn", "hkn"),
    *(Property("owner", f"{STAGE}/{name}", "hkn") for name in ("releases", "shared", "shared/log", "shared/public/files")),
    *(Property("link", f"{STAGE}/current/{name}", f"{STAGE}/shared/{name}") for name in SHARED),
    *(Property("package", name) for name in ("nginx-light", "openssh-server", "git", "ruby", "logrotate", "curl")),
    *(Property("service", name) for name in ("nginx", "ssh")),
    Property("user", "hkn", "5000"),
    Property("user", "otherorg", "5001"),
)


def of(kind: Kind, properties: tuple[Property, ...] = PROPERTIES) -> list[Property]:
    """The properties of one kind, in order."""
    return [each for each in properties if each.kind == kind]


def drifted(properties: tuple[Property, ...] = PROPERTIES) -> tuple[Property, ...]:
    """The list with one expectation that does not hold, to see whether a tool notices."""
    first, *rest = properties
    return (Property(first.kind, first.name, "600"), *rest)
