"""The imports of this project's modules, read from their text, wherever in it they stand."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

Graph = dict[str, set[str]]
"""What each module imports of the others: modules' names in full."""

FACE = "__init__"


def modules(root: Path, folders: tuple[str, ...]) -> dict[str, str]:
    """The text of each module below the folders of `root`, by the module's name."""
    paths = [path for folder in folders for path in sorted((root / folder).rglob("*.py"))]
    return {name_of(path.relative_to(root)): path.read_text() for path in paths}


def name_of(path: Path) -> str:
    """The name of the module in a file; of an ``__init__.py`` its folder's."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == FACE else parts)


def graph(texts: Mapping[str, str]) -> Graph:
    """Which module imports which, of those given by name and text.

    A name that is imported of a folder counts as the module of that name, or as the folder's face where there is none.
    Whoever stands outside a folder imports its face, if that has content, with each of its parts: Python runs it first.
    """
    known = set(texts)
    faces = {name for name, text in texts.items() if has_content(text)}
    named = {name: set(_named(text, known)) for name, text in texts.items()}
    return {
        name: {to for part in parts for to in (part, *_faces(name, part, faces)) if to != name}
        for name, parts in named.items()
    }


def _faces(name: str, part: str, faces: set[str]) -> Iterator[str]:
    folders = part.split(".")[:-1]
    above = (".".join(folders[: depth + 1]) for depth in range(len(folders)))
    yield from (face for face in above if face in faces and not is_in(name, face))


def is_in(name: str, folder: str) -> bool:
    """Whether a module is the folder's face or one of its parts, at whatever depth."""
    return name == folder or name.startswith(f"{folder}.")


def names_of(text: str) -> dict[str, set[str]]:
    """The names that a module imports from others, by the others' names as they are written."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.setdefault(node.module, set()).update(alias.name for alias in node.names)
    return found


def has_content(text: str) -> bool:
    """Whether a module is more than a docstring."""
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in ast.parse(text).body)


def _named(text: str, known: set[str]) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                part = f"{node.module}.{alias.name}"
                if part in known:
                    yield part
                elif node.module in known:
                    yield node.module


def circles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Each group of names of which every one reaches every other; sorted."""
    reach = {name: _reached(name, edges) for name in edges}
    groups = {
        tuple(sorted(other for other in reach[name] if name in reach.get(other, ())))
        for name in edges
        if name in reach[name]
    }
    return sorted(list(group) for group in groups)


def _reached(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    todo = list(edges[start])
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += edges.get(name, ())
    return seen
