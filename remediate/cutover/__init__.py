"""How the site passes from one unit to another, and how the app's unit is restarted.

Either is one program on the app host: from the moment in which the old one stops until the new one answers nothing waits
for the network, and whatever ends such a program early puts back what served before.
"""

from remediate.cutover.owners import (
    idle_legacy,
    is_still,
    leave_strangers,
    same_main,
    same_release,
    same_units,
    serving_strays,
    starts_here,
    still_serves,
    strays,
)
from remediate.cutover.steps import NOT_AGAIN, brief_cost, handover_step, plain_restart_cost, restart_step

__all__ = [
    "NOT_AGAIN",
    "brief_cost",
    "handover_step",
    "idle_legacy",
    "is_still",
    "leave_strangers",
    "plain_restart_cost",
    "restart_step",
    "same_main",
    "same_release",
    "same_units",
    "serving_strays",
    "starts_here",
    "still_serves",
    "strays",
]
