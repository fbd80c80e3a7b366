"""The simple commands of POSIX shell text, wherever they stand: in substitutions, functions and compounds, too.

``shlex`` does not do for that: it takes ``${x#y}`` for a comment, ends a quoted ``"$(f "$x")"`` in its middle, and does not
tell an operator from a quoted one. This knows as much of the grammar as a lint needs, and nothing of what expands to what.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache


class Unreadable(ValueError):
    """It is no shell text, or of a kind that this does not know."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word without its quotes.

    What expands is as it was written, but always in braces: `${x}`, and `${x?}` where an operator makes something else
    of it; of a substitution only the program is left: `$(f)`. `globs` where an unquoted pattern is in it.
    """

    text: str
    globs: bool = False
    quoted: bool = False


@dataclass(slots=True)
class Command:
    """A simple command; of a loop, its variable with the words that it takes; of a compound, its redirections."""

    words: list[Word] = field(default_factory=list)
    assigned: list[tuple[str, str]] = field(default_factory=list)
    redirected: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Script:
    """Commands in the order of the text, and the functions that it defines: with the command, where it is a single one."""

    commands: tuple[Command, ...]
    functions: dict[str, Command | None]


SKIPPED = re.compile(r"(?:[ \t\r]|\\\n|#[^\n]*)+")
REDIRECTION = re.compile(r"\d*(<<-|<<|<>|<&|>>|>&|>\||<|>)")
CONTROL = re.compile(r"&&|\|\||[;&|]")
NAME = re.compile(r"[A-Za-z_]\w*|\d")
PARAMETER = re.compile(r"#?(?:[A-Za-z_]\w*|\d+|[@*#?$!-])")
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=")
RESERVED = {"if", "then", "elif", "else", "fi", "while", "until", "do", "done", "!", "time", "esac", "{", "}"}


@lru_cache(maxsize=64)
def read(text: str) -> Script:
    """The commands of a program.

    Raises:
        Unreadable: it is none, or cannot be understood.
    """
    reader = _Reader(text)
    reader.commands("")
    return Script(tuple(reader.found), reader.functions)


@dataclass(slots=True)
class _Level:
    """A list of commands that is being read: the command so far, the function whose body comes, the bodies it is in."""

    now: Command = field(default_factory=Command)
    defined: str = ""
    bodies: list[tuple[str, int]] = field(default_factory=list)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.found: list[Command] = []
        self.functions: dict[str, Command | None] = {}
        self.awaited: list[tuple[str, Word]] = []

    def commands(self, end: str) -> None:
        """Read up to `end`, a closing parenthesis or the end of the text."""
        level = _Level()
        while True:
            self._skip()
            here = self.text[self.at : self.at + 1]
            if here in ("", "\n", ")") or CONTROL.match(here):
                self._finish(level)
                if here == end:
                    self.at += len(end)
                    return
                self._separator(here, end)
            elif here == "(":
                self.at += 1
                self._parenthesis(level)
            elif redirection := REDIRECTION.match(self.text, self.at):
                self.at = redirection.end()
                self._redirect(level.now, redirection[1])
            else:
                self._take(level, self._word())

    def _finish(self, level: _Level) -> None:
        now, level.now = level.now, Command()
        if now.words or now.assigned or now.redirected:
            self.found.append(now)

    def _separator(self, here: str, end: str) -> None:
        if here == "\n":
            self.at += 1
            self._here_documents()
        elif self.text.startswith(";;", self.at):
            self.at += 2
            self._pattern()
        elif operator := CONTROL.match(self.text, self.at):
            self.at = operator.end()
        else:
            raise Unreadable(f"`{here or 'the end'}` comes where {end or 'a command'} was expected")

    def _parenthesis(self, level: _Level) -> None:
        """What one opens: the name before it is a function's, or a subshell follows."""
        level.defined = ""
        if len(level.now.words) == 1:
            self._expect(")")
            level.defined, level.now = level.now.words[0].text, Command()
            self.functions[level.defined] = None
        else:
            self.commands(")")

    def _take(self, level: _Level, word: Word) -> None:
        now = level.now
        reserved = "" if now.words or now.assigned or word.quoted else word.text
        if reserved == "case":
            self._skip()
            self._word()
            self._expect("in")
            self._pattern()
        elif reserved == "for":
            self.found.append(self._for())
        elif reserved == "{":
            level.bodies.append((level.defined, len(self.found)))
            level.defined = ""
        elif reserved == "}" and level.bodies:
            name, first = level.bodies.pop()
            if name and len(self.found) == first + 1:
                self.functions[name] = self.found[first]
        elif reserved in RESERVED:
            pass
        elif not now.words and (given := ASSIGNMENT.match(word.text)):
            now.assigned.append((given[1], word.text[given.end() :]))
        else:
            now.words.append(word)

    def _skip(self, lines: bool = False) -> None:
        while (blank := SKIPPED.match(self.text, self.at)) or (lines and self.text.startswith("\n", self.at)):
            self.at = blank.end() if blank else self.at + 1

    def _follows(self, reserved: str) -> bool:
        """Whether a reserved word comes next, which is passed."""
        end = self.at + len(reserved)
        found = self.text.startswith(reserved, self.at) and self.text[end : end + 1] in ("", *" \t\n;&|)")
        if found:
            self.at = end
        return found

    def _expect(self, what: str) -> None:
        self._skip(lines=what == "in")
        if not self.text.startswith(what, self.at):
            raise Unreadable(f"`{self.text[self.at : self.at + 20]}` comes where `{what}` was expected")
        self.at += len(what)

    def _pattern(self) -> None:
        """Pass the next pattern of a case, or its end."""
        self._skip(lines=True)
        if self._follows("esac"):
            return
        self.at += self.text.startswith("(", self.at)
        while True:
            self._skip()
            self._word()
            self._skip()
            if not self.text.startswith("|", self.at):
                break
            self.at += 1
        self._expect(")")

    def _for(self) -> Command:
        self._skip()
        name = self._word().text
        self._skip(lines=True)
        if not self._follows("in"):
            return Command(assigned=[(name, "$@")])
        values = []
        self._skip()
        while self.text[self.at : self.at + 1] not in ("", ";", "\n"):
            values.append(self._word().text)
            self._skip()
        return Command(assigned=[(name, " ".join(values))])

    def _redirect(self, now: Command, operator: str) -> None:
        self._skip()
        target = self._word()
        if operator in ("<<", "<<-"):
            self.awaited.append((operator, target))
        else:
            now.redirected.append((operator, target.text))

    def _here_documents(self) -> None:
        for operator, delimiter in self.awaited:
            lines = []
            for line in self._lines():
                plain = line.lstrip("\t") if operator == "<<-" else line
                if plain == delimiter.text:
                    break
                lines.append(plain)
            if not delimiter.quoted:
                body = _Reader("\n".join(lines))
                body._double("")
                self.found += body.found
        self.awaited = []

    def _lines(self) -> Iterator[str]:
        while self.at < len(self.text):
            line, _, _ = self.text[self.at :].partition("\n")
            self.at += len(line) + 1
            yield line

    def _word(self) -> Word:
        parts, globs, quoted, first = list[str](), False, False, self.at
        while (here := self.text[self.at : self.at + 1]) and here not in " \t\r\n;&|<>()":
            if here in "'\"\\":
                quoted = True
            globs = globs or here in "*?["
            if here == "'":
                parts.append(self._single())
            elif here == '"':
                self.at += 1
                parts.append(self._double('"'))
            elif here == "\\":
                parts.append(self.text[self.at + 1 : self.at + 2].strip("\n"))
                self.at += 2
            else:
                parts.append(self._expanded(here))
        if self.at == first:
            raise Unreadable(f"`{self.text[self.at : self.at + 20]}` comes where a word was expected")
        return Word("".join(parts), globs, quoted)

    def _single(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise Unreadable(f"a quote is not closed: {self.text[self.at : self.at + 30]}")
        text, self.at = self.text[self.at + 1 : end], end + 1
        return text

    def _double(self, end: str) -> str:
        """Text that expands, up to `end` (empty: all of it)."""
        parts = []
        while (here := self.text[self.at : self.at + 1]) != end:
            if not here:
                raise Unreadable("a quote is not closed")
            if here == "\\":
                after = self.text[self.at + 1 : self.at + 2]
                parts.append(after.strip("\n") if after in '$`"\\\n' else here + after)
                self.at += 2
            else:
                parts.append(self._expanded(here))
        self.at += len(end)
        return "".join(parts)

    def _expanded(self, here: str) -> str:
        if here == "`":
            end = re.compile(r"(?:[^`\\]|\\.)*`", re.DOTALL).match(self.text, self.at + 1)
            if not end:
                raise Unreadable("a backtick is not closed")
            self.at = end.end()
            return self._substituted(_Reader(re.sub(r"\\([`$\\])", r"\1", end[0][:-1])))
        self.at += 1
        if here != "$":
            return here
        if self.text.startswith("((", self.at):
            return self._arithmetic()
        if self.text.startswith("(", self.at):
            self.at += 1
            return self._substituted(self)
        if self.text.startswith("{", self.at):
            self.at += 1
            return self._parameter()
        name = NAME.match(self.text, self.at)
        if name:
            self.at = name.end()
            return f"${{{name[0]}}}"
        return here

    def _substituted(self, reader: _Reader) -> str:
        first = reader.at
        reader.commands(")" if reader is self else "")
        if reader is not self:
            self.found += reader.found
        program = reader.text[first : reader.at].strip(" \t\n)").split()
        return f"$({program[0] if program else ''})"

    def _arithmetic(self) -> str:
        self.at, depth = self.at + 2, 2
        while depth:
            here = self.text[self.at : self.at + 1]
            if not here:
                raise Unreadable("an arithmetic expansion is not closed")
            depth += (here == "(") - (here == ")")
            self._expanded(here)
        return "$(())"

    def _parameter(self) -> str:
        name = PARAMETER.match(self.text, self.at)
        if not name:
            raise Unreadable(f"`${{{self.text[self.at : self.at + 10]}` is no parameter")
        self.at = name.end()
        if self.text.startswith("}", self.at):
            self.at += 1
            return f"${{{name[0]}}}"
        # Where the value is replaced a quote may be a letter: `"${x:-don't}"`; where it is cut, it is none.
        cuts = self.text[self.at : self.at + 1] in ("%", "#")
        while (here := self.text[self.at : self.at + 1]) != "}":
            if not here:
                raise Unreadable("a parameter expansion is not closed")
            if here == "'" and cuts:
                self._single()
            elif here == '"':
                self.at += 1
                self._double('"')
            elif here == "\\":
                self.at += 2
            else:
                self._expanded(here)
        self.at += 1
        return f"${{{name[0]}?}}"
