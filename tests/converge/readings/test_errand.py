"""What the control machine began to be asked: taken over once, by the same question, or ended with all that it started."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from converge.readings import Context, Raw, Reading, errand
from converge.readings.answers import CONTROL, Store
from converge.transport import LocalLink
from hosts.schema import Inventory


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    errand.abandon()


def asking(script: str) -> Reading[str]:
    def parse(raw: Raw, _context: Context) -> str:
        return raw.out.strip()

    return Reading("asked", "control", lambda _context: script, parse)


def pid_of(file: Path) -> int:
    end = time.monotonic() + 10
    while not (file.exists() and file.read_text().strip()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return int(file.read_text())


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("begun", "prelude", "times"),
    [("echo x >>{}; echo $ME", "ME=us", 1), ("echo x >>{}; echo it", "ME=us", 2), ("echo x >>{}; echo $ME", "ME=it", 2)],
)
def test_who_asks_the_same_takes_it_over(
    inventory: Inventory, tmp_path: Path, begun: str, prelude: str, times: int
) -> None:
    told = tmp_path / "told"
    reading = asking(f"echo x >>{told}; echo $ME")
    errand.begin(inventory, prelude, [asking(begun.format(told))])
    store = Store(inventory, {CONTROL: LocalLink()}, "ME=us")
    end = time.monotonic() + 10
    while not told.exists() and time.monotonic() < end:
        time.sleep(0.01)
    store.begin([(reading, None)])
    store.prefetch([(reading, None)])
    assert store(reading) == "us"
    assert told.read_text().split() == ["x"] * times
    store.void()
    assert store(reading) == "us"
    assert told.read_text().split() == ["x"] * (times + 1)


def test_who_asks_later_gets_no_old_answer(inventory: Inventory, tmp_path: Path) -> None:
    word = tmp_path / "word"
    word.write_text("old")
    reading = asking(f"cat {word}")
    errand.begin(inventory, "", [reading])
    time.sleep(0.3)
    word.write_text("new")
    assert Store(inventory, {CONTROL: LocalLink()}, "")(reading) == "new"


def test_what_nobody_wants_cleans_up_and_ends(inventory: Inventory, tmp_path: Path) -> None:
    made, inner, child = tmp_path / "made", tmp_path / "inner", tmp_path / "child"
    script = f"""
trap 'rm -rf {made}' EXIT
trap 'exit 6' TERM
mkdir {made}
sleep 60 & echo $! >{child}
echo $$ >{inner}
wait
"""
    errand.begin(inventory, "", [asking(script)])
    pids = [pid_of(child), pid_of(inner)]
    assert made.exists()
    began = time.monotonic()
    errand.abandon()
    assert time.monotonic() - began < 4
    assert not made.exists()
    assert not any(alive(pid) for pid in pids)


def test_one_that_hears_nothing_is_ended_all_the_same(inventory: Inventory, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    errand.begin(inventory, "", [asking(f"trap '' TERM; echo $$ >{inner}; while :; do sleep 1; done")])
    pid = pid_of(inner)
    errand.abandon()
    assert not alive(pid)


def test_a_question_that_cannot_be_put_is_left_to_the_store(inventory: Inventory) -> None:
    errand.begin(inventory, "", [asking("echo it"), Reading("broken", "control", lambda _: str(1 // 0), lambda raw, _: raw)])
    assert errand.taken([("echo it", asking("").limit)], "") is None
