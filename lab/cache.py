"""The cache directory: what is expensive to make is made once, under a name that says what went in."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.errors import CacheUnfit, LabError

Say = Callable[[str], None]


def default_root() -> Path:
    """$LAB_CACHE, else hkn-lab below $XDG_CACHE_HOME or ~/.cache."""
    if chosen := os.environ.get("LAB_CACHE"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base).absolute() / "hkn-lab"


@dataclass(frozen=True)
class Cache:
    """A directory with one folder for each kind of thing; safe to be used by several processes at a time."""

    root: Path
    say: Say = print

    def path(self, kind: str, name: str) -> Path:
        """Where that thing is, or would be."""
        return self.root / kind / name

    def has(self, kind: str, name: str) -> bool:
        """Whether it is there, complete."""
        return self.path(kind, name).is_dir()

    def artefact(self, kind: str, name: str, build: Callable[[Path], None]) -> Path:
        """The folder, made by ``build(empty folder)`` if it is not there.

        It appears under its name only when complete; whoever asks meanwhile waits. A failing build leaves nothing.
        """
        path = self.path(kind, name)
        if not path.is_dir():
            self._make(kind, name, path, build)
        _stamp(path).touch()
        return path

    def _make(self, kind: str, name: str, path: Path, build: Callable[[Path], None]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.lock(f"{kind}-{name}", f"{kind}/{name} is being made by another process; waiting"):
            if path.is_dir():
                return
            part = path.with_name(f".{name}.part")
            remove_tree(part)
            part.mkdir()
            try:
                build(part)
                part.rename(path)
            except BaseException:
                remove_tree(part)
                raise

    def prune(self, kinds: Iterable[str], days: float) -> None:
        """Remove things of those kinds that nobody asked for in so many days, and no overlay stands on."""
        mounted = Path("/proc/self/mountinfo").read_text()
        for kind in kinds:
            for path in self.path(kind, "").glob("[!.]*"):
                stamp = _stamp(path)
                used = (stamp if stamp.exists() else path).stat().st_mtime
                if time.time() - used > days * 86400 and str(path) not in mounted:
                    remove_tree(path)
                    stamp.unlink(missing_ok=True)

    @contextmanager
    def lock(self, name: str, waiting: str | None) -> Iterator[None]:
        """Hold a lock among processes; with ``waiting`` None a taken lock raises BlockingIOError at once."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{name}.lock").open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waiting is None:
                    raise
                self.say(waiting)
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def check_fit(self) -> None:
        """Raise CacheUnfit unless this file system can hold the upper layer of an overlay."""
        self.root.mkdir(parents=True, exist_ok=True)
        probe = self.root / f".probe-{os.getpid()}"
        for part in ("lower/inner", "upper", "work", "root"):
            (probe / part).mkdir(parents=True, exist_ok=True)
        try:
            mounted = subprocess.run(
                ["mount", "-t", "overlay", "lab-probe", "-o", overlay_options([probe / "lower"], probe), probe / "root"],
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            # Asked of the kernel: a signal may come when it is mounted, before anybody here knows.
            for point in mounts_below(probe):
                subprocess.run(["umount", point], check=True)
            remove_tree(probe)
        if mounted.returncode != 0:
            raise CacheUnfit(
                f"The file system of {self.root} cannot hold the hosts' overlays ({mounted.stderr.strip()}); set "
                "LAB_CACHE to a directory on a local ext4, xfs or btrfs file system."
            )


def _stamp(path: Path) -> Path:
    """Its time says when the thing was last asked for; the thing itself stays untouched."""
    return path.with_name(f".{path.name}.used")


def overlay_options(lowers: list[Path], folder: Path) -> str:
    """Mount options for an overlay with ``folder``/upper and ``folder``/work on ``lowers`` (topmost first).

    A directory of a lower layer can be renamed (redirect_dir), as on any file system; nothing of an upper layer refers
    to a lower one by inode (index, metacopy), so that it can be moved into the cache; and syncs are skipped
    (volatile), as an upper layer never outlives a crash of this machine.
    """
    stack = ":".join(_escaped(lower) for lower in lowers)
    where = f"lowerdir={stack},upperdir={_escaped(folder / 'upper')},workdir={_escaped(folder / 'work')}"
    return f"{where},redirect_dir=on,index=off,metacopy=off,volatile"


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def mounts_below(folder: Path) -> list[Path]:
    """Mount points at or below ``folder``, deepest first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = Path(line.split()[4].encode().decode("unicode_escape"))
        if point == folder or folder in point.parents:
            found.append(point)
    return sorted(found, key=lambda point: -len(point.parts))


def remove_tree(folder: Path) -> None:
    """Remove a directory tree, but never through a mount: LabError if something is mounted in it."""
    if not folder.exists():
        return
    if mounted := mounts_below(folder):
        raise LabError(f"{mounted[0]} is still mounted, so {folder} is not removed; `umount {mounted[0]}` first.")
    shutil.rmtree(folder)
