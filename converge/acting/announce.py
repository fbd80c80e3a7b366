"""What a step says of itself on its host to people who do not know this tool: in the journal, and in a file in words."""

from __future__ import annotations

import shlex

from hosts.tool import NAME

ALOUD = f"""\
aloud() {{ # LINE: into the account's journal; where that is not possible, nowhere, and the step does not wait for it
  printf '%s\\n' "$1" | timeout 5 systemd-cat -t {NAME} || printf '%s\\n' "$1" | timeout 5 logger -t {NAME} || :
}} >/dev/null 2>&1
"""


def title(run: str, n: int, who: str, sentence: str) -> str:
    """Which step of whose run it is, and what it does, on one line."""
    return " ".join(f"run {run}, step {n}, by {who}: {sentence}".split())


def aloud(text: str) -> str:
    """Shell that says one line, by itself."""
    return f"{ALOUD}aloud {shlex.quote(text)}\n"


def state(run: str, n: int, who: str, sentence: str, *, puts_back: bool, undoable: bool) -> str:
    """What stands in a step's state file while it acts: what it does, and what stopping it does."""
    way = f", puts back what it wrote, moved or linked ({n}.undo.sh beside this file does so too)" if undoable else ""
    stop = f"the step ends{way}; nothing is lost; the next run looks what became of it"
    if puts_back:
        stop = "it puts back by itself what it interrupted"
    return f"{' '.join(f'step {n} of run {run}, by {who}: {sentence}'.split())}; stopping it: {stop}"
