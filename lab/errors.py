"""What can foreseeably go wrong in the lab; every message says what was seen, where, and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class LabError(Exception):
    """Base of all that the lab reports in one sentence instead of a traceback."""


class NeedsMissing(LabError):
    """This machine lacks something (root, a package, memory, disk, a kernel feature)."""


class CacheUnfit(LabError):
    """The cache directory cannot hold what the lab keeps there."""


class ImageFailed(LabError):
    """A Debian image could not be built."""


class NetworkFailed(LabError):
    """The lab's own bridge or address range could not be set up."""


class BootFailed(LabError):
    """A host did not come up, or did not become ready in time."""


class NotRunning(LabError):
    """The lab (or one of its hosts) is not running, and the request needs it to."""


class Busy(LabError):
    """Another process is changing this lab at the moment."""


class UnknownName(LabError):
    """No host, state or fault has this name."""


class CommandFailed(LabError):
    """A command inside a host ended with another status than 0, or not in time.

    ``status`` is its exit status, or None when the time limit ended it.
    """

    def __init__(self, host: str, command: str | Sequence[str], status: int | None, output: str) -> None:
        shown = command if isinstance(command, str) else " ".join(command)
        ended = "did not end in time" if status is None else f"ended with status {status}"
        super().__init__(f"{host}: `{_shortened(shown)}` {ended}: {_shortened(output.strip(), 2000) or '(no output)'}")
        self.host = host
        self.status = status
        self.output = output


def _shortened(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else f"{text[: limit // 2]} ... {text[-limit // 2 :]}"
