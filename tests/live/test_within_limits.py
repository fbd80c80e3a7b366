"""What the lab uses, after all that the other tests did with it: the last file of this folder."""

from __future__ import annotations

from tests.live.figures import MEMORY, shown
from tests.live.rig import Rig


def test_the_whole_lab_is_content_with_its_memory(rig: Rig) -> None:
    if not rig.lab.running():
        rig.enter("prod")
    rig.weigh()
    for seen in [rig.weight, *(entry.memory for entry in rig.entries)]:
        assert all(seen.values()), f"a host was not measured: {shown(seen)}"
        assert sum(seen.values()) <= MEMORY, shown(seen)
