"""The tree in docs/architecture.md is the one on disk: a reader finds each file of the product in it, by its words."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("cli", "converge", "facts", "hosts", "remediate", "verify")
WORDS = 10
"""At most so many stand beside a name."""


def entries(document: str) -> dict[str, str]:
    """What stands beside each file in the tree of a document, by path: in the block below its heading `Rooms`."""
    found: dict[str, str] = {}
    folder = ""
    section = document.partition("\n## Rooms\n")[2].partition("\n## ")[0]
    for line in section.partition("\n```text\n")[2].partition("\n```")[0].splitlines():
        name, _, words = line.strip().partition(" ")
        if not line.startswith(" "):
            folder = name
        found[name if name == folder else folder + name] = words.strip()
    return found


def product(listed: list[str]) -> set[str]:
    """The files of the product among those listed, and their folders; an ``__init__.py`` is its folder's."""
    files = {path for path in listed if path.split("/")[0] in PRODUCT and "/" in path}
    folders = {f"{path.rpartition('/')[0]}/" for path in files}
    return folders | {path for path in files if not path.endswith("/__init__.py")}


def on_disk() -> set[str]:
    """The product's files that are kept, or would be: not what .gitignore names."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *PRODUCT]
    listed = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return product([path for path in listed if (ROOT / path).exists()])


TREE = entries((ROOT / "docs/architecture.md").read_text())


def test_the_tree_is_the_one_on_disk() -> None:
    assert set(TREE) == on_disk()


def test_each_name_has_a_few_words_of_its_own() -> None:
    assert {path: words for path, words in TREE.items() if not 1 <= len(words.split()) <= WORDS} == {}
    assert [words for words, count in Counter(TREE.values()).items() if count > 1] == []


def test_no_file_says_only_its_own_name() -> None:
    def tokens(text: str) -> set[str]:
        return set(re.findall(r"[a-z]+", text.lower()))

    assert [path for path, words in TREE.items() if tokens(words) <= tokens(path)] == []


SAMPLE = """# Any
## Rooms

```text
cli/             commands
  runs.py        lists runs
cli/more/        more of them
  x.sh           a script
```

## More

```text
cli/other.py     is not of the tree
```
"""


def test_a_tree_is_read() -> None:
    assert entries(SAMPLE) == {
        "cli/": "commands",
        "cli/runs.py": "lists runs",
        "cli/more/": "more of them",
        "cli/more/x.sh": "a script",
    }


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        (["cli/__init__.py", "cli/runs.py"], {"cli/", "cli/runs.py"}),
        (
            ["converge/report/templates/page.html.jinja"],
            {"converge/report/templates/", "converge/report/templates/page.html.jinja"},
        ),
        (["tests/targets.py", "README.md", "lab/lab.py"], set()),
    ],
)
def test_the_product_is_told_from_what_is_around_it(listed: list[str], found: set[str]) -> None:
    assert product(listed) == found
