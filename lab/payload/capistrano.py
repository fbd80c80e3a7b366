"""Real deployments: a checkout of the forge, and Capistrano on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.lab import Lab
from lab.payload.control import call, git

FORGE_URL = "ssh://git@forge/srv/git/hkn-rails.git"


@contextmanager
def checkout(lab: Lab, branch: str = "master") -> Iterator[Path]:
    """A clone of the forge's repository, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="hkn-rails-") as folder:
        git(Path(folder), "clone", "-q", "-b", branch, FORGE_URL, "checkout", env=transport(lab))
        yield Path(folder) / "checkout"


def deploy(lab: Lab, folder: Path, stage: str) -> None:
    """``cap STAGE deploy`` in a checkout; ControlCommandFailed with what Capistrano last said."""
    # Capistrano takes the name for revisions.log from the environment.
    environment = {"HKN_SSH_CONFIG": str(lab.directory / "ssh_config"), "USER": "compserv", "LANG": "C.UTF-8"}
    call(["cap", stage, "deploy"], cwd=folder, env=environment, timeout=180)


def transport(lab: Lab) -> dict[str, str]:
    """The environment in which git reaches the forge."""
    return {"GIT_SSH_COMMAND": f"ssh -F '{lab.directory / 'ssh_config'}' -o BatchMode=yes"}
