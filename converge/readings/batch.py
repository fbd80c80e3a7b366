"""Many readings, one script, one stream of answers. Pure: text in, answers out.

Each reading runs in a shell of its own under a time limit, with stdin closed, so that a syntax error, an `exit`, a
redirection or a hang costs that reading its answer and no other. An answer is framed on both streams by a mark that holds
a nonce; the script carries the nonce in two halves, so that a reading which lists processes cannot end a frame.
CONVERGE_UID has the account's number, so that no reading has to start a process to learn it.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Sequence

from converge.readings.reading import Raw
from converge.shell.library import NICED

TIMED_OUT = (124, 137)
"""Exit statuses of timeout(1): the limit was reached; it then had to be killed."""

FRAME = """\
{niced}
CONVERGE_UID=$(id -u); export CONVERGE_UID
mark() {{
  read -r up _ </proc/uptime
  printf '\\n%s%s %s %s %s\\n' {a} {b} "$1" "$2" "$up"
  printf '\\n%s%s %s\\n' {a} {b} "$1" >&2
}}
ask() {{ timeout -k 1 "$2" /bin/sh -c "$PRELUDE
$3" </dev/null; mark "$1" $?; }}
PRELUDE={prelude}
mark B 0
"""


def new_nonce() -> str:
    """A mark that no output can hold by accident."""
    return secrets.token_hex(16)


def script(questions: Sequence[tuple[str, float]], prelude: str, nonce: str) -> str:
    """The script that answers all `questions` (snippet, limit in seconds) in order."""
    head = FRAME.format(niced=NICED, a=nonce[:16], b=nonce[16:], prelude=shlex.quote(prelude))
    body = "".join(f"ask {i} {limit:g} {shlex.quote(text)}\n" for i, (text, limit) in enumerate(questions))
    return head + body


def answers(out: bytes, err: bytes, nonce: str, count: int) -> list[Raw | None]:
    """The answers in the order of the questions; None where the stream ended before the answer did.

    What stands before the first mark (a chatty login shell) is ignored.
    """
    mark = rb"\n" + nonce.encode() + rb" (B|\d+)"
    outs = re.split(mark + rb" (\d+) ([0-9.]+)\n", out)
    errs = re.split(mark + rb"\n", err)
    said = {int(i): text for text, i in zip(errs[2::2], errs[3::2], strict=False)}
    found: dict[int, Raw] = {}
    began = float(outs[3]) if len(outs) > 3 else 0.0
    for text, i, rc, up in zip(outs[4::4], outs[5::4], outs[6::4], outs[7::4], strict=False):
        number, ended = int(i), float(up)
        if number in said:
            found[number] = Raw(int(rc), _text(text), _text(said[number]), round(ended - began, 2))
        began = ended
    return [found.get(i) for i in range(count)]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
