"""Links to hosts: one exec at a time per channel, answers as bytes, never a command repeated."""

from __future__ import annotations

from converge.transport.connect import connect
from converge.transport.link import Ask, Completed, Link, Unreached
from converge.transport.local import LocalLink
from converge.transport.prompt import terminal
from converge.transport.ssh import SshLink

__all__ = ["Ask", "Completed", "Link", "LocalLink", "SshLink", "Unreached", "connect", "terminal"]
