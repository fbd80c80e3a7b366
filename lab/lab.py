"""The lab as one object: two hosts, a shared home, named states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.machine import Machine

Progress = Callable[[str], None]


@dataclass(frozen=True)
class State:
    """A named situation of both hosts.

    ``build`` runs once on freshly booted hosts that are in state ``base`` (None: bare images); what it changed is
    frozen after a clean power-off. ``settle`` waits, after each boot into the state, until it is as described.
    """

    name: str
    sentence: str
    base: str | None
    build: Callable[[Lab], None]
    settle: Callable[[Lab], None]


class Lab:
    """One lab; several with different names run side by side.

    machines    "werewolves" (Debian 12, legacy) and "vampires" (Debian 13, app)
    home        the shared /home as seen from outside, while the lab is up
    directory   .lab/NAME in the checkout: key, known_hosts, ssh_config, ca.pem, target.toml
    facts       what a state's build found out; kept with the state and written into target.toml, one TOML table
                for each key whose value is a dict, e.g. facts["ruby"] = {"version": "3.3.8"}
    """

    name: str
    machines: dict[str, Machine]
    home: Path
    directory: Path
    facts: dict[str, Any]
    say: Progress

    @classmethod
    def open(cls, name: str = "lab", progress: Progress | None = None) -> Lab:
        """The lab of that name, running or not; touches nothing."""
        raise NotImplementedError

    @property
    def app(self) -> Machine:
        """The host that serves the site in the end (vampires)."""
        return self.machines["vampires"]

    @property
    def legacy(self) -> Machine:
        """The host that served it before (werewolves)."""
        return self.machines["werewolves"]

    def up(self, state: str = "migrated") -> bool:
        """Build what is missing, boot both hosts into ``state``, wait until settled. False: it was so already."""
        raise NotImplementedError

    def state(self, name: str) -> None:
        """Put a running lab into a named state: power off, fresh upper layers, boot, settle."""
        raise NotImplementedError

    def down(self) -> None:
        """Power off; no mount, bridge, control group, process or file in /run stays. Safe to repeat."""
        raise NotImplementedError

    def clean(self) -> None:
        """down, and drop this lab's directory and the cache of images, states and artefacts."""
        raise NotImplementedError

    def artefact(self, kind: str, key: str, build: Callable[[Path], None]) -> Path:
        """A cached folder KIND-KEY, made by ``build(empty folder)`` when it is not there; safe among processes.

        ``key`` must name all that goes in (a version, a hash). A failing build leaves nothing.
        """
        raise NotImplementedError

    def publish(self, name: str, text: str) -> None:
        """Put a file (e.g. "ca.pem") into ``directory``; called in a state's build it is kept with that state."""
        raise NotImplementedError

    def point_apphost(self, machine: str) -> None:
        """Let the alias `apphost` mean that host, in ssh_config, known_hosts and both hosts' /etc/hosts.

        It means vampires after every boot.
        """
        raise NotImplementedError

    def reboot(self, machine: str) -> None:
        """Restart one host as it stands (its changes stay); returns when it is ready."""
        raise NotImplementedError
