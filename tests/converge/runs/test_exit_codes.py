"""How a whole session ends: its exit code, what it says, and what it leaves. Each is a pytest of its own."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from converge.errors import Exit
from converge.journal.journal import stories
from converge.journal.lock import Lock, holder
from converge.report.run_json import record_of
from converge.report.summary import headline
from converge.transport import LocalLink
from hosts.schema import Inventory
from tests.converge.site import Site, mending
from tests.converge.world import build

SEVERED = """
from tests.converge.stage import Severed

def connect(inv, host, ask=None):
    link = Severed()
    link.at = "A-1/wait"
    return link

converge.checking.session.connect = connect
"""
DEAD = """
from converge.errors import ConnectionLost
from converge.transport import LocalLink

class Dying(LocalLink):
    dead = False

    def exec(self, script, *, limit, stdin=b""):
        if Dying.dead:
            raise ConnectionLost("new: the connection ended")
        done = super().exec(script, limit=limit, stdin=stdin)
        Dying.dead = '"kind": "proof"' in script
        return done

converge.checking.session.connect = lambda inv, host, ask=None: Dying()
"""
DEFECT = """
def broken(*_args, **_words):
    raise ZeroDivisionError("a defect of ours")

converge.checking.session.Session.read_until_stable = broken
"""
LINELESS = """
def interrupted():
    raise KeyboardInterrupt

interrupted.__code__ = interrupted.__code__.replace(co_linetable=b"")

def pytest_runtest_logstart():
    interrupted()
"""
CODES = """
from converge.transport import LocalLink

class Careful(LocalLink):
    asks_again = ("me@new: Code: ",)

converge.checking.session.connect = lambda inv, host, ask=None: Careful()
"""
STRANGE = """
import dataclasses
as_ever = pytest_converge_application

def pytest_converge_application():
    strange = Situation("unlike any of these", ("two units serve the site",), refuse=True)
    return dataclasses.replace(as_ever(), situation=lambda read: strange)
"""

LOSING = """
import time
from converge.probe.prober import Prober
from converge.checking.record import Outage, Probe

def lost(prober):
    now = time.time()
    return Probe("u", now - 60, now, 99, 3, 0.5, [Outage(now - 0.5, now, 3, "status 502", now)], first_good=now - 60)

Prober.start = lambda prober: ""
Prober.stop = lost
"""


@pytest.fixture
def site(project: pytest.Pytester, inventory: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return mending(project, build(tmp_path / "host", inventory, monkeypatch), "new", seconds=0)


def ended(site: Site, *words: str, terminal: Callable[[], None] | None = None) -> tuple[int, str]:
    """Exit code and output of a session; without `terminal` there is none to ask at."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "verify", *words], cwd=site.top, stdin=subprocess.DEVNULL, timeout=90, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=not terminal, preexec_fn=terminal,
    )  # fmt: skip
    return done.returncode, done.stdout


def at_terminal(descriptor: int) -> None:
    """Make it the terminal of this process, whose output goes elsewhere all the same."""
    os.setsid()
    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)


def extend(site: Site, more: str) -> None:
    conftest = site.top / "conftest.py"
    conftest.write_text(conftest.read_text() + more)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, with when it was written."""
    return {str(f): (f.stat().st_mtime_ns, f.read_bytes()) for f in folder.rglob("*") if f.is_file()}


def test_a_target_at_which_another_run_is_at_work_is_10(site: Site) -> None:
    other = Lock(LocalLink())
    other.acquire("bob@desk", "R0")
    try:
        code, out = ended(site, "--remediate", "--yes")
    finally:
        other.release()
    assert code == Exit.LOCK_HELD, out
    assert "another run is going on: bob@desk, run R0, since " in out
    assert (site.world.root / "word").read_text() == "bad"
    assert stories(LocalLink()) == []


def test_a_connection_that_is_lost_in_a_step_is_13_and_the_next_run_looks(site: Site) -> None:
    conftest = (site.top / "conftest.py").read_text()
    extend(site, SEVERED)
    code, out = ended(site, "--remediate", "--yes")
    assert code == Exit.UNKNOWN, out
    assert "the connection ended" in out
    assert site.results() == ["unknown", "not reached"]
    assert (site.world.root / "word").read_text() == "bad"
    (story,) = stories(LocalLink())
    assert story.is_open
    (site.top / "conftest.py").write_text(conftest)
    again, out = ended(site, "--remediate", "--yes")
    assert again == Exit.HOLDS, out
    assert "ended without an end: every step that it began had ended" in out


def test_a_connection_that_is_lost_after_a_step_is_13_too(site: Site) -> None:
    """What cannot be read any more fails as well: what counts is that nobody knows, and that the journal is open."""
    extend(site, DEAD)
    code, out = ended(site, "--remediate", "--yes")
    assert code == Exit.UNKNOWN, out
    assert "the journal stays open" in out
    (story,) = stories(LocalLink())
    assert story.is_open


def test_a_step_that_left_no_result_is_13_and_nothing_is_said_of_the_connection(site: Site) -> None:
    site.world.kill_steps()
    code, out = ended(site, "--remediate", "--yes")
    assert code == Exit.UNKNOWN, out
    assert site.results() == ["unknown", "not reached"]
    record = record_of((site.newest() / "run.json").read_text(), "")
    assert record.exit_reason == "A-1/wait at new: its process disappeared without a result"
    assert headline(record).text == (
        "Unknown: how something that was done ended is not known, or could not be kept. "
        "A-1/wait at new: its process disappeared without a result"
    )
    (story,) = stories(LocalLink())
    assert story.is_open


@pytest.mark.parametrize(("answer", "code"), [("n\n", Exit.DECLINED), ("\n", Exit.DECLINED), ("y\n", Exit.HOLDS)])
def test_who_says_no_at_the_prompt_or_nothing_gets_16(site: Site, answer: str, code: Exit) -> None:
    before = contents(site.world.top)
    ours, theirs = os.openpty()
    os.write(ours, answer.encode())
    seen, out = ended(site, "--remediate", terminal=lambda: at_terminal(theirs))
    asked = os.read(ours, 4096).decode()
    os.close(theirs)
    os.close(ours)
    assert seen == code, out + asked
    assert "Do this? [y/N]" in asked
    assert ("declined: nothing was done" in out) == (code is Exit.DECLINED)
    assert (contents(site.world.top) == before) == (code is Exit.DECLINED)


def test_nobody_to_ask_and_no_yes_is_4(site: Site) -> None:
    before = contents(site.world.top)
    code, out = ended(site, "--remediate")
    assert code == Exit.USAGE, out
    assert "there is no terminal to ask at: add --yes to act, or use --plan to look" in out
    assert contents(site.world.top) == before


@pytest.mark.parametrize("words", [[], ["--remediate", "--yes"]])
def test_a_defect_of_ours_is_3(site: Site, words: list[str]) -> None:
    extend(site, DEFECT)
    code, out = ended(site, *words)
    assert code == Exit.INTERNAL, out
    assert "a defect of ours" in out
    assert stories(LocalLink()) == []


def test_a_defect_in_a_run_is_3_in_its_journal_too_and_frees_the_lock(site: Site) -> None:
    remedy = site.top / "mend/words.py"
    defect = "    if __import__('os').path.exists(f'{root}/waited'): 1 / 0\n"
    remedy.write_text(remedy.read_text().replace('    yield Step("A-1/write"', f'{defect}    yield Step("A-1/write"'))
    code, out = ended(site, "--remediate", "--yes")
    assert code == Exit.INTERNAL, out
    (story,) = stories(LocalLink())
    assert story.end
    assert story.end["exit_code"] == Exit.INTERNAL
    assert holder(LocalLink()) is None


@pytest.mark.parametrize(("announced", "code"), [("None", Exit.FAILS), ("2.0", Exit.HOLDS)])
def test_a_run_that_lost_pages_which_no_step_announced_is_1_though_all_holds(site: Site, announced: str, code: Exit) -> None:
    extend(site, LOSING)
    remedy = site.top / "mend/words.py"
    write = '(Write(f"{root}/word", "good"),)'
    remedy.write_text(remedy.read_text().replace(write, f"{write}, interrupts={announced}"))
    seen, out = ended(site, "--remediate", "--yes")
    assert seen == code, out
    record = site.record()
    assert {verdict["outcome"] for verdict in record["verdicts"]} == {"holds"}
    (story,) = stories(LocalLink())
    assert story.end
    assert (story.end["exit_code"], record["exit_code"]) == (code, code)
    said = "3 pages were lost that no step had announced: 3 in 0.50 s from "
    assert ("Every statement holds, but 3 pages were lost that no step had announced\n" in out) == (code is Exit.FAILS)
    assert ("The site stands as it should" in out) == (code is Exit.HOLDS)
    report = (site.top / "reports" / story.id / "report.md").read_text()
    for text in (out, story.end["reason"], record["exit_reason"], report):
        assert (said in text) == (code is Exit.FAILS)
    assert (" A-1/write" in record["exit_reason"]) == (code is Exit.FAILS)


def test_ctrl_c_in_a_check_is_2(site: Site) -> None:
    (site.top / "demo.slow").touch()
    session = subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "pytest", "verify"],
        cwd=site.top, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    while not (site.top / "connecting").exists() and session.poll() is None:
        time.sleep(0.02)
    time.sleep(0.1)
    session.send_signal(signal.SIGINT)
    out, _ = session.communicate(timeout=60)
    assert session.returncode == Exit.INTERRUPTED, out


def test_ctrl_c_at_an_instruction_without_a_line_is_2_too(site: Site) -> None:
    extend(site, LINELESS)
    code, out = ended(site)
    assert code == Exit.INTERRUPTED, out
    assert "Traceback" not in out


@pytest.mark.parametrize("words", [["--remediate", "--yes"], ["--plan"]])
def test_a_situation_unlike_any_that_is_known_is_left_as_it_is(site: Site, words: list[str]) -> None:
    extend(site, STRANGE)
    before = contents(site.world.top)
    code, out = ended(site, *words)
    assert code == Exit.FAILS, out
    assert "remediation refused, this is like no situation it knows: two units serve the site" in out
    record = site.record()
    assert (record["steps"], record["kind"]) == ([], "check")
    assert record["situation"] == "unlike any of these"
    assert record["exit_reason"].startswith("remediation refused")
    assert any("remediation refused" in note for note in record["notes"])
    assert {v["outcome"] for v in record["verdicts"] if v["id"] == "A-1"} == {"fails"}
    assert contents(site.world.top) == before
    assert stories(LocalLink()) == []


def test_a_strange_situation_is_refused_also_where_everything_holds(site: Site) -> None:
    (site.world.root / "word").write_text("good")
    extend(site, STRANGE)
    assert ended(site)[0] == Exit.HOLDS
    code, out = ended(site, "--remediate", "--yes")
    assert code == Exit.FAILS, out
    assert "remediation refused" in out


@pytest.mark.parametrize("confirm", ["60.0", "None"])
def test_a_plan_says_that_a_code_will_be_asked_for_in_its_middle(site: Site, confirm: str) -> None:
    extend(site, CODES)
    remedy = site.top / "mend/words.py"
    remedy.write_text(remedy.read_text().replace("(Run(script),))", f"(Run(script),), confirm={confirm})"))
    out = ended(site, "--plan")[1]
    said = "new will be logged in to a second time while a step waits to be confirmed, and asks anew then (me@new: Code: )"
    assert (said in out) == (confirm != "None")
    assert any(said in note for note in site.record()["notes"]) == (confirm != "None")
