"""One run at a time per target: a lock on the app host that the kernel frees when its holder ends.

The holder is a process on the app host that reads beats from us. It ends at the end of its input (we are gone, or our
machine, or the connection) or when it hears nothing for ``SILENCE`` seconds, and the lock goes with it. Every step takes a
second lock while it acts, so a step that outlives its run still keeps the next run out.

Such a lock is one host's own. For a run that takes another host for the app host, the holder also leaves a hint in the
home, which the hosts share, and touches it at every beat; a hint not touched for ``STALE`` seconds counts no more.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import threading
import time
from dataclasses import dataclass

from converge.errors import ConnectionLost, ConvergeError, Exit, LockHeld
from converge.journal.journal import STATE
from converge.shell.library import NICED, Rc
from converge.text.display import one_line
from converge.transport import Link
from converge.transport.stream import Stream, Talks
from hosts.tool import NAME

SILENCE = 30
BEAT = 10.0
ANSWER = 20.0
STALE = 120
"""Seconds: several beats, and as long again as a network file system may show an old time."""

RUNTIME = ': "${XDG_RUNTIME_DIR:=/run/user/$(id -u)}"; export XDG_RUNTIME_DIR'
LOCK = f'"$XDG_RUNTIME_DIR"/{NAME}.lock'
ACT_LOCK = f'"$XDG_RUNTIME_DIR"/{NAME}.act'
HINT = f"{STATE}/holder"


class LockUnavailable(ConvergeError):
    """The lock could neither be taken nor found taken, on a host that was reached; nothing was done."""

    exit_code = Exit.FAILS


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock: person and machine, run, since when (seconds since the epoch), holding process, and its host."""

    who: str
    run: str
    since: float
    pid: int = 0
    host: str = ""

    def __str__(self) -> str:
        since = time.strftime("%H:%M:%S on %Y-%m-%d", time.localtime(self.since)) if self.since else "unknown"
        return f"{self.who}, run {self.run}, since {since}" + (f", on {self.host}" if self.host else "")


def parse_holder(text: str) -> Holder:
    """The holder from the lock's info file; what it does not say is called unknown."""
    try:
        data = json.loads(text)
        pid, host = int(data.get("pid", 0)), str(data.get("host", ""))
        return Holder(str(data["who"]), str(data["run"]), float(data["since"]), pid, host)
    except (ValueError, KeyError, TypeError):
        return Holder("unknown", "unknown", 0.0)


_HINTED = f"""
hinted() {{ # whether a holder on another host touched the hint lately
  h=$(sed -n 's/.*"host": "\\([^"]*\\)".*/\\1/p' {HINT} 2>/dev/null)
  [ -n "$h" ] && [ "$h" != "$(uname -n)" ] || return 1
  # By the clock of the home's own server, which set the hint's time too: this host's may be wrong.
  ! touch {HINT}.now 2>/dev/null || [ "$(($(stat -c %Y {HINT}.now) - $(stat -c %Y {HINT})))" -lt {STALE} ]
}}
"""

TAKEN = """
taken() { # FILE: whether somebody holds this lock, without taking it for an instant
  i=$(stat -c %i "$1" 2>/dev/null) || return 1
  awk -v i="$i" '$2 == "FLOCK" && $6 ~ (":" i "$") { found = 1 } END { exit !found }' /proc/locks
}
"""

_NAMED = f"""
named() {{ # who has taken the lock just now has yet to write who it is: until then the file names a process that is gone
  n=20
  until kill -0 "$(sed -n 's/.*"pid": \\([0-9]*\\).*/\\1/p' {LOCK}.info 2>/dev/null)" 2>/dev/null || [ "$n" = 0 ]; do
    sleep 0.1; n=$((n - 1))
  done
}}
"""


def holding_script(info: str, run: str) -> str:
    """Shell that takes the lock, says ``locked``, and holds it while it hears beats; `info` is the holder's JSON."""
    mine = shlex.quote(f'"run": {json.dumps(run)},')
    return f"""{NICED}
{RUNTIME}
{_HINTED}{_NAMED}
[ -d "$XDG_RUNTIME_DIR" ] || {{ echo "no $XDG_RUNTIME_DIR"; exit 14; }}
umask 077
exec 9>>{LOCK} || {{ echo "cannot open"; exit 14; }}
flock -n 9 || {{ named; echo held; cat {LOCK}.info 2>/dev/null; exit 10; }}
exec 8>>{ACT_LOCK}
flock -n 8 || {{ echo acting; cat {ACT_LOCK}.info 2>/dev/null; exit 10; }}
exec 8>&-
mkdir -p {STATE}
if hinted; then echo held; cat {HINT}; exit 10; fi
printf %s {shlex.quote(info)} | sed 's/"pid": 0/"pid": '$$'/;s/"host": ""/"host": "'"$(uname -n)"'"/' >{LOCK}.info.$$ &&
  mv -T {LOCK}.info.$$ {LOCK}.info
cp {LOCK}.info {HINT}.$$ && mv -T {HINT}.$$ {HINT}
echo locked
while [ "$(exec 9>&-; exec timeout {SILENCE} head -c 1)" = . ]; do
  # Not waited for: a home that hangs must not keep the lock from ending.
  (exec 9>&-; ! grep -qF {mine} {HINT} || touch {HINT}) >/dev/null 2>&1 &
done
exec 9>&-
! grep -qF {mine} {HINT} || : >{HINT}
"""


def mine_script(run: str) -> str:
    """Shell for the app host that ends with ``Rc.UNLOCKED`` unless `run` holds the lock there now.

    A command can reach the host long after it was sent (a stalled line, a machine that slept): by then the holder has
    ended for want of beats, and another run may be at work.
    """
    return f"""{RUNTIME}
if flock -n {LOCK} true 2>/dev/null || ! grep -qF {shlex.quote(f'"run": {json.dumps(run)},')} {LOCK}.info 2>/dev/null; then
  exit {Rc.UNLOCKED.value}
fi
"""


def heard_script(run: str) -> str:
    """The same for another host that shares the home: by the hint, and by the clock of the home's own server."""
    return f"""touch {HINT}.now
if ! grep -qF {shlex.quote(f'"run": {json.dumps(run)},')} {HINT} 2>/dev/null ||
  [ "$(($(stat -c %Y {HINT}.now) - $(stat -c %Y {HINT})))" -ge {STALE} ]; then
  exit {Rc.UNLOCKED.value}
fi
"""


class Lock:
    """The target's lock, held on the app host as long as this is open."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.who = "unknown"
        """The person who took it last."""
        self._stream: Stream | None = None
        self._quit = threading.Event()
        self._lost = ""

    def acquire(self, who: str, run: str) -> None:
        """Take the lock and keep it by beats from a thread.

        Raises:
            LockHeld: another run holds it, or a step of an earlier run still acts; the message says whose.
            LockUnavailable: the host has no place for it, or no flock.
        """
        if not isinstance(self.link, Talks):
            raise LockUnavailable(f"{self.link.name}: this link cannot hold a lock")
        self.who = who
        info = json.dumps({"who": who, "run": run, "since": round(time.time(), 1), "pid": 0, "host": ""})
        stream = self.link.talk(holding_script(info, run))
        answer = _first_line(stream)
        word, _, rest = answer.partition("\n")
        if word != "locked":
            stream.close()
        if word == "held":
            raise LockHeld(f"{self.link.name}: another run is going on: {parse_holder(rest)}. Run again after its end.")
        if word == "acting":
            step = rest.strip() or "unknown"
            raise LockHeld(f"{self.link.name}: a step of an earlier run still acts: run {step}. Run again after its end.")
        if word != "locked":
            raise LockUnavailable(
                f"{self.link.name}: the lock could not be taken ({one_line(answer) or 'no answer'}): "
                "look whether the user manager runs there (`loginctl user-status`) and flock is installed"
            )
        self._stream = stream
        threading.Thread(target=self._beat, args=(stream,), name="lock-beat", daemon=True).start()

    def check(self) -> None:
        """Make sure that the lock is still ours.

        Raises:
            ConnectionLost: its holder ended.
        """
        if self._lost or self._stream is None:
            raise ConnectionLost(f"{self.link.name}: the lock was lost ({self._lost or 'not held'}): nothing more is done")

    def release(self) -> None:
        """Let the lock go; nothing if it is not held."""
        self._quit.set()
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _beat(self, stream: Stream) -> None:
        while not self._quit.is_set():
            try:
                stream.send(b".")
            except (OSError, ValueError) as problem:
                self._lost = self._lost or f"its connection ended: {problem}"
                return
            except Exception as problem:  # the ssh library's own kinds
                self._lost = self._lost or str(problem)
                return
            self._quit.wait(BEAT)


def _first_line(stream: Stream) -> str:
    """The first answer; for a refusal all of it, since the holder's name follows."""
    text = b""
    with contextlib.suppress(TimeoutError):
        while not text.startswith(b"locked\n"):
            piece = stream.receive(ANSWER)
            if not piece:
                break
            text += piece
    return text.decode(errors="replace")


def holder(link: Link) -> Holder | None:
    """Who holds the lock now, here or (by the hint) on another host, without taking it; None if nobody.

    Writes nothing; where a hint names another host it renews the time of a file beside it.
    """
    script = f"""{RUNTIME}
{_HINTED}{TAKEN}
if taken {LOCK}; then
  echo held; cat {LOCK}.info 2>/dev/null
elif hinted; then
  echo held; cat {HINT}
fi
"""
    done = link.exec(script, limit=15)
    word, _, rest = done.out.decode(errors="replace").partition("\n")
    return parse_holder(rest) if word == "held" else None


def acting(link: Link) -> str:
    """The step that acts on a host now, with its run, though that may be gone; empty for none. Writes nothing."""
    script = f"{RUNTIME}\n{TAKEN}\nif taken {ACT_LOCK}; then cat {ACT_LOCK}.info 2>/dev/null || echo unknown; fi\n"
    return link.exec(script, limit=15).out.decode(errors="replace").strip()
