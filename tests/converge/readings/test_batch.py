"""Framing: what one reading does costs only its own answer."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from converge.readings import Raw, batch
from facts.prelude import FUNCTIONS


def ask(*snippets: str, limit: float = 5.0, prelude: str = "") -> list[Raw | None]:
    nonce = batch.new_nonce()
    text = batch.script([(s, limit) for s in snippets], prelude, nonce)
    done = subprocess.run(["/bin/sh", "-c", text], capture_output=True, check=False, stdin=subprocess.DEVNULL)
    return batch.answers(done.stdout, done.stderr, nonce, len(snippets))


def test_status_and_both_streams_are_told_apart() -> None:
    (raw,) = ask("echo out; echo err >&2; exit 3")
    assert raw is not None
    assert (raw.rc, raw.out, raw.err) == (3, "out\n", "err\n")


def test_the_prelude_is_known_to_every_reading() -> None:
    first, second = ask("echo $X", "f", prelude="X=1\nf() { echo two; }")
    assert first is not None
    assert second is not None
    assert (first.out, second.out) == ("1\n", "two\n")


def test_readings_give_way_to_others() -> None:
    (raw,) = ask("ps -o ni= -p $$")
    assert raw is not None
    assert int(raw.out) == max(10, os.nice(0))


def test_who_asks_is_found_out_once_for_all_readings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "id"
    fake.write_text(f"#!/bin/sh\necho x >>{tmp_path}/calls; echo 1234\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    both = ask("echo $XDG_RUNTIME_DIR", "echo $XDG_RUNTIME_DIR", prelude=FUNCTIONS)
    assert [raw and raw.out for raw in both] == ["/run/user/1234\n"] * 2
    assert (tmp_path / "calls").read_text() == "x\n"


@pytest.mark.parametrize(
    "rude",
    ['echo "', "exit 9", "cat", "exec 1>&2", "kill -9 $$", "set -e; false", "printf '\\0\\377'", "exec 2>&-", ")"],
)
def test_a_rude_reading_harms_no_other(rude: str) -> None:
    before, _, after = ask("echo before", rude, "echo after")
    assert before is not None
    assert after is not None
    assert (before.out, after.out) == ("before\n", "after\n")


def test_a_reading_that_hangs_is_stopped_at_its_limit() -> None:
    hung, after = ask("sleep 30", "echo after", limit=0.3)
    assert hung is not None
    assert hung.rc in batch.TIMED_OUT
    assert after is not None


def test_a_list_of_processes_does_not_end_a_frame() -> None:
    listed, after = ask("tr '\\0' ' ' </proc/$PPID/cmdline; cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' '; true", "echo x")
    assert listed is not None
    assert "mark" in listed.out
    assert after is not None
    assert after.out == "x\n"


def test_what_the_stream_lost_is_missing_and_the_rest_is_kept() -> None:
    nonce = "ab" * 16
    out = f"motd\n{nonce} B 0 1.00\none\n{nonce} 0 0 1.50\nhalf an ans".encode()
    err = f"\n{nonce} B\n\n{nonce} 0\n".encode()
    assert batch.answers(out, err, nonce, 2) == [Raw(0, "one", "", 0.5), None]


def test_nothing_at_all_is_no_answer() -> None:
    assert batch.answers(b"", b"", batch.new_nonce(), 2) == [None, None]
