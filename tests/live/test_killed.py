"""A member of the host's staff kills what is ours in the middle of a step: what it had stopped serves again, without us."""

from __future__ import annotations

from pathlib import Path

from converge.errors import Exit
from lab.faults import FAULTS
from lab.payload import search
from lab.payload.places import PROD, SOLR_PORT
from tests.chaos.blows import BLOWS
from tests.chaos.going import Going
from tests.live.rig import Rig
from tests.live.test_meanwhile import answer_of, as_soon_as, on_the_host, step_of, unharmed

STATUS = f"curl -sf -m 5 'http://127.0.0.1:{SOLR_PORT}/solr/admin/cores?action=STATUS&core=production&wt=json'"


def test_a_move_of_solr_that_is_killed_leaves_the_former_one_without_another_run(rig: Rig, tmp_path: Path) -> None:
    rig.enter("prod")
    rig.spoil()
    FAULTS["solr-old-home"].apply(rig.lab)
    former = on_the_host(rig, f"ls -d {PROD}/releases/* | head -n 1").strip() + "/solr"
    assert former in on_the_host(rig, STATUS)
    (pid,) = on_the_host(rig, f"pgrep -f '[j]ava.*jetty.port={SOLR_PORT}'").split()
    going = Going(rig, tmp_path / "killed.log", ("--id", "SOLR-2"))

    def kill() -> None:
        rig.lab.app.wait_until(f"[ ! -d /proc/{pid} ]", timeout=60)
        BLOWS["slay"].strike(going)

    with unharmed(rig, tmp_path):
        going.begin()
        killer = as_soon_as([going], lambda line: line.get("step") == "SOLR-2/move", kill)
        run = answer_of(going)
        killer.join(60)
        search.wait(rig.lab, rig.lab.app.name)
        assert former in on_the_host(rig, STATUS)
        again = rig.remediate("--id", "SOLR-2")
    assert run.code == Exit.FAILS, run
    assert "it was killed; the former Solr was started again" in step_of(run, "SOLR-2/move").reason
    assert again.code == Exit.HOLDS
    assert former not in on_the_host(rig, STATUS)
