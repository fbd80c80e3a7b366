"""What others need to reach a running lab: keys, known_hosts, ssh_config and the inventory's overlay."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SITE = "hkn.eecs.berkeley.edu"
FORGE = "vampires"


def ensure_key(path: Path, comment: str) -> None:
    """An ed25519 key pair without passphrase at ``path`` and ``path``.pub, made if it is not there."""
    if not path.exists():
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def known_hosts(public_keys: Mapping[str, str], addresses: Mapping[str, str], apphost: str) -> str:
    """One line for each host under all its names; ``public_keys`` are the lines of the .pub files."""
    lines = []
    for host, line in public_keys.items():
        kind, key = line.split()[:2]
        lines.append(f"{','.join([host, addresses[host], *aliases(host, apphost)])} {kind} {key}\n")
    return "".join(lines)


def aliases(host: str, apphost: str) -> list[str]:
    """The further names of a host."""
    return (["apphost"] if host == apphost else []) + (["forge"] if host == FORGE else [])


def ssh_config(directory: Path, addresses: Mapping[str, str], apphost: str) -> str:
    """An ssh_config for all names of the hosts, with the lab's own key and known_hosts and nothing of the user's."""
    entries = [(host, address, "hkn") for host, address in addresses.items()]
    entries += [("apphost", addresses[apphost], "hkn"), ("forge", addresses[FORGE], "git")]
    return "\n".join(
        f"Host {name}\n"
        f"    HostName {address}\n"
        f"    User {user}\n"
        f"    HostKeyAlias {name}\n"
        f'    IdentityFile "{directory / "key"}"\n'
        f'    UserKnownHostsFile "{directory / "known_hosts"}"\n'
        "    GlobalKnownHostsFile /dev/null\n"
        "    IdentitiesOnly yes\n"
        "    StrictHostKeyChecking yes\n"
        for name, address, user in entries
    )


def target(directory: Path, addresses: Mapping[str, str], app: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The inventory's overlay for this lab; a state's ``facts`` are added to it, table by table."""
    overlay: dict[str, Any] = {
        "connect": {"ssh_config": str(directory / "ssh_config")},
        "hosts": {host: {"address": addresses[host]} for host in sorted(addresses, key=lambda host: host != app)},
        "web": {"ca_file": str(directory / "ca.pem"), "resolve": {SITE: addresses[app]}},
    }
    return merged(overlay, facts)


def merged(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``extra`` laid over it, table by table."""
    result = dict(base)
    for key, value in extra.items():
        old = result.get(key)
        nested = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = merged(result[key], value) if nested else value
    return result


def toml(document: Mapping[str, Any]) -> str:
    """TOML of nested tables with strings, numbers, booleans and lists of them."""
    return "".join(_table("", document)).lstrip("\n")


def _table(name: str, table: Mapping[str, Any]) -> list[str]:
    plain = {key: value for key, value in table.items() if not _is_section(value)}
    lines = [f"\n[{name}]\n"] if name and (plain or not table) else []
    lines += [f"{_key(key)} = {_value(value)}\n" for key, value in plain.items()]
    for key, value in table.items():
        if _is_section(value):
            lines += _table(f"{name}.{_key(key)}" if name else _key(key), value)
    return lines


def _is_section(value: Any) -> bool:
    return isinstance(value, Mapping) and all(re.fullmatch(r"[\w-]+", key) for key in value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False)


def hand_over(directory: Path) -> None:
    """Give ``directory`` to whoever owns the folder that it is in: ssh refuses a key that belongs to another."""
    owner = directory.parent.parent.stat()
    for path in [directory.parent, directory, *directory.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
