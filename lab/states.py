"""The situations that a lab can be put into."""

from __future__ import annotations

from lab.lab import Lab
from lab.payload import desired, past, variants
from lab.state import BARE, State

MIGRATED = State(
    "migrated",
    "the page's today: vampires serves from the migrate tree, and every task of the page is open",
    None,
    past.build,
    past.settle,
)
PROD = State(
    "prod",
    "the desired end: vampires serves production, with search, and nothing is left of the move",
    MIGRATED.name,
    desired.build,
    desired.settle,
)
DIRECT = State(
    "migrated-direct",
    "as migrated, but the web server passes requests to prod.sock itself, as the real one does",
    MIGRATED.name,
    variants.pass_directly,
    past.settle,
)

STATES: dict[str, State[Lab]] = {state.name: state for state in (BARE, MIGRATED, PROD, DIRECT)}
