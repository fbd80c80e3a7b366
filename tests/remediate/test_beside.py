"""A legacy unit that runs beside the app's, as after a reboot with both enabled: the manager starts it again and again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converge.checking.statement import Fails
from converge.steps import NothingToDo, Unit
from facts import web
from facts.units import states
from remediate import deploy as mend_deploy
from remediate import units as mend_units
from remediate import web as mend_web
from tests.remediate.test_services import GIVEN, INV, LEGACY, LEGACY_RUNS, MASTERS, OURS, SOCKETS, steps
from tests.remediate.world import context
from verify.test_units import test_app_unit_really_runs as unit_5

BESIDE = replace(LEGACY_RUNS, active="activating", sub="auto-restart", main_pid=0)
SERVING = replace(MASTERS, all=tuple(replace(master, cwd=MASTERS.current) for master in MASTERS.all))


def test_a_legacy_unit_that_serves_nobody_is_stopped_and_what_serves_is_left_alone(tmp_path: Path) -> None:
    (step,) = steps(mend_units.cutover, tmp_path, our_units=replace(OURS, legacy=(BESIDE,)), masters=SERVING)
    assert step.id == f"UNIT-5/stop-{LEGACY}"
    assert [act.verb for act in step.acts if isinstance(act, Unit)] == ["daemon-reload", "stop"]
    assert step.interrupts is None
    assert any("listener_pids /srv/apps/hkn/hkn.sock | grep -qx 234" in condition.test for condition in step.when)


@pytest.mark.parametrize(
    "given",
    [
        {"masters": replace(SERVING, all=(replace(SERVING.all[0], cwd="/elsewhere"),))},
        {"masters": replace(SERVING, all=(replace(SERVING.all[0], cgroup=f"/user.slice/{LEGACY}"),))},
        {"sockets": replace(SOCKETS, listeners=())},
        {"sockets": replace(SOCKETS, holders={234: replace(SERVING.all[0], cgroup=f"/user.slice/{LEGACY}")})},
    ],
    ids=["another release", "adopted", "nobody listens", "the other listens"],
)
def test_a_legacy_unit_is_handed_over_where_the_apps_does_not_serve_alone(given: dict[str, Any], tmp_path: Path) -> None:
    world = {"our_units": replace(OURS, legacy=(BESIDE,)), "masters": SERVING, **given}
    (step,) = steps(mend_units.cutover, tmp_path, **world)
    assert step.id == "UNIT-5/cutover"


def test_no_restart_lets_another_release_answer_where_the_web_server_asks_somebody_else(tmp_path: Path) -> None:
    neighbour = replace(MASTERS.all[0], cgroup="/user.slice/hkn-dev.service")
    asked = web.Serving("/srv/apps/hkn/hkn.sock", MASTERS.current, "", "", (neighbour,))
    with pytest.raises(NothingToDo, match=r"hkn.sock leads to hkn-dev.service: .* SOCK-5"):
        steps(mend_web.serve_current, tmp_path, serving=asked)
    (step,) = steps(mend_web.serve_current, tmp_path, serving=replace(asked, owners=MASTERS.all))
    assert step.id == "WEB-2/restart"


def test_a_deploy_that_restarts_has_no_legacy_unit_beside_it(tmp_path: Path) -> None:
    given = {**GIVEN, states.our_units: replace(OURS, legacy=(BESIDE,)), states.masters: SERVING}
    stopped = next(mend_deploy.deploy(context(INV, tmp_path, given)))
    assert stopped.id == f"DEP-1/stop-{LEGACY}"


@pytest.mark.parametrize("active", ["activating", "active"])
def test_the_apps_unit_does_not_run_alone_while_a_legacy_one_starts_again(active: str) -> None:
    with pytest.raises(Fails, match=rf"(?s)no legacy unit beside it.*{LEGACY} is {active} \(auto-restart\)"):
        unit_5(replace(OURS, legacy=(replace(BESIDE, active=active),)), SERVING)


@pytest.mark.parametrize("active", ["deactivating", "failed", "inactive"])
def test_a_legacy_unit_that_ends_is_none_beside_it(active: str) -> None:
    unit_5(replace(OURS, legacy=(replace(BESIDE, active=active),)), SERVING)
