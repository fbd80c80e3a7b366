"""Which module may import which: floors without an arrow up, no circles, faces, and folders that one can look over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.suite.imports import Graph, circles, graph, has_content, is_in, modules, names_of

ROOT = Path(__file__).resolve().parents[2]

FLOORS = (
    ("cli",),
    ("converge.pytest_plugin",),
    ("converge.runs",),
    ("converge.acting",),
    ("converge.planning",),
    ("converge.steps",),
    ("converge.report",),
    ("converge.probe",),
    ("converge.checking",),
    ("converge.journal",),
    ("converge.readings",),
    ("converge.transport",),
    ("converge.text", "converge.shell"),
    ("converge.errors",),
    ("hosts",),
)
"""From the top. A module may import what stands on its own floor or below."""

PRODUCT = {
    "cli": {"remediate", "verify", "facts", "converge", "hosts"},
    "verify": {"facts", "converge", "hosts"},
    "remediate": {"facts", "converge", "hosts"},
    "facts": {"converge", "hosts"},
    "converge": {"hosts"},
    "hosts": set[str](),
    "lab": set[str](),
    "bench": {"lab", "cli", "remediate", "verify", "facts", "converge", "hosts"},
}
"""Which other top folders each may import. Nothing imports tests/."""

FACES = {"converge.readings", "converge.steps", "converge.transport", "lab.faults"}
"""Folders whose ``__init__.py`` offers names."""

AUTHORS = ("facts", "remediate", "verify")
"""Whoever writes these finds what they need in the engine's faces."""

OPEN = {"converge.readings.testinfra"}
"""Parts that authors name all the same: its face would load testinfra for whoever needs one name of it."""

LIMITS = {
    **dict.fromkeys(("converge", "facts", "remediate", "verify"), 12),
    **dict.fromkeys(("tests/converge", "tests/facts", "tests/remediate", "tests/verify"), 12),
    **dict.fromkeys(("lab", "bench", "tests/lab", "tests/bench"), 20),
}
"""How many modules a folder there may have, beside its ``__init__.py``."""

def floor_of(name: str) -> int | None:
    """The number of a module's floor, from the top; None for one that stands on none."""
    return next((n for n, folders in enumerate(FLOORS) if any(is_in(name, folder) for folder in folders)), None)


def arrows_up(edges: Graph) -> set[tuple[str, str]]:
    """Each import of something on a higher floor, or of a top folder that may not be imported from there."""
    return {(name, to) for name, found in edges.items() for to in found if _is_up(name, to) or _is_across(name, to)}


def _is_up(name: str, to: str) -> bool:
    own, other = floor_of(name), floor_of(to)
    return own is not None and other is not None and other < own


def _is_across(name: str, to: str) -> bool:
    own, other = name.split(".", maxsplit=1)[0], to.split(".", maxsplit=1)[0]
    return own != other and own in PRODUCT and other not in PRODUCT[own]


def offered(texts: Mapping[str, str]) -> dict[str, set[str]]:
    """The names that each face offers."""
    faces = {name: text for name, text in texts.items() if name in FACES}
    return {name: {each for found in names_of(text).values() for each in found} for name, text in faces.items()}


def round_faces(texts: Mapping[str, str]) -> set[tuple[str, str]]:
    """Each import, from outside a folder, of a name that its face offers, of a part; and by authors of any part."""
    return {
        (name, part)
        for face, names in offered(texts).items()
        for name, text in texts.items()
        if not is_in(name, face)
        for part, taken in names_of(text).items()
        if is_in(part, face) and part != face and (taken & names or _is_closed(name, part, face))
    }


def _is_closed(name: str, part: str, face: str) -> bool:
    return face.startswith("converge.") and name.split(".", maxsplit=1)[0] in AUTHORS and part not in OPEN


def by_the_face(texts: Mapping[str, str]) -> set[tuple[str, str]]:
    """Each import of a name by a part from its own folder's face, which imports the part."""
    return {
        (name, face)
        for face, names in offered(texts).items()
        for name, text in texts.items()
        if is_in(name, face) and name != face and names_of(text).get(face, set()) & names
    }


def large(paths: Iterable[Path]) -> set[str]:
    """Folders that have more modules than they may."""
    counted = Counter(path.parent.as_posix() for path in paths if path.name != "__init__.py")
    return {folder for folder, count in counted.items() if count > _limit(folder)}


def _limit(folder: str) -> float:
    return next((limit for top, limit in LIMITS.items() if Path(folder).is_relative_to(top)), float("inf"))


TEXTS = modules(ROOT, (*PRODUCT, "tests"))
EDGES = graph(TEXTS)


def test_no_arrow_points_up() -> None:
    assert arrows_up(EDGES) == set()


def test_there_is_no_circle() -> None:
    assert {tuple(circle) for circle in circles(EDGES)} == set()


def test_only_chosen_folders_have_a_face() -> None:
    faces = {name for name in TEXTS if _is_folder(name) and not is_in(name, "tests") and has_content(TEXTS[name])}
    assert faces == FACES


def _is_folder(name: str) -> bool:
    return (ROOT / name.replace(".", "/")).is_dir()


def test_nobody_goes_round_a_face() -> None:
    assert round_faces({name: text for name, text in TEXTS.items() if not is_in(name, "tests")}) == set()


def test_what_is_open_to_authors_is_used_by_them() -> None:
    taken = {part for name, text in TEXTS.items() if name.split(".")[0] in AUTHORS for part in names_of(text)}
    assert taken >= OPEN


def test_no_part_imports_its_face() -> None:
    assert by_the_face(TEXTS) == set()


def test_folders_can_be_looked_over() -> None:
    tops = {folder.split("/")[0] for folder in LIMITS}
    assert large(path.relative_to(ROOT) for top in tops for path in (ROOT / top).rglob("*.py")) == set()


def test_each_room_of_the_engine_stands_on_a_floor() -> None:
    none = {name for name in TEXTS if is_in(name, "converge") and floor_of(name) is None}
    assert none <= {"converge", "converge.__main__"}


@pytest.mark.parametrize(
    ("name", "text", "to"),
    [
        ("converge.journal.lock", "from converge.runs.run import Run", "converge.runs.run"),
        ("hosts.schema", "def f():\n    import converge.errors", "converge.errors"),
        ("converge.steps.step", "if TYPE_CHECKING:\n    from converge.acting import launch", "converge.acting.launch"),
        ("converge.checking.judge", "from remediate import units", "remediate.units"),
        ("verify.test_units", "from remediate.units import enable", "remediate.units"),
        ("facts.web", "from remediate import units", "remediate.units"),
        ("lab.lab", "import hosts.schema", "hosts.schema"),
        ("bench.ours", "from tests.targets import inventory", "tests.targets"),
        ("converge.errors", "from cli import runs", "cli.runs"),
    ],
)
def test_an_arrow_up_is_found(name: str, text: str, to: str) -> None:
    assert (name, to) in arrows_up(graph({name: text, to: ""}))
    assert arrows_up(graph({name: "", to: text})) == set()


def test_the_same_floor_and_those_below_may_be_imported() -> None:
    texts = {
        "converge.runs.run": "from converge.runs import tasks\nfrom converge.acting.executor import Executor",
        "converge.runs.tasks": "import converge.errors",
        "converge.acting.executor": "from hosts.schema import Inventory",
        "remediate.units": "from facts.units import states",
        "converge.errors": "",
        "hosts.schema": "",
        "facts.units.states": "",
    }
    assert arrows_up(graph(texts)) == set()


@pytest.mark.parametrize(
    "texts",
    [
        {"a": "import b", "b": "def f():\n    import a", "c": "import a"},
        {"a": "from b.part import f", "b": "from b import part\nimport a", "b.part": ""},
        {"a": "if TYPE_CHECKING:\n    from b import B", "b": "import d", "d": "import a"},
    ],
)
def test_a_circle_is_found(texts: dict[str, str]) -> None:
    assert circles(graph(texts)) == [sorted(name for name in texts if name in "abd")]


def test_a_line_of_imports_is_no_circle() -> None:
    assert circles(graph({"a": "import b\nimport c", "b": "import c", "c": ""})) == []


FACE = {
    "converge.steps": "from converge.steps.step import Step",
    "converge.steps.step": "class Step: ...",
    "converge.steps.compile": "def compile_step(): ...",
}


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("converge.acting.executor", "from converge.steps.step import Step", "converge.steps.step"),
        ("remediate.units", "from converge.steps.compile import compile_step", "converge.steps.compile"),
    ],
)
def test_a_way_round_a_face_is_found(name: str, text: str, part: str) -> None:
    assert round_faces({**FACE, name: text}) == {(name, part)}


@pytest.mark.parametrize("text", ["from converge.steps import Step", "from converge.steps.compile import compile_step"])
def test_the_engine_may_import_what_a_face_does_not_offer(text: str) -> None:
    assert round_faces({**FACE, "converge.acting.executor": text}) == set()


def test_a_part_that_imports_its_face_is_found() -> None:
    fine = "from converge.steps import compile"
    assert by_the_face({**FACE, "converge.steps.describe": "from converge.steps import Step"}) == {
        ("converge.steps.describe", "converge.steps")
    }
    assert by_the_face({**FACE, "converge.steps.describe": fine}) == set()


@pytest.mark.parametrize(
    ("folder", "count", "found"),
    [
        ("converge/runs", 12, set()),
        ("converge/runs", 13, {"converge/runs"}),
        ("tests/facts", 13, {"tests/facts"}),
        ("lab", 20, set()),
        ("lab/payload", 21, {"lab/payload"}),
        ("tests/live", 40, set()),
    ],
)
def test_a_folder_that_is_too_large_is_found(folder: str, count: int, found: set[str]) -> None:
    assert large([Path(folder, "__init__.py"), *(Path(folder, f"m{n}.py") for n in range(count))]) == found


def test_a_face_is_told_from_a_docstring() -> None:
    assert not has_content('"""What it is."""')
    assert has_content('"""What it is."""\nfrom a import b')
