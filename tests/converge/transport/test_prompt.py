"""Questions at a terminal, and none where there is no terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[3]
PROGRAM = """
from converge.transport import terminal
ask = terminal()
assert ask is not None
print("GOT", [ask("Secret: "), ask("Code: ", echo=True)], flush=True)
"""


def test_a_person_is_asked_even_while_standard_input_is_taken() -> None:
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(TOP)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM])
    seen = b""
    for prompt, answer in ((b"Secret: ", b"hush\n"), (b"Code: ", b"42\n")):
        while prompt not in seen:
            seen += os.read(fd, 1024)
        os.write(fd, answer)
    while b"GOT" not in seen or not seen.endswith(b"\n"):
        seen += os.read(fd, 1024)
    os.waitpid(pid, 0)
    os.close(fd)
    assert b"GOT ['hush', '42']" in seen
    assert seen.count(b"hush") == 1


def test_nobody_is_asked_without_a_terminal() -> None:
    program = "from converge.transport import terminal; raise SystemExit(terminal() is not None)"
    assert subprocess.run([sys.executable, "-c", program], cwd=TOP, start_new_session=True, check=False).returncode == 0
