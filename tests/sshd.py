"""A real sshd on loopback for tests, in a directory of its own; it ends with the test."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hosts.errors import Layer
from hosts.loader import HERE, build
from hosts.schema import Host, Inventory
from lab.connection import toml

BINARY = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
needs_sshd = pytest.mark.skipif(BINARY is None, reason="no sshd here: apt-get install openssh-server")


@dataclass
class Sshd:
    """A running sshd, its client's files, and an inventory of one host that leads to it."""

    folder: Path
    port: int
    user: str
    inv: Inventory
    pid: int

    @property
    def host(self) -> Host:
        return self.inv.app_host

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def config(self) -> Path:
        return self.folder / "ssh_config"

    def client(self, *extra: str, key: str = "client") -> None:
        """Write the client's ssh_config anew, with `extra` lines first, as the first value wins."""
        lines = [
            "Host app",
            *extra,
            "HostName 127.0.0.1",
            f"Port {self.port}",
            f"IdentityFile {self.folder}/{key}",
            "IdentitiesOnly yes",
            f"UserKnownHostsFile {self.known_hosts}",
            f"GlobalKnownHostsFile {self.folder}/none",
        ]
        self.config.write_text("\n".join(lines) + "\n")

    def trust(self, key: str = "host_ed25519", name: str = "") -> None:
        """Record a public key as the host's."""
        kind, blob, *_ = (self.folder / f"{key}.pub").read_text().split()
        self.known_hosts.write_text(f"{name or f'[127.0.0.1]:{self.port}'} {kind} {blob}\n")


def keygen(file: Path, passphrase: str = "", kind: str = "ed25519") -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", file.name, "-f", str(file)], check=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def inventory(folder: Path, user: str, host: str = "app") -> Inventory:
    """The lab's inventory, led to one host through the folder's ssh_config."""
    data = dict(tomllib.loads((HERE / "lab.toml").read_text()))
    data["connect"] = {"ssh_config": str(folder / "ssh_config"), "timeout": 5.0, "user": user}
    data["hosts"] = {host: {"role": "app", "address": f"{host}.invalid", "hostname": socket.gethostname()}}
    return build([Layer(folder / "target.toml", data)], "test")


@contextmanager
def running(folder: Path, *settings: str, mounts: str = "") -> Iterator[Sshd]:
    """Run an sshd with extra `settings` until the block ends; `mounts` is shell for a mount namespace of its own."""
    assert BINARY is not None
    for name in ("host_ed25519", "client"):
        if not (folder / name).exists():
            keygen(folder / name)
    port, user = free_port(), getpass.getuser()
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    (folder / "authorized").write_text("".join(p.read_text() for p in folder.glob("client*.pub")))
    options = [
        *settings, f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {folder}/host_ed25519", "PidFile none", "UsePAM no",
        f"AuthorizedKeysFile {folder}/authorized", "StrictModes no", "PermitRootLogin yes", "PasswordAuthentication no",
        # Another home, so that nobody's .bashrc has a say in how long an exec takes.
        "KbdInteractiveAuthentication no", f"SetEnv HOME={folder}",
    ]  # fmt: skip
    (folder / "sshd_config").write_text("\n".join(options) + "\n")
    log = (folder / "sshd.log").open("w")
    words = [BINARY, "-D", "-e", "-f", str(folder / "sshd_config")]
    if mounts:
        words = ["unshare", "--mount", "sh", "-ec", f'{mounts}\nexec "$@"', "sh", *words]
    process = subprocess.Popen(words, stderr=log)
    try:
        _wait(port, process, folder)
        sshd = Sshd(folder, port, user, inventory(folder, user), process.pid)
        sshd.client()
        sshd.trust()
        yield sshd
    finally:
        process.terminate()
        process.wait(timeout=10)
        log.close()


def _wait(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"sshd did not start: {(folder / 'sshd.log').read_text()}")


def inventory_of(sshd: Sshd, host: str = "app") -> str:
    """The text of an inventory that leads through the sshd's ssh_config to one host; no public address is asked."""
    whole = msgspec.to_builtins(inventory(sshd.folder, sshd.user, host))
    whole["web"]["urls"] = []
    return toml(_given(whole))


def _given(table: dict[str, Any]) -> dict[str, Any]:
    """What a file says: nothing that the loader fills in, and nothing that is left out."""
    kept = {key: value for key, value in table.items() if value is not None and key not in {"name", "file"}}
    return {key: _given(value) if isinstance(value, dict) else value for key, value in kept.items()}
