"""A site on which the programs of a cutover run as they are: two applications with real sockets, a manager made of files."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from converge.acting.transient_unit import aftermath, environment, notebook
from converge.steps import Run, Step
from converge.steps.compile import compile_step
from converge.steps.fence import Fence
from facts.prelude import prelude
from facts.units.states import GATE, GATE_SHUT
from remediate.cutover import brief, seamless
from remediate.cutover import steps as cutover_steps
from remediate.cutover.choice import beside
from remediate.cutover.phases import HOLD
from remediate.cutover.shell import settings
from tests.targets import inventory

APP = r"""
import fcntl, os, re, signal, socket, sys, time
signal.signal(signal.SIGQUIT, signal.SIG_IGN if "DEAF" in os.environ else signal.SIG_DFL)
name, config = os.environ["NAME"], sys.argv[sys.argv.index("-c") + 1]
listen, pid_file = os.environ["LISTEN"], "tmp/pids/unicorn.pid"
if config.endswith(".beside.rb"):
    listen = re.search(r"\? '([^']+)'", open(config).read()).group(1)
try:
    other = int(open(pid_file).read())
    os.kill(other, 0)
    sys.exit("already running")
except (OSError, ValueError):
    pass
open(pid_file, "w").write(f"{os.getpid()}\n")
time.sleep(float(os.environ.get("BOOT", "0.1")))
heard = socket.socket(socket.AF_UNIX)
if os.path.exists(listen):
    probe = socket.socket(socket.AF_UNIX)
    try:
        probe.connect(listen)
        sys.exit("in use")
    except OSError:
        os.unlink(listen)
heard.bind(listen)
heard.listen(64)
heard.settimeout(0.5)
if os.path.exists(f"forks.{name}") and (child := os.fork()):
    heard.close()
    signal.signal(signal.SIGQUIT, lambda *_: os.kill(child, signal.SIGQUIT))
    os.waitpid(child, 0)
    os.unlink(pid_file)
    os._exit(0)
def end(*_):
    heard.close()
    if open(pid_file).read() == f"{os.getpid()}\n":
        os.unlink(pid_file)
    os._exit(0)
held = open(os.environ["SITE"] + "/held")
def is_wanted():
    # Whoever made the site holds its lock, which the kernel frees however that process ends.
    try:
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
signal.signal(signal.SIGQUIT, end)
while True:
    try:
        visitor, _ = heard.accept()
    except TimeoutError:
        if is_wanted():
            continue
        end()
    visitor.settimeout(5)
    try:
        asked = visitor.recv(65536).split(b" ")[1].decode()
        status = "503 No" if os.path.exists(f"sick.{name}") else "200 OK"
        if asked == "/search" and os.path.exists(f"lame.{name}"):
            open("production.log", "a").write("falling back to lame search\n")
        if asked == "/search" and os.path.exists(f"fails.{name}"):
            status = "500 No"
        visitor.sendall(f"HTTP/1.0 {status}\r\nContent-Length: {len(name)}\r\n\r\n{name}".encode())
    except OSError:
        pass
    visitor.close()
"""

BUNDLE = """#!/bin/bash
shift 1
exec -a 'unicorn_rails master' "$PYTHON" "$SITE/app.py" "$@"
"""

SYSTEMCTL = r"""#!/bin/bash
[ "$1" = --user ] || exit 1
shift
cd "$SITE/units" || exit 1
echo "$*" >>calls
conf() { cat "$XDG_RUNTIME_DIR/systemd/user/$1.d/"*.conf 2>/dev/null; }
main() { p=$(cat "$1.pid" 2>/dev/null); [ -n "$p" ] && [ -d "/proc/$p" ] && echo "$p" || echo 0; }
is_app() { case "$1" in *rotation*) return 1 ;; esac; }
case "$1" in
  daemon-reload) [ ! -e "$SITE/slow" ] || sleep 1 ;;
  start)
    is_app "$2" || { echo active >"$2.active"; exit 0; }
    [ "$(main "$2")" = 0 ] || exit 0
    [ -n "$BY_MANAGER" ] || ! conf "$2" | grep -q RefuseManualStart=yes || { echo "Operation refused" >&2; exit 4; }
    ! conf "$2" | grep -q ConditionPathExists || exit 0
    tree=$SITE/${2%.service}
    line=$(conf "$2" | sed -n 's/^ExecStart=\(..*\)/\1/p' | tail -n 1)
    cd "$tree" || exit 1
    exec </dev/null >>"$SITE/app.log" 2>&1 8>&- 9>&-
    NAME=${2%.service} setsid env --default-signal=INT,QUIT ${line:-/bin/bash $tree/run} &
    echo $! >"$SITE/units/$2.pid" ;;
  stop)
    is_app "$2" || { echo inactive >"$2.active"; exit 0; }
    ! conf "$2" | grep -q RefuseManualStop=yes || { echo "Operation refused" >&2; exit 4; }
    p=$(main "$2")
    if [ "$p" != 0 ]; then
      kill -QUIT "$p"
      t=$(conf "$2" | sed -n 's/^TimeoutStopSec=//p' | tail -n 1)
      for n in $(seq $((${t:-2} * 20))); do [ -d "/proc/$p" ] || break; sleep 0.05; done
      # A shell that still boots the application ignores it.
      kill -KILL "$p" 2>/dev/null; while [ -d "/proc/$p" ]; do sleep 0.02; done
    fi
    rm -f "$2.pid" ;;
  restart)
    ! conf "$2" | grep -q RefuseManualStart=yes || { echo "Operation refused" >&2; exit 4; }
    "$0" --user stop "$2" && exec "$0" --user start "$2"; exit $? ;;
  crash)
    p=$(main "$2"); kill -KILL "$p"
    while [ -d "/proc/$p" ]; do sleep 0.01; done
    BY_MANAGER=yes exec "$0" --user start "$2" ;;
  show)
    case "$4" in
      MainPID) echo "MainPID=$(main "$2")" ;;
      ActiveState)
        if ! is_app "$2"; then echo "ActiveState=$(cat "$2.active" 2>/dev/null || echo inactive)"
        elif [ "$(main "$2")" != 0 ]; then echo ActiveState=active; else echo ActiveState=inactive; fi ;;
      NRestarts) echo "NRestarts=$(cat "$2.restarts" 2>/dev/null || echo 0)" ;;
      Description) echo "Description=$(conf "$2" | sed -n 's/^Description=//p' | tail -n 1)" ;;
      *) echo "$4=" ;;
    esac ;;
esac
exit 0
"""

SS = """#!/bin/sh
[ ! -e "$SITE/no-ss" ] || exit 1
exec /usr/bin/ss "$@"
"""

CGROUP_OF = r"""
cgroup_of() {
  [ ! -e "$SITE/adopted" ] || { echo /session-1.scope; return; }
  for u in new old; do [ "$(cat "$SITE/units/$u.service.pid")" != "$1" ] || echo "/$u.service"; done
}
"""

UNDER_LOCK = """trap : TERM
(flock 9; exec timeout 60 /bin/sh "$J/$N.sh" >"$J/N.out" 2>"$J/N.err") 9>>"$CV_PHASE.lock"
exit $?
"""
"""The program as the executor runs it, without the journal."""

OLD, NEW = "old.service", "new.service"

PROGRAMS = {**cutover_steps.PROGRAMS, "start": brief.START}
WAYS_BACK = {"switch": seamless.BACK, "rename": seamless.BACK}


@dataclass
class Site:
    """The folders, and what was seen of the site meanwhile. `linked`: the web server asks a symlink to the bound path.

    `olds` is what serves before, of which `words`, shell, knows what is no unit; `gated` says that a gate is there.
    """

    top: Path
    linked: bool
    stable: float = 1.0
    confirm: float = 20.0
    search: str = ""
    olds: str = OLD
    words: str = ""
    gated: bool = True
    env: dict[str, str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    astray: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None
    n: int = 1
    """The number of the step of which the program is, as a run would count."""
    held: int = -1
    """Of the lock that the applications look at, to end when this process does."""

    def __post_init__(self) -> None:
        for name in ("bin", "units", "sockets", "run/systemd/user", "pids", "attic"):
            (self.top / name).mkdir(parents=True)
        for unit in (OLD, NEW):
            tree = self.top / unit.removesuffix(".service")
            (tree / "tmp").mkdir(parents=True)
            (tree / "tmp/pids").symlink_to(self.top / "pids")
            (tree / "unicorn.rb").write_text("")
            (tree / "run").write_text('#!/bin/bash\ncd "$(dirname "$0")"\nexec bundle exec unicorn_rails -c ./unicorn.rb\n')
        self.held = os.open(self.top / "held", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(self.held, fcntl.LOCK_EX)
        (self.top / "app.py").write_text(APP)
        for name, text in (("bundle", BUNDLE), ("systemctl", SYSTEMCTL), ("ss", SS)):
            (self.top / "bin" / name).write_text(text)
            (self.top / "bin" / name).chmod(0o755)
        if self.linked:
            (self.sockets / "hkn.sock").symlink_to("prod.sock")
        self.env = {
            **os.environ,
            "PATH": f"{self.top}/bin:{os.environ['PATH']}",
            "HOME": str(self.top),
            "SITE": str(self.top),
            "PYTHON": shutil.which("python3") or "python3",
            "LISTEN": str(self.listen),
            "XDG_RUNTIME_DIR": str(self.top / "run"),
            "DRAIN": "3",
        }

    @property
    def sockets(self) -> Path:
        return self.top / "sockets"

    @property
    def listen(self) -> Path:
        return self.sockets / "prod.sock"

    @property
    def public(self) -> Path:
        return self.sockets / ("hkn.sock" if self.linked else "prod.sock")

    @property
    def old_name(self) -> Path:
        return Path(beside(str(self.listen), "old"))

    def systemctl(self, *words: str) -> str:
        done = subprocess.run(["systemctl", "--user", *words], env=self.env, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def restart(self, unit: str) -> int:
        """As a deploy ends: the status that its person sees."""
        return subprocess.run(
            ["systemctl", "--user", "restart", unit], env=self.env, capture_output=True, check=False
        ).returncode

    def main(self, unit: str) -> int:
        return int(self.systemctl("show", unit, "-p", "MainPID").split("=")[1])

    def kill(self, unit: str) -> None:
        """As when memory is short."""
        os.kill(self.main(unit), signal.SIGKILL)
        self.until(lambda: self.main(unit) == 0)

    def ask(self, path: Path | None = None) -> str:
        """Who answers; empty for nobody."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(5)
            asked.connect(str(path or self.public))
            asked.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b""
            while part := asked.recv(4096):
                answer += part
            return answer.decode().rpartition("\r\n\r\n")[2]
        return ""

    def crash(self, unit: str) -> None:
        """Its process ends, and the manager starts it anew, whatever is refused to others."""
        self.systemctl("crash", unit)

    def until(self, seen: Callable[[], bool], limit: float = 20.0) -> None:
        """Wait for something."""
        end = time.monotonic() + limit
        while not seen():
            assert time.monotonic() < end, self.log()
            time.sleep(0.01)

    def log(self) -> str:
        """What was said, for a failure's message."""
        names = ("N.out", "N.err", "N.state", "app.log", "units/calls")
        return "\n".join(f"== {n}\n{(self.top / n).read_text()}" for n in names if (self.top / n).exists())

    def said(self) -> str:
        """What its program says that it does."""
        state = self.top / f"{self.n}.state"
        return state.read_text() if state.exists() else ""

    def program(self, strategy: str, *, back: bool = False) -> str:
        """The step's script, as the executor would send it; of the way back, with the two changed about."""
        inv = inventory()
        inv = inv.changed(
            {"web": inv.web.changed({"socket_dir": str(self.sockets), "listen": str(self.listen), "probe_path": "/"})}
        )
        places = {
            "OLDS": NEW if back else self.olds, "GATED": "yes" if self.gated and not back else "", "SEARCH": self.search,
            "PUBLIC": str(self.public), "OLD": str(self.old_name), "NEXT": beside(str(self.listen), "next"), "HOLD": HOLD,
            "STABLE": f"{self.stable:g}",
            "CONFIRM": f"{self.confirm:g}", "FALLBACK": "falling back", "LOG": f"{self.top}/new/production.log",
            "LOGROTATE_TIMER": "rotation.timer", "LOGROTATE_UNIT": "rotation.service",
        }  # fmt: skip
        theirs = "/run/user/${CONVERGE_UID:-$(id -u)}"
        assert theirs in prelude(inv)
        text = prelude(inv).replace(theirs, str(self.top / "run"))
        text += CGROUP_OF
        unit = OLD if back else NEW
        variables = settings(inv, unit, str(self.top / unit.removesuffix(".service")), **places)
        text_of = (PROGRAMS | (WAYS_BACK if back else {}))[strategy].replace("within 15 finds", "within 2 finds")
        step = Step("S/1", "new", "hand over", (Run(self.words + variables + text_of),), confirm=5.0)
        fence = Fence(
            roots=(str(self.sockets), str(self.top / "run"), str(self.top / "pids")),
            attic=str(self.top / "attic"), run_id="R1", units=(OLD, NEW, "rotation.timer", "rotation.service"),
            account=getpass.getuser(),
        )  # fmt: skip
        return compile_step(step, text, fence, f"{self.n:03}")

    def begin(self, strategy: str) -> None:
        """Let the old application serve, and start the program."""
        (self.top / "units/rotation.timer.active").write_text("active\n")
        if self.gated:
            gate = self.top / f"run/systemd/user/{NEW}.d"
            gate.mkdir()
            (gate / GATE).write_text(f"[Unit]\n{GATE_SHUT}\n")
        if self.olds == OLD:
            self.systemctl("start", OLD)
        self.until(lambda: self.ask() == "old")
        (self.top / "1.sh").write_text(self.program(strategy))
        self.go(UNDER_LOCK)

    def again(self, strategy: str, *, back: bool) -> None:
        """Start the next step's program: the same way once more, or the way back."""
        self.n += 1
        (self.top / f"{self.n}.sh").write_text(self.program(strategy, back=back))
        self.go(UNDER_LOCK)

    def asks(self) -> bool:
        """Whether the program waits to be confirmed from outside."""
        return (self.top / f"{self.n}.asked").exists()

    def answer(self) -> None:
        """Confirm it."""
        (self.top / f"{self.n}.yes").write_text("yes\n")

    def go(self, script: str) -> None:
        """Run shell beside us, with what the executor tells a step's program."""
        text = f"J={self.top} N={self.n}\n{environment('R1', self.n)}\n{notebook(self.n)}\n{script}\n"
        self.process = subprocess.Popen(["/bin/sh", "-c", text], env=self.env, text=True, start_new_session=True)

    def end(self) -> int:
        """How the program ended."""
        assert self.process
        return self.process.wait(60)

    def signal(self, number: signal.Signals) -> None:
        """Signal every process of the unit, as the manager does."""
        assert self.process
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if os.getsid(int(entry.name)) == self.process.pid:
                        os.kill(int(entry.name), number)

    def after(self) -> int:
        """What the manager runs after the unit's end; the program's status, 0 if it had nothing to do."""
        text = aftermath(self.n).replace(f"{self.n}.out", "N.out").replace(f"{self.n}.err", "N.err")
        self.go(f"rc=0\n{text}\nexit $rc")
        return self.end()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Ask all the time who answers, and whether the web server's path leads where whoever starts next will bind."""
        over = threading.Event()

        def look() -> None:
            while not over.is_set():
                answer = self.ask()
                if not self.seen or self.seen[-1] != answer:
                    self.seen.append(answer)
                if (led := os.path.realpath(self.public)) != str(self.listen):
                    self.astray.append(led)
                time.sleep(0.005)

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def close(self) -> None:
        """End what still runs."""
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.process.wait()
        for unit in (OLD, NEW):
            if self.main(unit):
                with contextlib.suppress(ProcessLookupError):
                    self.kill(unit)
        os.close(self.held)

    def led(self) -> list[str]:
        """Whom the web server's path led to, one after the other, as the programs noted it."""
        notes = self.top / f"{self.n}.leads"
        who = [line.partition(" ")[2] for line in notes.read_text().splitlines()] if notes.exists() else []
        return [each for n, each in enumerate(who) if n == 0 or who[n - 1] != each]

    def phase(self) -> str:
        """What the program keeps of its phase."""
        file = self.top / f"run/hkn-migration-R1-{self.n}.phase"
        found = re.match(r"\w+", file.read_text() if file.exists() else "")
        return found.group() if found else ""
