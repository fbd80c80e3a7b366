"""In which order remedies must run, from what their statements need. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from converge.checking.statement import Statement
from converge.errors import UsageError


class NeedsCycle(UsageError):
    """Statements need each other in a circle, so no order of their remedies exists."""


def all_needs(id: str, statements: Mapping[str, Statement]) -> set[str]:
    """Everything that a statement needs, directly or through others."""
    found: set[str] = set()
    waiting = list(statements[id].needs)
    while waiting:
        need = waiting.pop()
        if need not in found and need in statements:
            found.add(need)
            waiting += statements[need].needs
    return found


def find_cycle(ids: Collection[str], statements: Mapping[str, Statement]) -> list[str]:
    """The members of one circle of needs that touches `ids`, in its order; empty if there is none."""
    done: set[str] = set()

    def walk(id: str, path: list[str]) -> list[str]:
        if id in path:
            return path[path.index(id) :]
        if id in done or id not in statements:
            return []
        for need in statements[id].needs:
            if circle := walk(need, [*path, id]):
                return circle
        done.add(id)
        return []

    for id in ids:
        if circle := walk(id, []):
            return circle
    return []


def order(failing: Collection[str], statements: Mapping[str, Statement]) -> list[str]:
    """The failing statements in the order in which their remedies must run.

    What a statement needs comes before it, also where the chain between them leads over statements that hold; late ones
    come as late as their dependants let them; otherwise it is the order of the registry.

    Raises:
        NeedsCycle: there is no such order; the message names the members of the circle.
    """
    if circle := find_cycle(failing, statements):
        raise NeedsCycle(
            f"statements need each other in a circle: {' needs '.join([*circle, circle[0]])}: take one of these needs= away"
        )
    rank = {id: (statements[id].late, place) for place, id in enumerate(statements)}
    left = set(failing)
    before = {id: all_needs(id, statements) & left for id in left}
    result: list[str] = []
    while left:
        ready = min((id for id in left if not before[id] & left), key=rank.__getitem__)
        result.append(ready)
        left.remove(ready)
    return result
