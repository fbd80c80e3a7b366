"""The two Debian base images: built once with mmdebstrap, cached by a hash of what goes in."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Cache
from lab.errors import ImageFailed

SETUP = Path(__file__).with_name("image-setup.sh")

# The host itself, then what the application's people find on an app host.
SYSTEM = "systemd systemd-sysv dbus dbus-user-session libpam-systemd openssh-server openssh-client iproute2 procps"
TOOLS = "libnss-myhostname ca-certificates curl git logrotate nginx-light netcat-openbsd openssl psmisc rsync"
RUBY = "ruby ruby-rails ruby-bundler unicorn"
PACKAGES = " ".join([SYSTEM, TOOLS, RUBY]).split()

# Manuals and translations are half of what would be unpacked, and nobody reads them in the lab.
EXCLUDED = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")


@dataclass(frozen=True)
class Image:
    """A Debian release as a directory tree that many hosts share read-only."""

    suite: str

    @property
    def key(self) -> str:
        """Hash of all that decides what the image is, but for the moment at which Debian's mirror was asked."""
        parts = [self.suite, *PACKAGES, *EXCLUDED, SETUP.read_text()]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def command(self, target: Path) -> list[str]:
        """mmdebstrap's words; in namespaces of its own: killing it ends all that it started, and leaves no mount."""
        return [
            *("unshare", "--mount", "--propagation", "private", "--pid", "--mount-proc", "--kill-child", "--"),
            *("mmdebstrap", "--quiet", "--mode=root", "--variant=apt", "--format=directory"),
            '--aptopt=Acquire::Languages "none"',
            "--aptopt=Acquire::Retries 3",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED),
            f"--include={','.join(PACKAGES)}",
            f"--customize-hook={SETUP}",
            *(self.suite, str(target)),
        ]

    def build(self, target: Path) -> None:
        """Fill the empty directory ``target``; raises ImageFailed with mmdebstrap's last words."""
        with subprocess.Popen(
            self.command(target), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            _BUILDS.add(process)
            said, _ = process.communicate()
            _BUILDS.discard(process)
        if process.returncode != 0:
            tail = " | ".join(said.decode(errors="replace").splitlines()[-6:])
            raise ImageFailed(
                f"mmdebstrap could not build Debian {self.suite} (status {process.returncode}): {tail}. "
                "Look whether `apt-get update` works on this machine, then try again."
            )


_BUILDS: set[subprocess.Popen[bytes]] = set()

IMAGES = {"werewolves": Image("bookworm"), "vampires": Image("trixie")}


def built(cache: Cache) -> bool:
    """Whether both hosts' images are in the cache."""
    return all(cache.has("images", _folder(image)) for image in IMAGES.values())


def ensure(cache: Cache, say: Callable[[str], None]) -> dict[str, Path]:
    """Both hosts' images by host name; the missing ones are built side by side (some 60 s each)."""
    missing = [image.suite for image in IMAGES.values() if not cache.has("images", _folder(image))]
    if missing:
        say(f"building the Debian image{'s' if len(missing) > 1 else ''} {' and '.join(missing)} (once, 1 to 3 min)")
    with ThreadPoolExecutor(len(IMAGES)) as pool:
        jobs = {
            name: pool.submit(cache.artefact, "images", _folder(image), image.build)
            for name, image in IMAGES.items()
        }
        try:
            return {name: job.result() for name, job in jobs.items()}
        except BaseException:
            # Leaving the pool waits for its threads: without this an interrupt would wait for both images.
            for build in list(_BUILDS):
                build.kill()
            raise


def _folder(image: Image) -> str:
    return f"{image.suite}-{image.key}"
