"""What a lab lays into its hosts' file systems before they boot: names, addresses, keys."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from lab import connection
from lab.machine import ACCOUNTS

SKELETON = {".profile": '[ -n "$BASH_VERSION" ] && [ -f ~/.bashrc ] && . ~/.bashrc\n', ".bashrc": ""}


def hosts_file(addresses: Mapping[str, str], apphost: str) -> str:
    """/etc/hosts for every host of the lab."""
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    lines += [" ".join([address, name, *connection.aliases(name, apphost)]) for name, address in addresses.items()]
    return "\n".join(lines) + "\n"


def network_file(address: str) -> str:
    """systemd-networkd's file for a host; there is no route out of the lab."""
    return f"[Match]\nName=host0\n\n[Network]\nAddress={address}/24\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"


def host(root: Path, name: str, addresses: Mapping[str, str], keys: Path, known_hosts: str) -> None:
    """Give the mounted file system of one host its identity; ``keys`` has key.pub and hostkeys/NAME."""
    files = {
        "etc/hostname": f"{name}\n",
        "etc/hosts": hosts_file(addresses, connection.FORGE),
        # The same in every lab, so that the journal of a frozen state stays the host's own.
        "etc/machine-id": hashlib.md5(name.encode(), usedforsecurity=False).hexdigest() + "\n",
        "etc/systemd/network/10-host0.network": network_file(addresses[name]),
        "etc/ssh/ssh_known_hosts": known_hosts,
        "etc/ssh/ssh_host_ed25519_key": (keys / "hostkeys" / name).read_text(),
        "etc/ssh/ssh_host_ed25519_key.pub": (keys / "hostkeys" / f"{name}.pub").read_text(),
        **{f"etc/ssh/keys/{account}": (keys / "key.pub").read_text() for account in ACCOUNTS},
    }
    for path, text in files.items():
        file = root / path
        file.unlink(missing_ok=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o600 if path.endswith("ed25519_key") else 0o644)
        os.chown(file, 0, 0)


def empty_home(target: Path) -> None:
    """The shared /home when nobody has put anything there yet."""
    for account in ACCOUNTS.values():
        path = Path(account.home)
        if path.parts[1] != "home":
            continue
        home = target / path.relative_to("/home")
        home.mkdir(parents=True)
        for name, text in SKELETON.items():
            (home / name).write_text(text)
            os.chown(home / name, account.uid, account.uid)
        os.chown(home, account.uid, account.uid)
    for folder, _, _ in os.walk(target):
        Path(folder).chmod(0o755)


def address_book(directory: Path, addresses: Mapping[str, str]) -> dict[str, str]:
    """Make the lab's own key and the hosts' keys where they are missing; the hosts' public keys by name."""
    (directory / "hostkeys").mkdir(parents=True, exist_ok=True)
    connection.ensure_key(directory / "key", "the lab")
    public = {}
    for name in addresses:
        connection.ensure_key(directory / "hostkeys" / name, name)
        public[name] = (directory / "hostkeys" / f"{name}.pub").read_text()
    return public


def forget(directory: Path) -> None:
    """Remove the lab's directory, keys included."""
    shutil.rmtree(directory, ignore_errors=True)
