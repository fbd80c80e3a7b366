"""Everything that can be broken in a lab, one thing at a time."""

from __future__ import annotations

from lab.faults import files, hosts, repository, ruby, sockets, solr, units
from lab.faults.model import Fault

__all__ = ["FAULTS", "Fault"]

FAULTS: dict[str, Fault] = {
    fault.name: fault for module in (hosts, repository, files, ruby, units, sockets, solr) for fault in module.FAULTS
}
