"""A host for steps, made of folders: a home, a runtime directory, and a systemctl that keeps its units as files."""

from __future__ import annotations

import getpass
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converge.journal.lock import acting
from converge.steps import Act, Condition, Step
from converge.steps.compile import compile_step, compile_undo
from converge.steps.fence import Fence
from converge.transport import LocalLink
from hosts.schema import Inventory

SYSTEMCTL = r"""#!/bin/sh
cd "$HOME/units-state" || exit 1
[ "$1" = --user ] || { echo "not --user" >&2; exit 1; }
shift
echo "$*" >>calls
is() { cat "$1.$2" 2>/dev/null || echo "$3"; }
case "$1" in
  start|restart)
    if [ -e "$2.breaks" ] && sh "$2.breaks"; then echo failed >"$2.active"; exit 1; fi
    [ -e "$2.gated" ] || echo active >"$2.active" ;;
  stop) echo inactive >"$2.active" ;;
  enable) echo enabled >"$2.enabled" ;;
  disable) echo disabled >"$2.enabled" ;;
  is-enabled) is "$2" enabled disabled ;;
  list-jobs) cat jobs 2>/dev/null ;;
  show) case "$4" in
    ActiveState) echo "ActiveState=$(is "$2" active inactive)" ;;
    LoadState) echo "LoadState=$(is "$2" load loaded)" ;;
    *) echo "$4=no" ;;
    esac ;;
esac
exit 0
"""

SYSTEMD_CAT = """#!/bin/sh
while IFS= read -r line; do printf '%s: %s\\n' "$*" "$line" >>"$HOME/said"; done
"""


@dataclass
class World:
    """The host's folders and what was done there."""

    top: Path
    inv: Inventory
    count: int = 0
    link: LocalLink = field(default_factory=LocalLink)

    @property
    def home(self) -> Path:
        return Path(self.inv.account.home)

    @property
    def root(self) -> Path:
        return Path(self.inv.stages.root)

    @property
    def sockets(self) -> Path:
        return Path(self.inv.web.socket_dir)

    @property
    def said(self) -> list[str]:
        """What was said in the account's journal."""
        file = self.home / "said"
        return file.read_text().splitlines() if file.exists() else []

    def kill_steps(self, kill: bool = True) -> None:
        """From now on the shell of a step is killed as its program begins, and leaves no result; until nobody kills."""
        fake = self.top / "bin/timeout"
        fake.write_text('#!/bin/sh\n[ "$1$2" != -k180 ] || kill -s KILL $PPID\nexec /usr/bin/timeout "$@"\n')
        fake.chmod(0o755)
        if not kill:
            fake.unlink()
            end = time.monotonic() + 10
            while acting(self.link) and time.monotonic() < end:
                time.sleep(0.05)

    def unit(self, name: str, kind: str) -> str:
        file = self.home / "units-state" / f"{name}.{kind}"
        return file.read_text().strip() if file.exists() else ""

    def fence(self, **changes: Any) -> Fence:
        settings: dict[str, Any] = {
            "roots": (str(self.root), self.inv.units_dir, str(self.sockets), "$XDG_RUNTIME_DIR"),
            "attic": self.inv.attic,
            "run_id": "R1",
            "protected": (self.inv.shared, f"{self.sockets}/dev.sock"),
            "units": ("app.service", "app-old.service"),
            "hostname": os.uname().nodename,
            "account": getpass.getuser(),
        }
        return Fence(**{**settings, **changes})

    def act(self, *acts: Act, when: tuple[Condition, ...] = (), fence: Fence | None = None, own_group: bool = False) -> Done:
        """Run a step of these acts."""
        self.count += 1
        step = Step(f"S/{self.count}", "new", "try it", acts, when)
        made = (step, "", fence or self.fence(), f"{self.count:03d}")
        done = self._run(compile_step(*made), own_group=own_group)
        return Done(done.returncode, done.stdout, done.stderr, self, compile_undo(*made) or "")

    def _run(self, script: str, *, own_group: bool = False) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", script], capture_output=True, text=True, timeout=30, check=False, start_new_session=own_group
        )


@dataclass
class Done:
    """How a step ended."""

    rc: int
    out: str
    err: str
    world: World
    undo_script: str

    def undo(self) -> Done:
        """Take it back."""
        done = self.world._run(self.undo_script)
        return Done(done.returncode, done.stdout, done.stderr, self.world, "")


def build(top: Path, inventory: Inventory, monkeypatch: Any) -> World:
    """The folders, and the environment that makes scripts take them for a host."""
    home = top / "home"
    app = inventory.app
    inv = inventory.changed(
        {
            "hosts": {
                name: host.changed({"hostname": os.uname().nodename}) for name, host in inventory.hosts.items()
            },
            "account": inventory.account.changed({"home": str(home), "user": getpass.getuser()}),
            "app": app.changed({"logrotate_config": f"{home}/rotate/conf", "logrotate_state": f"{home}/rotate/state"}),
            "stages": inventory.stages.changed({"root": f"{home}/app", "linked_dirs": ["log", "private", "tmp/pids"]}),
            "web": inventory.web.changed(
                {"socket_dir": f"{top}/sockets", "allowed_sockets": ["dev.sock"], "listen": f"{top}/sockets/app.sock"}
            ),
        }
    )
    places = [f"{top}/{name}" for name in ("sockets", "bin", "run")]
    for folder in (f"{inv.shared}/private", inv.units_dir, f"{home}/units-state", *places):
        Path(folder).mkdir(parents=True)
    for name, text in {"systemctl": SYSTEMCTL, "systemd-cat": SYSTEMD_CAT}.items():
        (top / "bin" / name).write_text(text)
        (top / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{top}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"{top}/run")
    return World(top, inv)
