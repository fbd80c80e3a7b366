"""The way to a host: the inventory and the person's ssh_config, put together."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from paramiko import SSHConfig
from paramiko.ssh_exception import SSHException

from converge.transport.link import Unreached
from hosts.schema import Host, Inventory

SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"
DEFAULT_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")
INCLUDES = 16
"""How deep files may include each other, as in OpenSSH."""


@dataclass(frozen=True, slots=True)
class Way:
    """Everything that a connection to one machine needs. `where` says which setting named it, for messages."""

    name: str
    address: str
    port: int
    user: str
    key_alias: str
    known_hosts: tuple[Path, ...]
    identities: tuple[Path, ...]
    identities_only: bool
    command: str | None
    jumps: tuple[str, ...]
    timeout: float
    where: str
    contact: str

    @property
    def at(self) -> str:
        """Address and port, for messages."""
        return f"{self.address} port {self.port}"


@dataclass(frozen=True)
class Roads:
    """One ssh_config and what the inventory says of connecting."""

    inv: Inventory
    file: str
    text: str
    config: SSHConfig

    @classmethod
    def of(cls, inv: Inventory) -> Roads:
        """Read the inventory's ssh_config, else the person's and the system's.

        Raises:
            Unreached: it is missing or cannot be understood.
        """
        file, text = config_of(inv)
        try:
            config = SSHConfig.from_text(text)
        except (SSHException, ValueError) as problem:
            seen = f"{file} cannot be understood: {problem}"
            raise Unreached(inv.name, "configuration", seen, "Correct that line of the file.") from None
        return cls(inv, str(file), text, config)

    def to(self, host: Host) -> Way:
        """The way to a host of the inventory."""
        found = self._lookup(alias_of(self.inv, self.text, host))
        user = self.inv.connect.user or found.get("user") or self.inv.account.user
        where = f"hosts.{host.name}.address in {self.inv.file}"
        return self._way(host.name, found, user=user, port=host.port, where=where)

    def jump(self, spec: str) -> Way:
        """The way to a ProxyJump host, ``[user@]host[:port]``."""
        rest = spec.removeprefix("ssh://")
        user, _, rest = rest.rpartition("@")
        match = re.fullmatch(r"\[?([^\]]+?)\]?(?::(\d+))?", rest)
        host, port = (match[1], match[2]) if match else (rest, None)
        found = self._lookup(host)
        user = user or found.get("user") or getpass.getuser()
        return self._way(f"jump host {host}", found, user=user, port=int(port) if port else None, where=self.file)

    def _lookup(self, alias: str) -> dict[str, Any]:
        try:
            return dict(self.config.lookup(alias))
        except (SSHException, ValueError, KeyError) as problem:
            seen = f"{self.file} cannot be applied to {alias}: {problem}"
            raise Unreached(alias, "configuration", seen, "Correct that setting of the file.") from None

    def _way(self, name: str, found: dict[str, Any], *, user: str, port: int | None, where: str) -> Way:
        ssh = Path.home() / ".ssh"
        identities = [Path(i).expanduser() for i in found.get("identityfile", []) if i.lower() != "none"]
        known = found.get("userknownhostsfile", f"{ssh}/known_hosts {ssh}/known_hosts2").split()
        known += found.get("globalknownhostsfile", SYSTEM_KNOWN_HOSTS).split()
        jumps = found.get("proxyjump") or "none"
        return Way(
            name=name,
            address=found["hostname"],
            port=port or int(found.get("port", 22)),
            user=user,
            key_alias=found.get("hostkeyalias", ""),
            known_hosts=tuple(Path(k.strip('"').replace("%d", str(Path.home()))).expanduser() for k in known),
            identities=tuple(identities or [ssh / i for i in DEFAULT_IDENTITIES]),
            identities_only=found.get("identitiesonly", "no").lower() == "yes",
            command=found.get("proxycommand") if jumps == "none" else None,
            jumps=() if jumps.lower() == "none" else tuple(j.strip() for j in jumps.split(",")),
            timeout=self.inv.connect.timeout,
            where=where,
            contact=self.inv.connect.contact,
        )


def config_of(inv: Inventory) -> tuple[Path, str]:
    """The inventory's ssh_config, else the person's and the system's: its file, and all its lines.

    Raises:
        Unreached: the file that the inventory names does not exist.
    """
    own = inv.connect.ssh_config
    file = Path(own).expanduser() if own else Path.home() / ".ssh" / "config"
    if own and not file.is_file():
        mend = f"Correct connect.ssh_config in {inv.file}, or create the file."
        raise Unreached(inv.name, "configuration", f"the ssh_config {file} does not exist", mend)
    text = "\n".join(expanded(file))
    if not own:
        text += "\nHost *\n" + "\n".join(expanded(SYSTEM_CONFIG))
    return file, text


def alias_of(inv: Inventory, text: str, host: Host) -> str:
    """What a host is called in an ssh_config: one of the inventory's own may know it by its name there."""
    known = inv.connect.ssh_config is not None and named(text, host.name)
    return host.name if known else host.address


def expanded(file: Path, depth: int = 0) -> Iterator[str]:
    """The lines of an ssh_config with its Include lines replaced by what they name; nothing if it cannot be read."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return
    block = "Host *"
    for line in lines:
        key, _, value = line.strip().replace("=", " ", 1).partition(" ")
        if key.lower() in {"host", "match"}:
            block = line
        if key.lower() != "include":
            yield line
            continue
        for pattern in value.split() if depth < INCLUDES else []:
            path = Path(pattern.strip('"')).expanduser()
            base = SYSTEM_CONFIG.parent if file.is_relative_to(SYSTEM_CONFIG.parent) else Path.home() / ".ssh"
            path = path if path.is_absolute() else base / path
            for name in sorted(path.parent.glob(path.name)):
                yield from expanded(name, depth + 1)
        # A block that an included file opened ends with that file.
        yield block


def named(text: str, alias: str) -> bool:
    """Whether a Host line of an ssh_config names `alias` by more than a bare ``*``."""
    patterns = [p for line in re.findall(r"(?im)^\s*host[ \t=]+(.+)$", text) for p in line.split()]
    return any(fnmatchcase(alias, p) for p in patterns if p != "*")
