"""The life of one host on this machine: overlay, control group, nspawn, network interface; and the end of them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import supervisor
from lab.cache import mounts_below, overlay_options, remove_tree
from lab.cgroups import HostGroup
from lab.errors import BootFailed, LabError
from lab.network import remove_link

BOOT_LIMIT = 60.0
OFF_LIMIT = 150.0
"""Seconds for a host to go down. systemd kills a service that does not end after 90 s, and a user's manager after 120 s
(`systemctl show -p TimeoutStopUSec user@5000`); a host that is slow to end is not one that cannot."""

SLOW = 5.0
"""Seconds after which a host that goes down is asked what it waits for; it takes one or two."""
NSPAWN_RUN = Path("/run/systemd/nspawn")


@dataclass(frozen=True)
class Overlay:
    """A writable tree: ``folder``/upper over read-only layers, seen at ``folder``/root while mounted."""

    folder: Path

    @property
    def root(self) -> Path:
        """Where the tree is seen."""
        return self.folder / "root"

    @property
    def upper(self) -> Path:
        """What was changed."""
        return self.folder / "upper"

    def mount(self, lowers: list[Path], size: str | None = None) -> None:
        """Mount it with an empty upper layer; ``lowers`` has the topmost first.

        With ``size`` (as mount takes it, e.g. "400M") no more than that can be changed, and the changes are kept in memory:
        such a layer cannot be frozen into a state.
        """
        remove_tree(self.folder)
        if size:
            self.folder.mkdir(parents=True)
            _mount("-t", "tmpfs", "-o", f"size={size},mode=755,inode32", "hkn-lab", str(self.folder))
        for part in (self.root, self.upper, self.folder / "work"):
            part.mkdir(parents=True)
        # Without it a changed file would be on another device than its directory, as a mount point is.
        one_device = ",xino=on" if size else ""
        # The root of an overlay has its owner and mode from the upper layer.
        self.upper.chmod(0o755)
        _mount("-t", "overlay", "hkn-lab", "-o", overlay_options(lowers, self.folder) + one_device, str(self.root))

    def unmount(self) -> None:
        """Unmount it and whatever is mounted in it; safe to repeat."""
        for point in mounts_below(self.folder):
            if subprocess.run(["umount", point], capture_output=True, check=False).returncode != 0:
                # Somebody stands in it. Detached, it goes when they leave, and is out of the way now.
                subprocess.run(["umount", "--lazy", point], check=True)

    def drop(self) -> None:
        """Unmount it and forget what was changed."""
        self.unmount()
        remove_tree(self.folder)


@dataclass(frozen=True)
class Host:
    """One host as a set of things on this machine, all named after ``unit``."""

    name: str
    unit: str
    folder: Path

    @property
    def overlay(self) -> Overlay:
        """Its file system."""
        return Overlay(self.folder / "disk")

    @property
    def group(self) -> HostGroup:
        """Its control group."""
        return HostGroup.find(self.unit)

    def leader(self) -> int | None:
        """The PID of its init on this machine, or None when it is off."""
        status = supervisor.read_status(self.folder)
        if status is None or status.leader is None or not Path(f"/proc/{status.leader}").exists():
            return None
        return status.leader if self.group.populated() else None

    def shell_group(self) -> Path | None:
        """The control group for commands that are run in it from outside."""
        return self.group.shell()

    def boot(self, bridge: str, home: Path) -> None:
        """Start it; its overlay must be mounted and the bridge be there."""
        group = self.group
        group.create()
        argv = [
            *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "--notify-ready=yes"),
            *("--directory", str(self.overlay.root), "--machine", self.unit, "--hostname", self.name),
            *("--network-bridge", bridge, f"--bind={_nspawn_path(home)}:/home"),
            *("--resolv-conf=off", "--timezone=off", "--link-journal=no"),
        ]
        supervisor.start(
            supervisor.Spec(
                argv,
                {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                [str(path) for path in group.paths],
                f"hkn-lab/{self.unit}",
                str(self.folder),
            )
        )

    def wait_ready(self, limit: float = BOOT_LIMIT) -> None:
        """Return when its init says that it has booted; BootFailed with the console's end otherwise."""
        deadline = time.monotonic() + limit
        while True:
            status = supervisor.read_status(self.folder)
            if status and status.ready:
                return
            if status and status.exit is not None:
                raise BootFailed(f"{self.name} ended while booting (status {status.exit}): {self.console_tail()}")
            if time.monotonic() > deadline:
                raise BootFailed(
                    f"{self.name} was not up after {limit:g} s: {self.console_tail()}. "
                    "If the machine is merely slow, try again."
                )
            time.sleep(0.02)

    def reboot(self, ask: Callable[[], object]) -> None:
        """Let ``ask`` make it reboot, and return when it has; BootFailed as for ``wait_ready``."""
        before = supervisor.read_status(self.folder)
        old = before.leader if before else None
        ask()
        deadline = time.monotonic() + OFF_LIMIT
        while (status := supervisor.read_status(self.folder)) and status.leader == old:
            if time.monotonic() > deadline:
                raise BootFailed(f"{self.name} did not go down for its reboot in {OFF_LIMIT:g} s: {self.console_tail()}")
            time.sleep(0.02)
        self.wait_ready()

    def power_off(self, say: Callable[[str], None], limit: float = OFF_LIMIT) -> None:
        """Shut it down in order, so that its disk is consistent; ``say`` is told what a slow one waits for.

        BootFailed, with what still runs, if it does not end within ``limit`` seconds.
        """
        status = supervisor.read_status(self.folder)
        if status is None or status.nspawn is None or status.exit is not None:
            return
        os.kill(status.nspawn, signal.SIGTERM)
        started, told = time.monotonic(), False
        while self.group.populated():
            passed = time.monotonic() - started
            if passed > SLOW and not told:
                say(f"{self.name} is slow to power off; it still runs {self._still()}")
                told = True
            if passed > limit:
                raise BootFailed(
                    f"{self.name} did not power off in {limit:g} s; it still runs {self._still()}; "
                    f"its console's end: {self.console_tail()}"
                )
            time.sleep(0.02)

    def _still(self) -> str:
        return ", ".join(self.group.commands()) or "nothing"

    def destroy(self) -> bool:
        """End it at once and remove everything of it from this machine; also a crash's leftovers. Safe to repeat.

        Whether anything of it was still running.
        """
        supervisor.kill(self.folder)
        locks = self._nspawn_locks()
        was_running = self.group.kill()
        self.group.remove()
        remove_link(f"vb-{self.unit}")
        self.overlay.drop()
        remove_tree(self.folder)
        remove_tree(NSPAWN_RUN / "propagate" / self.unit)
        for lock in locks:
            lock.unlink(missing_ok=True)
        return was_running

    def _nspawn_locks(self) -> list[Path]:
        """nspawn's own lock file for the tree that it runs, which it leaves behind when it is killed."""
        if not self.overlay.root.is_mount():
            return []
        tree = self.overlay.root.stat()
        return [NSPAWN_RUN / "locks" / f"inode-{tree.st_dev}:{tree.st_ino}"]

    def console_tail(self, lines: int = 8) -> str:
        """The last lines that it wrote to its console."""
        try:
            text = (self.folder / "console.log").read_text(errors="replace")
        except FileNotFoundError:
            return "(it wrote nothing to its console)"
        return " | ".join(text.splitlines()[-lines:]) or "(it wrote nothing to its console)"


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"`mount {' '.join(words)}` failed: {done.stderr.strip()}. `dmesg | tail` may say more.")


def _nspawn_path(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace(":", "\\:")
