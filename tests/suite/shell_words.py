"""Which programs a piece of shell calls, and with which words.

Programs in programs are found too: in ``$( )``, behind ``find -exec``, ``xargs``, ``timeout``, ``env`` and ``sh -c``. The
text of here-documents is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from converge.steps.shell_words import Script, read

RUNNERS = {
    "command": r"-\w", "env": r"-\w|\w+=.*", "exec": r"-\w", "flock": r"-\w|[\d.]+|.*\.lock|\$\w+", "nice": r"-n|-?\d+",
    "setsid": r"-\w", "timeout": r"-\w|[\d.]+[smh]?|\$\w+", "xargs": r"-[\w=-]+|\d+",
}  # fmt: skip
"""Programs that run another, and what may stand before its name."""


def functions(script: str) -> set[str]:
    """The names of the functions that it defines, or a program in it."""
    return {name for program in _programs(script) for name in program.functions}


def commands(script: str) -> list[list[str]]:
    """The words of every simple command, without quotes, assignments and redirections, in no order to rely on."""
    found = [words for program in _programs(script) for words in _words(program)]
    for words in found:  # it grows: behind a command may be one that has another behind it
        if behind := _behind(words[0].rpartition("/")[2], words[1:]):
            found.append(behind)
    return found


def _words(program: Script) -> list[list[str]]:
    return [[word.text for word in command.words] for command in program.commands if command.words]


def _programs(script: str) -> Iterator[Script]:
    """A script, and those that its commands are told to run."""
    program = read(script)
    yield program
    for words in _words(program):
        if inner := _told(words):
            yield from _programs(inner)


def _told(words: list[str]) -> str:
    """The program in a command's words."""
    if "sh" in (name.rpartition("/")[2] for name in words) and "-c" in words:
        return words[words.index("-c") + 1]
    if words[0] == "eval":
        return " ".join(words[1:])
    return words[1] if words[0] == "trap" and words[1:2] != ["-"] else ""


def _behind(name: str, rest: list[str]) -> list[str]:
    """The command that stands behind one of those that run another."""
    if name == "find":
        start = next((n + 1 for n, word in enumerate(rest) if word in {"-exec", "-execdir"}), len(rest))
        return rest[start : next((n for n in range(start, len(rest)) if rest[n] in {";", "+"}), len(rest))]
    if name not in RUNNERS:
        return []
    while rest and re.fullmatch(RUNNERS[name], rest[0]):
        rest = rest[1:]
    return rest
