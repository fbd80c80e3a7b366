"""The lines that something printed tells a person to type."""

from __future__ import annotations

import html
import re
import shlex

from cli.__main__ import COMMANDS

LINE = re.compile(
    r"(?<![^\s`>(])"  # it begins a line, a word or a code span
    rf"(?P<line>(?:'[^'\n]*/hkn'|(?:\.\.?)?(?:/[^\s`<>']+)*/hkn) (?:--help|{'|'.join(COMMANDS)})\b"
    r"(?:'[^'\n]*'|(?!  |#)[^`<>\n'])*)"
)


def typed_lines(text: str) -> list[list[str]]:
    """The words of each line of our command in a text or a page, without the command; each once.

    A folder that has our command's name, such as an account's home, is none.
    A line ends where its code span ends, or before a comment or two spaces.
    """
    found = [shlex.split(match["line"]) for match in LINE.finditer(html.unescape(text))]
    return [list(words) for words in dict.fromkeys(tuple(words[1:]) for words in found)]
