"""The words that the lint of a step's shell knows: programs that are refused, those that run others, places of our own."""

from __future__ import annotations

import re
from typing import get_args, get_type_hints

from converge.steps.step import Unit

DELETED = "nothing is deleted: use Aside, or `aside PATH` in a program"
WRITTEN = "files are written beside and renamed: use Write, or `put PATH MODE` in a program"
ANOTHERS = "it hits others' processes too: use Signal"
UNSEEN = "what it runs cannot be seen beforehand: write it out"
ONE_HOST = "a step acts on its own host alone: yield a step for the other one"

FORBIDDEN = {
    **dict.fromkeys(("rm", "rmdir", "unlink", "shred"), DELETED),
    **dict.fromkeys(("truncate", "dd", "tee"), WRITTEN),
    **dict.fromkeys(("pkill", "killall", "skill"), ANOTHERS),
    **dict.fromkeys(("chown", "chgrp"), "files stay whose they are"),
    **dict.fromkeys(("sudo", "su"), "a step acts as the account alone"),
    **dict.fromkeys(("reboot", "shutdown"), "the host is not ours"),
    **dict.fromkeys(("ssh", "scp", "sftp"), ONE_HOST),
    "kill": "processes are signalled only by Signal or cv_signal, which make sure of them (`kill -0` may be used to look)",
    "chmod": "what it was is kept for the undo: use Mode, or `chmode PATH MODE` in a program",
    **dict.fromkeys(("eval", "alias"), UNSEEN),
    "function": "it is no POSIX sh: NAME() { ...; }",
    "crontab": "crontabs are shown to a person, not changed",
    "loginctl": "lingering is the host staff's to set",
}

SHELLS = {"sh", "bash", "dash", "ash", "ksh", "zsh"}
RUN_ANOTHER = {
    *("exec", "command", "env", "time", "timeout", "nice", "ionice", "nohup", "setsid", "stdbuf", "flock", "xargs"),
    *("busybox", "toybox", "systemd-run", "systemd-cat"),
}
"""Programs of whose words any may begin a command. So may those of a function's call: many end in ``"$@"``."""

NOT_OURS = "not a unit of this target"

VERBS = set(get_args(get_type_hints(Unit)["verb"]))
LOOKING = {
    *("show", "cat", "status", "is-active", "is-enabled", "is-failed", "is-system-running"),
    *("list-units", "list-unit-files", "list-jobs", "list-timers", "list-sockets", "list-dependencies", "show-environment"),
}

OUR_VARIABLES = ("CV_", "XDG_RUNTIME_DIR")
OUR_PLACES = (*(f"${{{name}" for name in OUR_VARIABLES), "$(mktemp)")
OUR_NAME = re.compile(r"(?:^|/)\.[^/]*\.cv-[^/]*$")
"""Of a file that is not whole yet, beside its place."""

DEVICE = re.compile(r"/dev/(?:null|stdout|stderr|fd/\d+)")
NO_FILE = re.compile(r"\d+|-")
PROGRAMS = re.compile(r"/(?:usr/)?(?:local/)?s?bin/")
VARIABLE = re.compile(r"\$\{(\w+)\}")
SUBSTITUTION = re.compile(r"\$\((\w+)\)")
NO_UNIT = re.compile(r"process-\d+")
"""How programs call a process that was started by hand, among the units of which they stop or start each."""
