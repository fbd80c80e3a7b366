"""Ctrl-C in a run: once to stop after the step that is going on, twice to stop now."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def first_interrupt(told: Callable[[], None]) -> Iterator[None]:
    """Within it the first Ctrl-C only calls `told`; the next one raises KeyboardInterrupt as ever.

    Works in the main thread; in others it does nothing, as signals do not come there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.getsignal(signal.SIGINT)

    def once(_number: int, _frame: Any) -> None:
        signal.signal(signal.SIGINT, former)
        told()

    signal.signal(signal.SIGINT, once)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
