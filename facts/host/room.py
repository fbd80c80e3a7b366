"""Room for a second copy of the application, as the statements and remedies read it."""

from __future__ import annotations

from converge.readings import Context, Raw, reading
from facts.host.memory import Room, parse_room, room_script
from facts.parsing import observed


@reading(lambda c: room_script(c.inv))
def room(raw: Raw, c: Context) -> Room:
    """Free memory of the app host beside what the application's units use of it."""
    return parse_room(observed(raw, c.at).out, c.at, c.inv)
