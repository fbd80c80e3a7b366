"""The lab as one object: two hosts, a shared home, named states."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lab import connection, images, layers, needs, network, seed
from lab.cache import Cache, default_root, remove_tree
from lab.command_line import typed
from lab.errors import Busy, NotRunning, UnknownName
from lab.host import Host, Overlay
from lab.layers import Notes
from lab.machine import Machine, Role
from lab.network import Network
from lab.record import Record
from lab.state import State, ancestry, find

Progress = Callable[[str], None]
CHECKOUT = Path(__file__).resolve().parent.parent
DEFAULT_STATE = "migrated"
ROLES: dict[str, Role] = {"werewolves": "legacy", "vampires": "app"}
NUMBERS = {"werewolves": 11, "vampires": 12}


class Lab:
    """One lab; several with different names run side by side.

    machines    "werewolves" (Debian 12, legacy) and "vampires" (Debian 13, app)
    home        the shared /home as seen from outside, while the lab is up
    directory   .lab/NAME in the checkout: key, known_hosts, ssh_config, ca.pem, target.toml
    sizes       how much may be changed in "home" or on a host (e.g. {"home": "400M"}), for disks that can be filled;
                counts from the next boot into a state
    facts       what a state's build found out; kept with the state and written into target.toml, one TOML table
                for each key whose value is a dict, e.g. facts["ruby"] = {"version": "3.3.8"}
    """

    def __init__(self, name: str, states: Mapping[str, State[Lab]], progress: Progress) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,30}", name):
            raise UnknownName(f"{name!r} cannot name a lab: use up to 31 letters, digits, - and _.")
        self.name = name
        self._states = states
        self.say = progress
        self.directory = CHECKOUT / ".lab" / name
        self.cache = Cache(default_root(), progress)
        # Other checkouts may have a lab of this name.
        self._ident = hashlib.sha256(str(self.directory).encode()).hexdigest()[:6]
        self._folder = self.cache.path("labs", f"{name}-{self._ident}")
        self._hosts = {host: Host(host, f"hkl{self._ident}{host[0]}", self._folder / host) for host in ROLES}
        self._home = Overlay(self._folder / "home")
        self.sizes: dict[str, str] = {}
        self._notes = Notes()
        self._record = Record.read(self.directory)
        self.home = self._home.root
        self.machines: dict[str, Machine] = {}
        self._make_machines()
        if self._record and (self.directory / "notes.json").exists():
            self._notes = Notes.load(self.directory)

    @classmethod
    def open(cls, name: str, states: Mapping[str, State[Lab]], progress: Progress | None = None) -> Lab:
        """The lab of that name, running or not, which can be put into one of ``states``; touches nothing."""
        return cls(name, states, progress or (lambda _: None))

    @property
    def app(self) -> Machine:
        """The host that serves the site in the end (vampires)."""
        return self.machines["vampires"]

    @property
    def legacy(self) -> Machine:
        """The host that served it before (werewolves)."""
        return self.machines["werewolves"]

    @property
    def facts(self) -> dict[str, Any]:
        """See the class; what a build puts in is kept with its state."""
        return self._notes.facts

    @property
    def record(self) -> Record | None:
        """What is remembered of the running lab; None when it is down."""
        return self._record

    def running(self) -> bool:
        """Whether both hosts are up."""
        return all(host.leader() is not None for host in self._hosts.values())

    def up(self, state: str | None = None) -> bool:
        """Build what is missing, boot both hosts into ``state``, wait until settled. False: nothing was done.

        With None a running lab is left as it is, and one that is down boots into ``DEFAULT_STATE``. A running lab that
        was put into the wanted state and has no fault is left too; what else was changed on its hosts is not known.
        """
        with self._changing():
            wanted = find(state or DEFAULT_STATE, self._states)
            # What a killed `up` left may run, and was never settled.
            settled = self._record if self._record and self._record.state and self.running() else None
            if settled and (state is None or (settled.state == state and not settled.faults)):
                return False
            if not settled:
                # A running lab has shown that it fits, and uses the memory that would be missed.
                needs.check(self.cache)
                self.cache.check_fit()
                self._clear()
            self._go(wanted)
            self.cache.prune(["images", "states"], days=3)
            return True

    def state(self, name: str) -> None:
        """Put a running lab into a named state: power off, fresh upper layers, boot, settle."""
        with self._changing():
            wanted = find(name, self._states)
            self.require_running()
            self._go(wanted)

    def down(self) -> None:
        """Power off; no mount, bridge, control group, process or file in /run stays. Safe to repeat."""
        with self._changing():
            self._clear()

    def clean(self) -> None:
        """down, and drop this lab's directory and the cache of images, states and artefacts."""
        self.down()
        others = [path.name for path in self.cache.path("labs", "").glob("*")]
        if others:
            raise Busy(f"The cache in {self.cache.root} is still used by {', '.join(others)}; take it down first.")
        seed.forget(self.directory)
        remove_tree(self.cache.root)

    def built(self, name: str) -> bool:
        """Whether all that the state of that name stands on is in the cache, so that entering it builds nothing."""
        hashed = layers.source_hash()
        line = ancestry(find(name, self._states), self._states)
        folders = [layers.folder_name(line[depth:], hashed) for depth in range(len(line))]
        return images.built(self.cache) and all(self.cache.has("states", folder) for folder in folders)

    def require_running(self) -> None:
        """Raise NotRunning unless both hosts are up."""
        if not self.running():
            raise NotRunning(f"The lab {self.name!r} is not running; start it with {self._command('up')}.")

    def artefact(self, kind: str, key: str, build: Callable[[Path], None]) -> Path:
        """A cached folder KIND-KEY, made by ``build(empty folder)`` when it is not there; safe among processes.

        ``key`` must name all that goes in (a version, a hash). A failing build leaves nothing.
        """
        return self.cache.artefact("artefacts", f"{kind}-{key}", build)

    def publish(self, name: str, text: str) -> None:
        """Put a file (e.g. "ca.pem") into ``directory``; called in a state's build it is kept with that state."""
        self._notes.files[name] = text
        self.write_connection()

    def point_apphost(self, machine: str) -> None:
        """Let the alias `apphost` mean that host, in ssh_config, known_hosts and both hosts' /etc/hosts.

        It means vampires after every boot.
        """
        self.write_connection(apphost=machine)
        for host in self.machines.values():
            host.write("/etc/hosts", seed.hosts_file(self.addresses, machine))
            host.write("/etc/ssh/ssh_known_hosts", (self.directory / "known_hosts").read_text())

    def reboot(self, machine: str) -> None:
        """Restart one host as it stands (its changes stay); returns when it is ready."""
        host, inside = self._hosts[machine], self.machines[machine]
        host.reboot(lambda: inside.run("systemctl reboot", check=False))
        self._await_users([inside])

    def remember_fault(self, name: str) -> None:
        """Note for `status` that this was broken on purpose."""
        if self._record:
            self._record.faults.append(name)
            self._record.write(self.directory)

    @property
    def addresses(self) -> dict[str, str]:
        """The hosts' addresses by name; empty strings while the lab is down."""
        return {name: machine.address for name, machine in self.machines.items()}

    def memory(self, machine: str) -> int:
        """Memory of that host's processes in bytes."""
        return self._hosts[machine].group.memory()

    def write_connection(self, apphost: str = connection.FORGE) -> None:
        """Write all files of ``directory`` that others use to reach the running lab."""
        directory, addresses = self.directory, self.addresses
        files = dict(self._notes.files)
        files["known_hosts"] = connection.known_hosts(seed.address_book(directory, addresses), addresses, apphost)
        files["ssh_config"] = connection.ssh_config(directory, addresses, apphost)
        files["target.toml"] = connection.toml(
            connection.target(directory, addresses, self.app.name, self._notes.facts)
        )
        files["notes.json"] = json.dumps(vars(self._notes))
        for name, text in files.items():
            (directory / name).write_text(text)
        connection.hand_over(directory)

    def _go(self, state: State[Lab]) -> None:
        """Build what ``state`` needs and enter it; whatever fails, nothing stays behind."""
        try:
            stacks = images.ensure(self.cache, self.say)
            stacks["home"] = self.cache.artefact("images", "home-1", seed.empty_home)
            lowers = {tree: [path] for tree, path in stacks.items()}
            hashed = layers.source_hash()
            line = ancestry(state, self._states)
            for depth in reversed(range(len(line))):
                layer = self.cache.artefact(
                    "states",
                    layers.folder_name(line[depth:], hashed),
                    partial(self._build, line[depth], dict(lowers)),
                )
                lowers = {tree: [layer / tree, *below] for tree, below in lowers.items()}
                self._notes = Notes.load(layer)
            if not line:
                self._notes = Notes()
            self._enter(state, lowers)
        except BaseException:
            self.say("clearing up")
            self._clear()
            raise

    def _build(self, state: State[Lab], lowers: dict[str, list[Path]], target: Path) -> None:
        self.say(f"building the state {state.name} (once)")
        notes = self._notes.copy()
        self._boot(lowers)
        self._notes = notes
        state.build(self)
        self.say(f"freezing the state {state.name}")
        for host in self._hosts.values():
            host.power_off(self.say)
        overlays = {name: host.overlay for name, host in self._hosts.items()} | {"home": self._home}
        for overlay in overlays.values():
            overlay.unmount()
        layers.freeze({tree: overlay.upper for tree, overlay in overlays.items()}, self._notes, target)

    def _enter(self, state: State[Lab], lowers: dict[str, list[Path]]) -> None:
        self._boot(lowers, self.sizes)
        self.say(f"settling into the state {state.name}")
        state.settle(self)
        assert self._record is not None
        self._record.state = state.name
        self._record.write(self.directory)

    def _boot(self, lowers: dict[str, list[Path]], sizes: Mapping[str, str] = MappingProxyType({})) -> None:
        """Both hosts anew on those layers, up to their users' managers."""
        self.say("booting werewolves and vampires")
        self._end_hosts()
        used = self._network()
        used.create()
        self._home.mount(lowers["home"], sizes.get("home"))
        public = seed.address_book(self.directory, self.addresses)
        known = connection.known_hosts(public, self.addresses, connection.FORGE)
        for name, host in self._hosts.items():
            host.overlay.mount(lowers[name], sizes.get(name))
            seed.host(host.overlay.root, name, self.addresses, self.directory, known)
            host.boot(used.bridge, self.home)
        for host in self._hosts.values():
            host.wait_ready()
        self._await_users(list(self.machines.values()))
        self.write_connection()

    def _await_users(self, machines: list[Machine]) -> None:
        for machine in machines:
            for user in ("hkn", "otherorg"):
                machine.wait_until("systemctl --user is-system-running --wait | grep -qE 'running|degraded'", user=user)

    def _network(self) -> Network:
        if self._record is None:
            self._record = Record.of(network.choose(self._ident))
            self._record.write(self.directory)
            self._make_machines()
        return self._record.network

    def _end_hosts(self) -> None:
        for host in self._hosts.values():
            host.destroy()
        self._home.drop()
        if self._record:
            self._record.state, self._record.faults = None, []
            self._record.write(self.directory)

    def _clear(self) -> None:
        self._end_hosts()
        network.remove_link(f"hkl-{self._ident}")
        remove_tree(self._folder)
        self._record = None
        for name in ("lab.json", "target.toml", "notes.json", "ssh_config"):
            (self.directory / name).unlink(missing_ok=True)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        needs.check_root()
        try:
            with self.cache.lock(f"lab-{self._ident}", None):
                self._record = Record.read(self.directory)
                self._make_machines()
                yield
        except BlockingIOError:
            raise Busy(f"The lab {self.name!r} is being changed by another command; wait for it to end.") from None

    def _make_machines(self) -> None:
        used = self._record.network if self._record else None
        self.machines = {
            name: Machine(
                name,
                ROLES[name],
                used.address(NUMBERS[name]) if used else "",
                host.overlay.root,
                host.leader,
                host.shell_group,
            )
            for name, host in self._hosts.items()
        }

    def _command(self, words: str) -> str:
        return typed(words, self.name)
