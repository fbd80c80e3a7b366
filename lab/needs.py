"""What the lab needs of this machine; each thing that lacks is one sentence with its mend."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Cache
from lab.command_line import COMMAND, typed
from lab.errors import NeedsMissing

GIB = 1024**3
MEMORY = 3 * GIB
DISK = 6 * GIB

# What must be there, and Debian's package that has it.
PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "arch-test": "arch-test",
    "dbus-daemon": "dbus",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setsid": "util-linux",
    "mount": "mount",
    "ssh": "openssh-client",
    "git": "git",
    "cap": "capistrano",
    "ruby": "ruby",
    "mvn": "maven",
    "jlink": "default-jdk-headless",
    "openssl": "openssl",
}
FILES = {"/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring"}
FILE_SYSTEMS = {"overlay": "overlay"}
OLDEST_KERNEL = (5, 14)


@dataclass(frozen=True)
class Found:
    """What was looked at on this machine."""

    programs: frozenset[str]
    files: frozenset[str]
    memory: int
    disk: int
    kernel: tuple[int, int]
    file_systems: frozenset[str]


def missing_packages(found: Found) -> list[str]:
    """Debian's packages that hold what is missing, each once."""
    lacking = [package for program, package in PROGRAMS.items() if program not in found.programs]
    lacking += [package for file, package in FILES.items() if file not in found.files]
    return list(dict.fromkeys(lacking))


def sentences(found: Found, cache: Path) -> list[str]:
    """One sentence with its mend for everything that lacks."""
    said = []
    if packages := missing_packages(found):
        command = " ".join(install_command(packages))
        said.append(
            f"Debian's packages {', '.join(packages)} are missing: `{command}`, "
            f"or let {typed('up --install')} do it."
        )
    if found.memory < MEMORY:
        said.append(
            f"Only {found.memory / GIB:.1f} GiB of memory are free and the hosts need {MEMORY / GIB:.0f}: "
            "end what uses it (`ps aux --sort=-rss | head`)."
        )
    if found.disk < DISK:
        said.append(
            f"Only {found.disk / GIB:.1f} GiB are free below {cache} and the lab needs {DISK / GIB:.0f}: "
            "set LAB_CACHE to a directory with more."
        )
    if found.kernel < OLDEST_KERNEL:
        said.append(
            f"The kernel is {found.kernel[0]}.{found.kernel[1]}; the lab needs 5.14 or newer (cgroup.kill): "
            "use Debian 12's or newer."
        )
    said += [
        f"The kernel has no {name} file system: `modprobe {module}`."
        for name, module in FILE_SYSTEMS.items()
        if name not in found.file_systems
    ]
    return said


def look(cache: Path) -> Found:
    """Look at this machine."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    release = os.uname().release.split(".")
    return Found(
        frozenset(program for program in PROGRAMS if shutil.which(program, path=path)),
        frozenset(file for file in FILES if Path(file).exists()),
        _available_memory(),
        shutil.disk_usage(there).free,
        (int(release[0]), int(release[1].split("-")[0])),
        frozenset(line.split()[-1] for line in Path("/proc/filesystems").read_text().splitlines()),
    )


def _available_memory() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def check_root() -> None:
    """Raise NeedsMissing unless this is root on Linux."""
    if not Path("/proc/self/ns/pid").exists():
        raise NeedsMissing("The lab boots Linux hosts by namespaces: it needs a Linux machine.")
    if os.geteuid() != 0:
        raise NeedsMissing(
            f"The lab makes mounts, bridges and control groups: run it as root (`sudo {COMMAND} lab ...`)."
        )


def check(cache: Cache) -> None:
    """Raise NeedsMissing with everything that lacks."""
    found = look(cache.root)
    if "overlay" not in found.file_systems:
        # Loaded on the first use where it is a module.
        subprocess.run(["modprobe", "overlay"], capture_output=True, check=False)
        found = look(cache.root)
    if said := sentences(found, cache.root):
        raise NeedsMissing("\n".join(said))


def install_command(packages: list[str]) -> list[str]:
    """The apt-get command that installs them."""
    return ["apt-get", "install", "--yes", "--no-install-recommends", *packages]


def install(cache: Cache, say: Callable[[str], None]) -> None:
    """Install what is missing of Debian's packages; NeedsMissing with apt-get's last words if that fails."""
    packages = missing_packages(look(cache.root))
    if not packages:
        return
    if not shutil.which("apt-get"):
        raise NeedsMissing(f"This machine has no apt-get; install by its own means: {', '.join(packages)}.")
    say(f"installing {', '.join(packages)}")
    for command in (["apt-get", "update"], install_command(packages)):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode != 0:
            raise NeedsMissing(f"`{' '.join(command)}` failed: {' | '.join(done.stderr.strip().splitlines()[-4:])}")
