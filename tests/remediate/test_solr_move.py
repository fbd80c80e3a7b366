"""Solr's port changes hands in one step: on this machine, with a Solr of a few lines and a stand-in for the manager."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converge.readings import Reading
from converge.shell.library import Rc
from converge.steps import Step
from converge.steps.compile import compile_step, compile_undo
from converge.steps.fence import Fence
from facts import solr as facts_solr
from facts import web
from facts.prelude import prelude
from facts.solr import Solr, home_of
from hosts.schema import Inventory
from remediate import solr, solr_move
from tests.remediate.world import context
from tests.targets import ask, inventory

pytestmark = pytest.mark.skipif(
    not all(shutil.which(name) for name in ("ss", "curl", "pgrep", "xargs", "setsid")), reason="needs ss, curl and procps"
)

JAVA = r"""
import http.server, os, socketserver, sys, threading
home = next(w.partition("=")[2] for w in sys.argv if w.startswith("-Dsolr.solr.home="))
port = int(next(w.partition("=")[2] for w in sys.argv if w.startswith("-Djetty.port=")))
if os.path.exists(home + "/broken"):
    sys.exit(1)
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{}' if os.path.exists(home + "/mute") else b'{"status": {"c": {"instanceDir": "x"}}}')
    def log_message(self, *_):
        pass
socketserver.TCPServer.allow_reuse_address = True
threading.Timer(60, lambda: os._exit(0)).start()
socketserver.TCPServer(("127.0.0.1", port), Answer).serve_forever()
"""

BUNDLE = """#!/bin/bash
release=$PWD
echo "$$" >>"$HOME/rakes"
[ ! -e "$release/slow" ] || sleep 20
cd "$HOME/server"
"$HOME/server/bin/java" solr.py -Djetty.port=$PORT "-Dsolr.solr.home=$release/solr" "-Dodd=a  b'c" -jar start.jar \
  </dev/null >/dev/null 2>&1 &
printf %s "$!" >"$release/tmp/solr.pid"
"""

MANAGER = r"""#!/bin/sh
while [ $# -gt 0 ]; do case $1 in -p) shift 2 ;; --) shift; break ;; -*) shift ;; *) break ;; esac; done
exec "$@"
"""


class Host:
    """A home with two releases, of which the second is current, and whatever Solr was started from one of them."""

    def __init__(self, top: Path) -> None:
        self.top = top
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        for name in ("bin", "server/bin", ".rvm/scripts", "app/prod/pids", "attic"):
            (top / name).mkdir(parents=True)
        (top / ".rvm/scripts/rvm").write_text("")
        (top / "server/solr.py").write_text(JAVA)
        (top / "server/bin/java").symlink_to(Path(sys.executable).resolve())
        for name, text in {"systemd-run": MANAGER, "systemctl": "#!/bin/sh\nexit 0\n", "bundle": BUNDLE}.items():
            (top / "bin" / name).write_text(text)
            (top / "bin" / name).chmod(0o755)
        self.old, self.new = (self.release(name) for name in ("1", "2"))
        (top / "app/prod/current").symlink_to(self.new)
        self.inv = self.target()
        self.env = {**os.environ, "PATH": f"{top}/bin:{os.environ['PATH']}", "HOME": str(top), "PORT": str(self.port)}
        self.env |= {"CV_PHASE": str(top / "phase")}

    def release(self, name: str) -> Path:
        made = self.top / "app/prod/releases" / name
        (made / "solr").mkdir(parents=True)
        (made / "tmp").symlink_to(self.top / "app/prod/pids")
        return made

    def target(self) -> Inventory:
        inv = inventory(stages={"root": f"{self.top}/app"})
        return inv.changed({"solr": inv.solr.changed({"port": self.port, "pid_file": "tmp/solr.pid"})})

    def rake(self, release: Path) -> None:
        """Start Solr from a release, as a deploy does."""
        subprocess.run(["bundle"], cwd=release, env=self.env, check=True)
        self.until(lambda: self.home() == f"{release}/solr")

    def seen(self) -> Solr:
        return ask(facts_solr.solr, self.inv)

    def home(self) -> str:
        """The home of the Solr that listens and answers; empty for none."""
        seen = self.seen()
        return seen.home if seen.ours else ""

    def until(self, is_so: Callable[[], bool], limit: float = 15.0) -> None:
        end = time.monotonic() + limit
        while not is_so():
            assert time.monotonic() < end
            time.sleep(0.05)

    def step(self) -> Step:
        """What the remedy of SOLR-2 begins with."""
        serving = web.Serving("/s", str(self.new), "", "", ())
        given: dict[Reading[Any], Any] = {facts_solr.solr: self.seen(), web.serving: serving}
        return next(solr.move_home(context(self.inv, self.top, given)))

    def script(self, step: Step, *, undo: bool = False) -> str:
        fence = Fence(roots=(str(self.inv.stages.root),), attic=f"{self.top}/attic", run_id="R1")
        words = prelude(self.inv), fence, "004-SOLR-2-move"
        made = compile_undo(step, *words) if undo else compile_step(step, *words)
        assert made
        return made

    def begin(self, script: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["timeout", "-k", "60", "60", "/bin/sh", "-c", script], env=self.env, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    @property
    def phase(self) -> Path:
        """Where the step keeps that it has something to put back."""
        return self.top / "phase"

    def after(self, script: str) -> tuple[int, str]:
        """What is run when a step was killed, if it has something to put back."""
        if not self.phase.exists() or not self.phase.read_text():
            return 0, "nothing is to be put back"
        return self.run("export CV_AFTER=yes\n" + script)

    def run(self, script: str) -> tuple[int, str]:
        process = self.begin(script)
        out, err = process.communicate(timeout=60)
        return process.returncode, out + err

    def close(self) -> None:
        for process in self.seen().java:
            if home_of(process).startswith(str(self.top)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Solr of the old release listens."""
    monkeypatch.setattr(solr_move, "CORE_WAIT", 2.0)
    made = Host(tmp_path)
    try:
        made.rake(made.old)
        yield made
    finally:
        made.close()


def test_the_next_one_answers_when_the_step_ends_and_the_pid_file_names_it(host: Host) -> None:
    rc, said = host.run(host.script(host.step()))
    assert rc == 0, said
    assert host.home() == f"{host.new}/solr"
    assert host.seen().pid_is_true


@pytest.mark.parametrize(
    ("flaw", "why"),
    [("solr/broken", "Solr did not tell of its core"), ("solr/mute", "Solr did not tell of its core"), ("tmp", "from ")],
)
def test_the_former_one_is_started_again_where_the_next_one_does_not_answer(host: Host, flaw: str, why: str) -> None:
    step = host.step()
    if flaw == "tmp":
        (host.top / "bin/bundle").write_text("#!/bin/sh\nexit 5\n")
    else:
        (host.new / flaw).write_text("")
    words = host.seen().ours
    rc, said = host.run(host.script(step))
    assert rc == Rc.FAILED, said
    assert why in said
    assert f"the former Solr was started again, with home {host.old}/solr, and answers" in said
    again = host.seen()
    assert words
    assert again.ours
    assert (again.ours.cmdline, again.ours.cwd) == (words.cmdline, words.cwd), "by the very words with which it ran"
    assert again.ours.pid != words.pid
    assert again.pid_is_true
    assert [p for p in again.java if home_of(p) == f"{host.new}/solr"] == [], "the other one is not left to take it"


def test_a_step_that_is_stopped_in_the_middle_starts_the_former_one_again(host: Host) -> None:
    step = host.step()
    (host.new / "slow").write_text("")
    process = host.begin(host.script(step))
    host.until(lambda: host.home() == "" and len((host.top / "rakes").read_text().split()) == 2)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert "it was stopped by a signal; the former Solr was started again" in err, out + err
    assert host.home() == f"{host.old}/solr"


def test_what_a_killed_step_has_ended_is_started_again(host: Host) -> None:
    step = host.step()
    (host.new / "slow").write_text("")
    script = host.script(step)
    process = host.begin(script)
    host.until(lambda: host.home() == "" and len((host.top / "rakes").read_text().split()) == 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    rc, said = host.after(script)
    assert (rc, host.home()) == (Rc.FAILED, f"{host.old}/solr"), said
    assert f"it was killed; the former Solr was started again, with home {host.old}/solr, and answers" in said
    assert host.seen().pid_is_true
    assert host.after(script) == (0, "nothing is to be put back")
    assert host.run(host.script(step, undo=True))[0] == 0
    assert host.home() == f"{host.old}/solr"


def test_a_step_that_is_killed_while_it_puts_back_is_put_back_once_more(host: Host) -> None:
    script = host.script(host.step())
    former = [p.pid for p in host.seen().java]
    (host.new / "solr/broken").write_text("")
    (host.old / "solr/mute").write_text("")
    process = host.begin(script)
    host.until(lambda: any(home_of(p) == f"{host.old}/solr" and p.pid not in former for p in host.seen().java))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (host.old / "solr/mute").unlink()
    rc, said = host.after(script)
    assert (rc, host.home()) == (Rc.FAILED, f"{host.old}/solr"), said
    mine = [p for p in host.seen().java if home_of(p).startswith(str(host.top))]
    assert len(mine) == 1, "the one that the killed one had started is not left to take the port"


def test_one_that_was_killed_as_the_next_answered_leaves_the_former_one_and_nothing_to_take_back(host: Host) -> None:
    step = host.step()
    script = host.script(step)
    assert host.run(script)[0] == 0
    assert host.phase.read_text() == "", "nothing is to be put back after its end"
    host.phase.write_text("ending\n")
    rc, said = host.after(script)
    assert (rc, host.home()) == (Rc.FAILED, f"{host.old}/solr"), said
    rc, said = host.run(host.script(step, undo=True))
    assert (rc, host.home()) == (0, f"{host.old}/solr"), said
    assert "there is nothing to take back" in said


def test_one_that_was_killed_before_the_former_one_heard_of_it_leaves_that_alone(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solr_move, "FREE_WAIT", 1.0)
    step, before = host.step(), host.seen().ours
    host.phase.write_text("ending\n")
    rc, said = host.after(host.script(step))
    assert rc == Rc.FAILED
    assert before
    assert f"it was killed; the former Solr, process {before.pid}, goes on" in said
    now = host.seen().ours
    assert now
    assert (now.pid, now.started) == (before.pid, before.started)
    assert host.phase.read_text() == ""


def test_who_puts_back_hears_no_signal_while_the_former_one_takes_its_time_to_end(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solr_move, "FREE_WAIT", 8.0)
    step, former = host.step(), host.seen().ours
    assert former
    whole = host.script(step)
    # Killed right after its signal, which the former one has not obeyed yet.
    host.run(whole.replace("keep && keep_phase ending || exit 1", "keep && keep_phase ending && kill -s KILL 0"))
    assert host.phase.read_text() == "ending\n"
    process = host.begin("export CV_AFTER=yes\n" + whole)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    os.kill(former.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert "the former Solr was started again" in err, out + err
    assert host.home() == f"{host.old}/solr"


def test_taking_it_back_is_put_back_too_where_that_is_killed(host: Host) -> None:
    step = host.step()
    assert host.run(host.script(step))[0] == 0
    script = host.script(step, undo=True)
    (host.old / "solr/mute").write_text("")
    process = host.begin(script)
    host.until(lambda: host.phase.read_text() != "" and host.home() != f"{host.new}/solr")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    rc, said = host.after(script)
    assert (rc, host.home()) == (Rc.FAILED, f"{host.new}/solr"), said


def test_the_one_that_the_plan_did_not_see_is_not_ended(host: Host) -> None:
    step = host.step()
    other = replace(step, when=(), acts=(step.acts[0],))
    seen = host.seen().ours
    assert seen
    rc, said = host.run(host.script(other).replace(f"tick={seen.started}\n", f"tick={seen.started + 1}\n"))
    assert rc == Rc.MOVED, said
    now = host.seen().ours
    assert now
    assert (now.pid, now.started) == (seen.pid, seen.started)


def test_where_neither_answers_it_says_what_to_type(host: Host) -> None:
    step = host.step()
    (host.new / "solr/broken").write_text("")
    (host.old / "solr/broken").write_text("")
    rc, said = host.run(host.script(step))
    assert rc == Rc.FAILED
    assert f"type on {os.uname().nodename}: sh '" in said
    line = said.rpartition(f"{os.uname().nodename}: ")[2].strip()
    (host.old / "solr/broken").unlink()
    subprocess.run(["/bin/sh", "-c", line], env=host.env, check=True, cwd="/")
    host.until(lambda: host.home() == f"{host.old}/solr")


def test_taking_it_back_starts_the_former_one_in_the_place_of_the_one_that_was_started(host: Host) -> None:
    step = host.step()
    assert host.run(host.script(step))[0] == 0
    rc, said = host.run(host.script(step, undo=True))
    assert rc == 0, said
    assert host.home() == f"{host.old}/solr"
    assert host.seen().pid_is_true


def test_what_cannot_be_taken_back_stays_and_answers(host: Host) -> None:
    step = host.step()
    assert host.run(host.script(step))[0] == 0
    (host.old / "solr/broken").write_text("")
    rc, said = host.run(host.script(step, undo=True))
    assert (rc, host.home()) == (Rc.FAILED, f"{host.new}/solr"), said
    (host.old / "solr").rename(host.old / "gone")
    rc, said = host.run(host.script(step, undo=True))
    assert "is not there any more: Solr stays as it is" in said
    assert (rc, host.home()) == (Rc.MOVED, f"{host.new}/solr"), said


def test_one_of_which_a_full_disk_kept_nothing_is_left_as_it_is(host: Host) -> None:
    step = host.step()
    assert host.run(host.script(step))[0] == 0
    (kept,) = host.top.rglob("solr.next")
    kept.write_text("")
    rc, said = host.run(host.script(step, undo=True))
    assert (rc, host.home()) == (Rc.MOVED, f"{host.new}/solr"), said
    assert "Solr stays as it is" in said


def test_a_step_that_put_back_by_itself_has_nothing_to_take_back(host: Host) -> None:
    step = host.step()
    (host.new / "solr/broken").write_text("")
    assert host.run(host.script(step))[0] == Rc.FAILED
    rc, said = host.run(host.script(step, undo=True))
    assert rc == 0, said
    assert "there is nothing to take back" in said
    assert host.home() == f"{host.old}/solr"


def test_where_none_listens_one_that_never_answers_is_waited_for_no_longer_than_said(host: Host) -> None:
    host.close()
    host.until(lambda: not host.seen().listeners)
    (host.new / "solr/mute").write_text("")
    given: dict[Reading[Any], Any] = {
        facts_solr.solr: host.seen(),
        web.serving: web.Serving("/s", str(host.new), "", "", ()),
    }
    (step,) = solr.start(context(host.inv, host.top, given))
    began = time.monotonic()
    rc, said = host.run(host.script(step))
    assert rc == Rc.FAILED
    assert "::converge:failed: Solr did not tell of its core production within 2 s" in said
    assert time.monotonic() - began < 8
    assert step.search_gap is None, "it was missing before"
