"""Which programs a piece of shell calls, and with which words: enough of POSIX sh for the scripts of this project.

Programs in programs are found too: in ``$( )``, behind ``find -exec``, ``xargs``, ``timeout``, ``env`` and ``sh -c``. The
text of here-documents is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

KEYWORDS = {"if", "then", "else", "elif", "fi", "do", "done", "while", "until", "{", "}", "!", "esac"}
BREAKS = (";;", "&&", "||", ";", "|", "&", "(", ")", "\n")
REDIRECTION = re.compile(r"\d*(?:<<-?|>>|[<>]&?)\s*")
RUNNERS = {
    "command": r"-\w", "env": r"-\w|\w+=.*", "exec": r"-\w", "flock": r"-\w|[\d.]+|.*\.lock|\$\w+", "nice": r"-n|-?\d+",
    "setsid": r"-\w", "timeout": r"-\w|[\d.]+[smh]?|\$\w+", "xargs": r"-[\w=-]+|\d+",
}  # fmt: skip
"""Programs that run another, and what may stand before its name."""
FUNCTION = re.compile(r"(?m)(?:^|[;{]|\bthen|\bdo)\s*(\w+)\(\)\s*[{(]")


def functions(script: str) -> set[str]:
    """The names of the functions that it defines."""
    return set(FUNCTION.findall(script))


def commands(script: str) -> list[list[str]]:
    """The words of every simple command, without quotes, assignments and redirections, in no order to rely on."""
    found: list[list[str]] = []
    _Reader(script, found).read()
    for words in list(found):
        found.extend(_inner(words))
    return [words for words in found if words]


def _inner(words: list[str]) -> Iterator[list[str]]:
    """The commands that this one is told to run."""
    name, rest = words[0].rpartition("/")[2], words[1:]
    if name == "sh" and "-c" in rest:
        yield from commands(rest[rest.index("-c") + 1])
    elif name == "eval":
        yield from commands(" ".join(rest))
    elif name == "trap":
        yield from commands(rest[0]) if rest[:1] != ["-"] else ()
    elif behind := _behind(name, rest):
        yield behind
        yield from _inner(behind)


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


class _Reader:
    """Goes through a script once. `found` gets each command; what is in ``$( )`` is read by a reader of its own."""

    def __init__(self, text: str, found: list[list[str]]) -> None:
        self.text, self.found, self.at = text, found, 0
        self.words: list[str] = []
        self.ends: list[str] = []
        """The words that end the here-documents of this line."""
        self.pattern = 0
        """How many ``case`` are open; a pattern follows their ``in`` and each ``;;``."""

    def read(self) -> None:
        while self.at < len(self.text):
            self._step()
        self._end()

    def _step(self) -> None:
        text = self.text
        if text.startswith("\\\n", self.at):
            self.at += 2
        elif text[self.at] in " \t":
            self.at += 1
        elif text[self.at] == "#":
            self.at = (text + "\n").index("\n", self.at)
        elif found := REDIRECTION.match(text, self.at):
            self.at = found.end()
            end = self._word()
            if "<<" in found.group():
                self.ends.append(end)
        elif sign := next((s for s in BREAKS if text.startswith(s, self.at)), None):
            self.at += len(sign)
            self._end()
            if sign == "\n":
                self._skip_documents()
            if sign == ";;":
                self._skip_pattern()
        else:
            self._add(self._word())

    def _add(self, word: str) -> None:
        if not self.words and (word in KEYWORDS or re.match(r"\w+=", word)):
            self.pattern -= word == "esac"
            return
        if self.words[:1] == ["case"] and word == "in":
            self.words = []
            self.pattern += 1
            self._skip_pattern()
            return
        if self.words[:1] == ["for"]:
            # What a loop goes through is no command; its words end at the next break.
            return
        self.words.append(word)

    def _end(self) -> None:
        if self.words and self.words[0] != "for":
            self.found.append(self.words)
        self.words = []

    def _skip_pattern(self) -> None:
        rest = re.compile(r"(?:\s|#[^\n]*\n)*").match(self.text, self.at)
        self.at = rest.end() if rest else self.at
        if self.pattern and not re.compile(r"esac\b").match(self.text, self.at):
            while self.at < len(self.text) and self.text[self.at] != ")":
                if self.text[self.at] in " |(":
                    self.at += 1
                else:
                    self._word()
            self.at += 1

    def _skip_documents(self) -> None:
        for end in self.ends:
            found = re.compile(rf"(?m)^\t*{re.escape(end)}$").search(self.text, self.at)
            self.at = found.end() if found else len(self.text)
        self.ends = []

    def _word(self) -> str:
        said, text = "", self.text
        while self.at < len(text):
            sign = text[self.at]
            if sign in " \t\n;|&<>)" or (sign == "(" and not said.endswith("$")):
                if not (sign == "(" and re.fullmatch(r"\w+", said) and text.startswith("()", self.at)):
                    break
                self.at += 2  # the head of a function: nothing of it is a word
                return "{"
            if sign == "'":
                end = text.index("'", self.at + 1)
                said, self.at = said + text[self.at + 1 : end], end + 1
            elif sign == '"':
                self.at += 1
                said += self._quoted()
            elif sign == "\\":
                said, self.at = said + text[self.at + 1 : self.at + 2], self.at + 2
            elif sign in "$`":
                said += self._expansion()
            else:
                said, self.at = said + sign, self.at + 1
        return said

    def _quoted(self) -> str:
        said = ""
        while self.at < len(self.text) and self.text[self.at] != '"':
            if self.text[self.at] == "\\":
                said, self.at = said + self.text[self.at : self.at + 2], self.at + 2
            elif self.text[self.at] in "$`":
                said += self._expansion()
            else:
                said, self.at = said + self.text[self.at], self.at + 1
        self.at += 1
        return said

    def _expansion(self) -> str:
        text, start = self.text, self.at
        if text.startswith("$((", start):
            self.at = _closing(text, start + 1)
        elif text.startswith("$(", start):
            self.at = _closing(text, start + 1)
            _Reader(text[start + 2 : self.at - 1], self.found).read()
        elif text.startswith("${", start):
            self.at = _closing(text, start + 1)
            for inner in re.finditer(r"\$\(", text[start + 1 : self.at]):
                began = start + 1 + inner.start() + 1
                _Reader(text[began + 1 : _closing(text, began) - 1], self.found).read()
        else:
            self.at += 1
            return "$"
        return text[start : self.at]


def _closing(text: str, at: int) -> int:
    """Where the bracket at `at` is closed, quotes and comments left out."""
    pairs = {"(": ")", "{": "}"}
    mine = pairs[text[at]]
    at += 1
    cases = 0
    while at < len(text):
        sign = text[at]
        if sign == mine and not cases:
            return at + 1
        if sign == "\\":
            at += 1
        elif sign == "'" and mine == ")":
            at = text.index("'", at + 1)
        elif sign == '"':
            at += 1
            while text[at] != '"':
                at = _closing(text, at + 1) - 1 if text.startswith(("$(", "${"), at) else at + (text[at] == "\\")
                at += 1
        elif sign in pairs and (mine == ")" or text[at - 1] == "$"):
            at = _closing(text, at) - 1
        elif mine == ")" and re.compile(r"\bcase\s").match(text, at) and not text[at - 1].isalnum():
            cases += 1
        elif mine == ")" and re.compile(r"\besac\b").match(text, at):
            cases -= 1
        at += 1
    raise ValueError(f"a bracket is not closed: {text[at - 40 : at]!r}")
