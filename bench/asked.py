"""What a check sends to its host, recorded without a host: the script that the floors run too.

``python -m bench.asked PROJECT TARGET OUT`` records for the project in that folder (the checkout itself for verify/) and
prints the ids of its statements. A process of its own, because statements are registered once in a process.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converge.checking.application import Application
from converge.checking.judge import Judge, Policy, instances_of
from converge.checking.statement import REGISTRY, import_statements
from converge.readings import Reading
from converge.readings.answers import CONTROL, Store
from converge.transport import Completed
from converge.transport.link import invocation
from facts.application import application
from hosts.loader import load
from hosts.schema import Inventory

TOP = Path(__file__).resolve().parent.parent


@dataclass
class Recorder:
    """A link that leads nowhere and keeps what was to be sent."""

    name: str
    scripts: list[str] = field(default_factory=list)

    def exec(self, script: str, *, limit: float, stdin: bytes = b"") -> Completed:
        """Keep the script; the answer is empty."""
        del limit, stdin
        self.scripts.append(script)
        return Completed(0, b"", b"", 0.0)

    def close(self) -> None:
        """Nothing is open."""


def ask(app: Application, inv: Inventory, ids: Iterable[str]) -> str:
    """The script that a check of these statements sends to the app host."""
    link = Recorder(inv.app_host.name)
    store = Store(inv, {inv.app_host.name: link, CONTROL: Recorder(CONTROL)}, app.prelude(inv))
    judge = Judge(store, app.readings, Policy())
    wanted: list[tuple[Reading[Any], str | None]] = [(reading, None) for reading in app.standing]
    for id in ids:
        for at in instances_of(REGISTRY[id].on, inv):
            wanted += [(reading, at) for reading in judge.wanted(REGISTRY[id])]
    store.prefetch((reading, at) for reading, at in wanted if not reading.local)
    (script,) = link.scripts
    return script


def of_the_host(app: Application, inv: Inventory) -> list[str]:
    """Ids of the statements that are judged by what the host itself says, and by nothing else."""
    judge = Judge(Store(inv, {}, ""), app.readings, Policy())
    return [
        id
        for id, known in REGISTRY.items()
        if instances_of(known.on, inv) and all(r.on != "control" for r in judge.wanted(known))
    ]


def main(project: Path, target: str, out: Path) -> None:
    """Write the question about the whole project, and the one about what only the host tells."""
    inv = load(target)
    if project == TOP:
        app = application()
        import_statements(app.statements)
    else:
        sys.path.insert(0, str(project.parent))
        app = importlib.import_module(f"{project.name}.conftest").pytest_converge_application()
        import_statements(f"{project.name}.{app.statements}")
    ids = of_the_host(app, inv)
    for name, chosen in (("whole", list(REGISTRY)), ("host", ids)):
        call = invocation(ask(app, inv, chosen), b"")
        (out / f"{name}.line").write_text(call.line)
        (out / f"{name}.stdin").write_bytes(call.stdin)
    print(json.dumps({"all": list(REGISTRY), "host": ids}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
