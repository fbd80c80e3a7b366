"""Template trees: plain files in which @NAME@ stands for a value."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
_PLACEHOLDER = re.compile(r"@([A-Z_]+)@")


def fill(text: str, values: Mapping[str, str]) -> str:
    """``text`` with every @NAME@ replaced; KeyError names a placeholder that has no value."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)


def fill_tree(source: Path, target: Path, values: Mapping[str, str]) -> None:
    """Copy a template tree, modes included; a leading ``dot.`` in a file's name becomes a dot."""
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        relative = path.relative_to(source)
        name = relative.name.removeprefix("dot") if relative.name.startswith("dot.") else relative.name
        copy = target / relative.with_name(name)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(fill(path.read_text(), values))
        shutil.copymode(path, copy)


def tree_key(*paths: Path) -> str:
    """A hash of files' and trees' names and contents, to key what is built from them."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            digest.update(f"{file.relative_to(path.parent)}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
