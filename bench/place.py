"""The lab as one host at the end of a way: directly, or through the delay proxy; with the client's files for each."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measure import BenchError
from hosts.loader import HERE as INVENTORIES
from hosts.loader import generated, merged
from lab.connection import SITE, toml
from lab.lab import Lab
from lab.states import STATES

HOST = "vampires"
TOP = INVENTORIES.parent
NEAR = "127.77.0.1"
"""The delay proxy's address on this machine; a loopback address of its own, so that the site keeps its port."""
PORT = 7722
SETTLED = 20.0
"""Seconds after which no process of a host that has just booted is too young to be judged."""


@dataclass(frozen=True)
class Place:
    """How a client reaches the host: `folder` has its ssh_config, known_hosts and inventories."""

    folder: Path
    address: str
    port: int
    key: Path
    trip: float
    user: str = "hkn"

    @property
    def ssh_config(self) -> Path:
        """For one connection a command."""
        return self.folder / "ssh_config"

    @property
    def shared_config(self) -> Path:
        """For one connection that all commands of a run share."""
        return self.folder / "ssh_config_shared"

    @property
    def known_hosts(self) -> Path:
        """With the host's key under every name."""
        return self.folder / "known_hosts"

    @property
    def shared(self) -> Path:
        """Where the sockets of shared connections are; emptied before each run."""
        return self.folder / "mux"

    @property
    def target(self) -> Path:
        """An inventory of this one host."""
        return self.folder / "target.toml"

    @property
    def ms(self) -> int:
        """The round trip in milliseconds."""
        return round(self.trip * 1000)


def make(lab: Lab, folder: Path, trip: float) -> Place:
    """Write the client's files for a way to the lab's app host that takes `trip` seconds there and back."""
    folder.mkdir(parents=True)
    address, port = (NEAR, PORT) if trip else (lab.machines[HOST].address, 22)
    made = Place(folder, address, port, lab.directory / "key", trip)
    made.shared.mkdir(mode=0o700)
    entries = (lab.directory / "known_hosts").read_text().splitlines()
    kind, key = next(line.split()[1:3] for line in entries if HOST in line.split()[0].split(","))
    names = f"{HOST},forge,apphost,{address},[{address}]:{port}"
    made.known_hosts.write_text(f"{names} {kind} {key}\n")
    plain = "".join(_entry(made, name, "git" if name == "forge" else made.user) for name in (HOST, "apphost", "forge"))
    made.ssh_config.write_text(plain)
    sharing = f"    ControlMaster auto\n    ControlPersist 60\n    ControlPath {made.shared}/%C\n"
    made.shared_config.write_text(_entry(made, HOST, made.user) + sharing)
    made.target.write_text(inventory(made, lab.name))
    return made


def _entry(place: Place, name: str, user: str) -> str:
    return (
        f"Host {name}\n    HostName {place.address}\n    Port {place.port}\n    User {user}\n    HostKeyAlias {name}\n"
        f"    IdentityFile {place.key}\n    IdentitiesOnly yes\n    UserKnownHostsFile {place.known_hosts}\n"
        "    GlobalKnownHostsFile /dev/null\n    StrictHostKeyChecking yes\n    BatchMode yes\n"
    )


def inventory(place: Place, lab: str) -> str:
    """The lab's inventory as one file, with the old host out of service and the app host at this place."""
    data: dict[str, Any] = tomllib.loads((INVENTORIES / "lab.toml").read_text())
    data = merged(data, tomllib.loads(generated(lab).read_text()))
    there = {
        "connect": {"ssh_config": str(place.ssh_config)},
        "hosts": {HOST: {"address": HOST}, "werewolves": {"retired": True}},
        "web": {"resolve": {SITE: NEAR if place.trip else place.address}},
    }
    return toml(merged(data, there))


@contextmanager
def proxied(lab: Lab, trip: float) -> Iterator[None]:
    """Run the delay proxy before the lab's ssh and https until the block ends."""
    host = lab.machines[HOST].address
    ways = [f"{NEAR}:{PORT}={host}:22", f"{NEAR}:443={host}:443"]
    words = [sys.executable, "-m", "bench.proxy", str(trip), *ways]
    process = subprocess.Popen(words, cwd=TOP, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise BenchError(f"the delay proxy does not listen on {NEAR} ({process.wait()}): is another bench running?")
        yield
    finally:
        process.terminate()
        process.wait(timeout=10)


@contextmanager
def lab_in(name: str, state: str, say: Any, *, keep: bool = False) -> Iterator[Lab]:
    """A lab of the bench's own in a state; taken down afterwards unless it is to be kept."""
    lab = Lab.open(name, STATES, lambda text: say(f"lab: {text}"))
    lab.down()
    try:
        lab.up(state)
        yield lab
    finally:
        if not keep:
            lab.down()


def settle(say: Any) -> None:
    """Wait until no process of a host that has just booted is young."""
    say(f"waiting {SETTLED:g} s: what has just started is not judged yet")
    time.sleep(SETTLED)


def cpu_files(lab: Lab, hosts: Sequence[str] = (HOST,)) -> list[Path]:
    """Where the kernel counts what the hosts' processes use."""
    leaves = [lab.machines[name].shell_cgroup() for name in hosts]
    return [leaf.parents[1] / "cpu.stat" for leaf in leaves if leaf]


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
