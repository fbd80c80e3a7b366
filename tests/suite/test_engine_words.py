"""The engine knows no application: no name of the site, its hosts, its language or its parts stands in ``converge/``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ENGINE = Path(__file__).resolve().parents[2] / "converge"
FORBIDDEN = {
    *("hkn", "ocf", "vampires", "werewolves"),
    *("ruby", "rvm", "bundler", "rails", "unicorn", "capistrano", "cap"),
    *("solr", "sunspot"),
}
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
"""A word, also one of an identifier: SOLR_PORT has two, and so has HKNRails."""


def names_in(text: str) -> set[str]:
    """The forbidden words of a text."""
    return {word.lower() for word in WORD.findall(text)} & FORBIDDEN


FILES = sorted(path for path in ENGINE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def test_all_kinds_of_files_are_looked_at() -> None:
    assert {path.suffix for path in FILES} >= {".py", ".jinja", ".css"}
    assert len(FILES) > 50


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ENGINE)))
def test_the_engine_names_no_application(path: Path) -> None:
    named = [
        f"{path.relative_to(ENGINE.parent)}:{number}: {', '.join(sorted(found))}"
        for number, line in enumerate([str(path.relative_to(ENGINE)), *path.read_text().splitlines()])
        if (found := names_in(line))
    ]
    assert not named, "give it in by Application, by hosts/, or let it stand in facts/"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name = 'hkn-migration'", {"hkn"}),
        ("HKNRails()", {"hkn", "rails"}),
        ("$SOLR_PORT", {"solr"}),
        ("def restart_unicorn(): ...", {"unicorn"}),
        ("# on Vampires, not werewolves", {"vampires", "werewolves"}),
        ("bin/cap production deploy", {"cap"}),
        ("html.escape(name.capitalize())", set()),
        ("recap, guardrails, trails", set()),
    ],
)
def test_whole_words_are_found_in_whatever_case(text: str, found: set[str]) -> None:
    assert names_in(text) == found
