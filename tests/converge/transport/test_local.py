"""The control machine as a link, and testinfra over any link."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from converge.errors import UsageError
from converge.transport import LocalLink
from converge.transport.link import ARGUMENT_LIMIT, UNSET, invocation


def test_status_outputs_and_input() -> None:
    done = LocalLink().exec("cat; echo no >&2; exit 3", limit=5, stdin=b"in\xff")
    assert (done.rc, done.out, done.err) == (3, b"in\xff", b"no\n")


def test_input_is_closed() -> None:
    assert LocalLink().exec("cat; echo end", limit=5).out == b"end\n"


def test_a_signal_is_told_as_a_shell_tells_it() -> None:
    assert LocalLink().exec("kill -TERM $$", limit=5).rc == 128 + 15


def test_the_limit_kills_the_script_and_its_children(tmp_path: Path) -> None:
    began = time.monotonic()
    done = LocalLink().exec(f"echo begun; (sleep 30; touch {tmp_path}/late) & sleep 30", limit=0.3)
    assert (done.rc, done.out) == (124, b"begun\n")
    assert b"cut off after its limit of 0.3 s" in done.err
    assert time.monotonic() - began < 5


def test_a_child_that_left_the_group_does_not_hold_the_answer_up() -> None:
    began = time.monotonic()
    done = LocalLink().exec("setsid sleep 7 & sleep 7", limit=0.3)
    assert done.rc == 124
    assert time.monotonic() - began < 4


def test_a_long_script_goes_over_standard_input() -> None:
    assert LocalLink().exec("# " + "x" * 200_000 + "\necho long; cat", limit=5).out == b"long\n"


def test_quotes_count_towards_the_length_of_an_argument() -> None:
    script = "'" * (ARGUMENT_LIMIT // 3)
    assert invocation(script, b"").words[-2:] == ("/bin/sh", "-s")


def test_what_start_up_files_set_changes_no_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in UNSET:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("IFS", "a")
    seen = LocalLink().exec("set -- $(ls / -d); echo $1; export", limit=5)
    assert seen.err == b""
    assert seen.out.startswith(b"/\n"), "an option may stand after a name"
    assert not [name for name in UNSET if f" {name}=" in seen.out.decode()]


def test_a_long_script_with_input_is_refused() -> None:
    with pytest.raises(UsageError, match="too long"):
        invocation("x" * 200_000, b"data")
