"""What a running lab remembers between two commands."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from lab.command_line import typed
from lab.errors import LabError
from lab.network import Network, Range

FILE = "lab.json"


@dataclass
class Record:
    """Its network, the state that it was put into, and what was broken on purpose since."""

    bridge: str
    range: str
    state: str | None = None
    faults: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, network: Network) -> Record:
        """The record of a lab that has only its network yet."""
        return cls(network.bridge, str(network.range))

    @classmethod
    def read(cls, directory: Path) -> Record | None:
        """The record in a lab's directory, None when the lab is down; LabError when it cannot be read."""
        try:
            return cls(**json.loads((directory / FILE).read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise LabError(
                f"{directory / FILE} is not what the lab wrote ({error}); remove that file, then run "
                f"{typed('down', directory.name)}."
            ) from None

    def write(self, directory: Path) -> None:
        """Keep it."""
        directory.mkdir(parents=True, exist_ok=True)
        part = directory / f"{FILE}.part"
        part.write_text(json.dumps(vars(self)))
        part.rename(directory / FILE)

    @property
    def network(self) -> Network:
        """The lab's network."""
        return Network(self.bridge, Range(self.range))
