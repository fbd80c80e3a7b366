"""What tests of the pytest glue do with their project."""

from __future__ import annotations

import json
from typing import Any

import pytest


def put(project: pytest.Pytester, name: str, text: str = "") -> None:
    """Write a file of the project."""
    (project.path / name).write_text(text)


def edit(project: pytest.Pytester, name: str, old: str, new: str) -> None:
    """Replace words in a file of the project, or add to its end if there are no `old` ones."""
    text = (project.path / name).read_text()
    assert old in text
    put(project, name, text.replace(old, new) if old else text + new)


def the_record(project: pytest.Pytester) -> dict[str, Any]:
    """What the only session of the project wrote."""
    (file,) = (project.path / "reports").glob("*/run.json")
    found: dict[str, Any] = json.loads(file.read_text())
    return found
