"""Whose a run is: journals and attics are the account's, and more than one target may be looked after by its login."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import socket
from pathlib import Path
from typing import Any

from converge.errors import UsageError
from converge.journal.history import Story
from hosts.schema import Inventory
from hosts.tool import NAME


class OtherTarget(UsageError):
    """A run is of another target than the one whose inventory is in use."""


def site_of(inv: Inventory) -> dict[str, str]:
    """What tells the site of a target from every other one of the account, whatever its inventory is called.

    Not its host: that is another one after each move, and the journal and the attic go along.
    """
    return {"server_name": inv.web.server_name, "unit": inv.app.unit, "stage": inv.stage, "listen": inv.web.listen}


def owner(inv: Inventory, who: str) -> dict[str, Any]:
    """What the plan of a run says of whose it is, for its journal: person, control machine and target."""
    return {"who": who, "machine": this_machine(), "target": inv.name, "site": site_of(inv)}


def differs(story: Story, inv: Inventory) -> str:
    """In what the site of a run is another than the inventory's; empty if it is this one, or if nothing tells.

    The name of the inventory does not count where the site itself is known: it may have been renamed since.
    """
    site, mine = story.plan.get("site"), site_of(inv)
    if isinstance(site, dict):
        return ", ".join(f"{key} {site[key]}, not {mine[key]}" for key in mine if site.get(key, mine[key]) != mine[key])
    name = str(story.plan.get("target", inv.name))
    return "" if name == inv.name else f"target {name}, not {inv.name}"


def is_apart(story: Story, inv: Inventory) -> bool:
    """Whether a run's site has nothing in common with the inventory's that either could stand on; not sure means no.

    Stricter than ``differs``: a site of which the inventory was edited since is the same one.
    """
    site, mine = story.plan.get("site"), site_of(inv)
    return isinstance(site, dict) and all(site.get(key, mine[key]) != mine[key] for key in ("unit", "stage", "listen"))


def refuse_other(story: Story, inv: Inventory) -> Story:
    """The run, if its site is the inventory's: who takes it back looks at that site to see whether all is well.

    Raises:
        OtherTarget: it is another's; nothing was done.
    """
    if seen := differs(story, inv):
        name, file = story.plan.get("target") or "unknown", inv.file or inv.name
        use = f"Use the inventory of that run: --target {name}"
        if name == inv.name:
            use = (
                f"It was edited since: use the inventory as it was then (git log -p {file}), as a file of its own: "
                "--target PATH"
            )
        raise OtherTarget(
            f"run {story.id} is of the target {name}, and {file} is of another site ({seen}): nothing was done, as it would "
            f"be judged by the wrong site. {use}"
        )
    return story


def stays_for(story: Story, inv: Inventory) -> str:
    """Why what a run moved aside is not this inventory's to delete; empty if it is.

    Here its name counts too: a copy of an inventory may have a shorter soak time.
    """
    name = str(story.plan.get("target", ""))
    if name == inv.name and not differs(story, inv):
        return ""
    what = f"it is of the target {name}" if name != inv.name else f"it is of another site ({differs(story, inv)})"
    return f"{what if name else 'its journal does not say of which target it is'}: only that one's inventory purges it"


MACHINE_ID = Path("/etc/machine-id")
APPLICATION = f"{NAME}, control machine of a run"
"""What our name for a machine is made with: machine-id(5) asks that its own be told to nobody."""


def this_machine() -> str:
    """A name for this machine and the home in which steps leave what became of them, that no other has; empty if unknown.

    Host names will not do: two laptops may both be called `debian`.
    """
    try:
        id = MACHINE_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
    if not re.fullmatch("[0-9a-f]{32}", id):
        return ""
    place = f"{APPLICATION}\0{os.environ.get('HOME', '')}"
    return hmac.new(bytes.fromhex(id), os.fsencode(place), hashlib.sha256).hexdigest()[:32]


def was_here(story: Story) -> bool:
    """Whether a run's control machine is this one. Where its journal or this machine has no name, the host's name tells."""
    theirs, mine = str(story.plan.get("machine", "")), this_machine()
    if theirs and mine:
        return theirs == mine
    return str(story.plan.get("who", "")).partition("@")[2] == socket.gethostname()
