"""What a step may touch on its host."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fence:
    """What a step may touch on its host.

    Paths resolve to something below one of `roots`, and are no `protected` path nor hold one; only `units` are started,
    stopped and enabled; programs do not even name what is of `bystanders`. `hostname` and `account` are what the host
    must say of itself (None: not asked, on this machine). What is moved aside goes below `attic`, in the folder of the run.
    """

    roots: tuple[str, ...]
    attic: str
    run_id: str
    protected: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    hostname: str | None = None
    account: str | None = None
    bystanders: tuple[str, ...] = ()
