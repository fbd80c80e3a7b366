"""The commands of shell text, as a shell would find them."""

from __future__ import annotations

import pytest

from converge.steps.shell_words import Unreadable, read


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('a "b c"d\\ e', [["a", "b cd e"]]),
        ("a; b && c | d &\n e", [["a"], ["b"], ["c"], ["d"], ["e"]]),
        ('x "$(f "$(g "a b")" ")")" y', [["g", "a b"], ["f", "$(g)", ")"], ["x", "$(f)", "y"]]),
        ("a ${x#y} ${x##*/} # c\nd x#y", [["a", "${x?}", "${x?}"], ["d", "x#y"]]),
        ('a "${x:-don\'t}" "${x%\'}\'}"', [["a", "${x?}", "${x?}"]]),
        ("case $x in a) b ;; (c | d) e ;; esac; f", [["b"], ["e"], ["f"]]),
        ("x=$(case $y in a) b ;; esac)", [["b"], []]),
        ("cat <<-'E' | b\n\t$(x)\n\tE\nc", [["cat"], ["b"], ["c"]]),
        ("a $((1 + (2 * $x))) b", [["a", "$(())", "b"]]),
        ("a \\\n b", [["a", "b"]]),
        ("f() ( a )\ng() { b; }", [["a"], ["b"]]),
        ("for x\nin a b; do c; done", [[], ["c"]]),
    ],
)  # fmt: skip
def test_words_of_shell_text(text: str, words: list[list[str]]) -> None:
    assert [[word.text for word in command.words] for command in read(text).commands] == words


@pytest.mark.parametrize(
    "text", ["a 'b", 'a "b', "a $(b", "a ${b", "a `b", "(a", "a)", "a $((b)", "case x a) b;; esac", "a >", "a;; b"]
)
def test_what_is_no_shell_text(text: str) -> None:
    with pytest.raises(Unreadable):
        read(text)
