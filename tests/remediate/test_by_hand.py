"""What of a run is a person's: the lines that they type, what shows that it was done, and the gate that needs nobody."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converge.acting.executor import host_fence
from converge.acting.manual import by_hand, is_a_persons
from converge.checking.statement import Fails
from converge.steps import ByHand, RemedyContext, Step, Write
from converge.steps.compile import compile_step
from facts import deploy as facts_deploy
from facts.prelude import prelude
from facts.repo import git as facts_repo
from facts.units import states
from hosts.schema import Inventory
from remediate import deploy, repo
from tests import targets
from tests.facts.test_repo import git
from tests.remediate import world
from tests.remediate.test_repo import target
from tests.remediate.test_services import GIVEN, LEGACY_RUNS, MASTERS, OURS, REPOSITORY, SOCKETS
from tests.targets import ask, inventory
from verify.test_deploy import test_deploy_starts_no_second_copy as dep_5
from verify.test_units import test_app_unit_really_runs as unit_5

__all__ = ["target"]

TOP = Path(__file__).resolve().parents[2]
NOTHING = inventory().changed({"may": []})
DOWN = replace(OURS, app=replace(OURS.app, active="inactive", main_pid=0), legacy=(LEGACY_RUNS,))
STAGE = facts_deploy.Stage("/x/releases/20181126000000", ("20181126000000",), "b" * 40, "20181126000000", "")
UPSTREAM = GIVEN[next(reading for reading in GIVEN if reading.name == "upstream")]


def steps(remedy: Callable[[RemedyContext], Iterator[Step]], folder: Path, **given: Any) -> list[Step]:
    named = {reading.name: reading for reading in GIVEN}
    values = {**GIVEN, facts_deploy.stage: STAGE, **{named[name]: value for name, value in given.items()}}
    return list(remedy(world.context(NOTHING, folder, values)))


def test_deploy_is_a_line_to_type_behind_a_checkout_that_was_made_ready(tmp_path: Path) -> None:
    clone, cap = steps(deploy.deploy, tmp_path, our_units=DOWN, masters=replace(MASTERS, all=()))
    assert (clone.id, is_a_persons(clone, NOTHING)) == ("DEP-1/checkout", False)
    assert (cap.id, is_a_persons(cap, NOTHING)) == ("DEP-1/deploy", True)
    (script,) = [act for act in clone.acts if isinstance(act, Write)]
    assert cap.typed == f"sh {script.path}"
    assert cap.search_gap == NOTHING.solr.start_seconds + 0.5
    moved = "moves Solr to the new release: its port changes hands, so searches and saves do without it, or fail, for about"
    assert f"{moved} {cap.search_gap:g} s" in cap.sentence
    assert script.path == f"{tmp_path}/work/deploy"
    assert '"$@" production deploy\n' in script.content
    assert "</dev/null" not in script.content.splitlines()[-1], "who types it can be asked"
    assert by_hand(cap, NOTHING, prelude(NOTHING)).endswith(f"type on this machine:\n  {cap.typed}")


def test_deploy_that_needs_secrets_is_from_a_checkout_of_a_persons_own(tmp_path: Path) -> None:
    text = "set :secret, YAML.load_file('config/secrets.yml')\n"
    seen = replace(REPOSITORY, files={("master", "config/deploy.rb"): text})
    (cap,) = steps(deploy.deploy, tmp_path, our_units=DOWN, repository=seen)
    allowed = NOTHING.changed({"may": ["deploy"]})
    assert is_a_persons(cap, allowed)
    assert cap.typed == "bundle exec cap production deploy"
    assert "your own checkout of master at aaaaaaaa" in by_hand(cap, allowed, prelude(allowed))


WAS, NEW, SHA = "20181126000000", "20190423000000", "a" * 40


@pytest.mark.parametrize(
    ("release", "revision", "logged", "rc", "text"),
    [
        (NEW, SHA, NEW, 0, f"the current release is {NEW} of {SHA}, and the last of revisions.log"),
        (NEW, SHA, WAS, 1, f"the current release is {NEW} of {SHA}, but not yet the last of revisions.log"),
        (NEW, "b" * 40, NEW, 1, f"the current release is {NEW} of {'b' * 40}, and the last of revisions.log"),
        (WAS, SHA, WAS, 1, f"the current release is {WAS} of {SHA}, and the last of revisions.log"),
        ("", "", "", 1, "the current release is none of no revision, but not yet the last of revisions.log"),
    ],
)
def test_deploy_shows_by_its_release_its_revision_and_the_log(
    release: str, revision: str, logged: str, rc: int, text: str, tmp_path: Path
) -> None:
    inv = inventory(stages={"root": str(tmp_path)})
    prod = tmp_path / "prod"
    prod.mkdir()
    if release:
        (prod / f"releases/{release}").mkdir(parents=True)
        (prod / f"releases/{release}/REVISION").write_text(revision + "\n")
        (prod / "current").symlink_to(f"releases/{release}")
        (prod / "revisions.log").write_text(f"Branch master (at aaa) deployed as release {logged} by ada\n")
    test = deploy.DEPLOYED.format(was=WAS, want=SHA)
    done = subprocess.run(["/bin/sh", "-c", prelude(inv) + test], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (rc, text)


def test_gate_needs_no_permission_and_stands_before_a_unit_that_serves_nobody(tmp_path: Path) -> None:
    (gate,) = steps(deploy.hold_back, tmp_path, our_units=DOWN, masters=replace(MASTERS, all=()))
    assert gate.id == "DEP-5/gate"
    assert not is_a_persons(gate, NOTHING)
    compile_step(gate, prelude(NOTHING), host_fence(NOTHING, gate.host, "run"), "1")
    assert [condition.sentence for condition in gate.when] == ["hkn-rails.service serves nobody"]


def test_gate_is_a_persons_where_the_manager_took_the_old_server_for_the_new_one(tmp_path: Path) -> None:
    adopted = replace(MASTERS.all[0], pid=98, cgroup=f"/user.slice/{LEGACY_RUNS.name}")
    ours = replace(DOWN, app=replace(OURS.app, main_pid=98))
    with pytest.raises(ByHand, match=r"took process 98 .* Deploy nothing"):
        steps(deploy.hold_back, tmp_path, our_units=ours, masters=replace(MASTERS, all=(adopted,)))


def test_deploy_where_nothing_serves_has_a_gate_of_its_own(tmp_path: Path) -> None:
    ours = replace(DOWN, legacy=(replace(LEGACY_RUNS, active="inactive"),))
    found = steps(deploy.deploy, tmp_path, our_units=ours, masters=replace(MASTERS, all=()))
    assert [step.id for step in found] == ["DEP-1/gate", "DEP-1/checkout", "DEP-1/deploy"]


def test_deploy_carries_the_site_if_it_restarts_what_serves(tmp_path: Path) -> None:
    serving = replace(MASTERS.all[0], pid=OURS.app.main_pid, cgroup=f"/user.slice/{OURS.app.name}")
    *_, behind = steps(deploy.deploy, tmp_path, our_units=DOWN, masters=replace(MASTERS, all=()))
    *_, restarting = steps(deploy.deploy, tmp_path, our_units=OURS, masters=replace(MASTERS, all=(serving,)))
    assert (behind.interrupts, behind.carries_the_site) == (None, False)
    assert (restarting.interrupts, restarting.carries_the_site) == (10.0, True)


def served_by(unit: str) -> Any:
    """The sockets, with the listener behind the site's path held by a unit."""
    holders = {pid: replace(p, cgroup=f"/user.slice/{unit}") for pid, p in SOCKETS.holders.items()}
    return replace(SOCKETS, holders=holders)


def test_deploy_is_harmless_behind_the_gate_or_when_the_apps_unit_serves() -> None:
    gate = OURS.drop_in(OURS.app.name, states.GATE)
    old, new = served_by(LEGACY_RUNS.name), served_by(OURS.app.name)
    assert {owner.unit for owner in old.owners(UPSTREAM.chosen)} == {LEGACY_RUNS.name}
    with pytest.raises(Fails, match=r"no gate: a deploy ends with a restart of hkn-rails.service"):
        dep_5(replace(DOWN, app=replace(DOWN.app, drop_ins=())), old, UPSTREAM)
    closed = replace(DOWN, app=replace(DOWN.app, drop_ins=(gate,)), shuts=True)
    dep_5(closed, old, UPSTREAM)
    with pytest.raises(Fails, match="no gate"):
        dep_5(replace(closed, app=replace(DOWN.app, drop_ins=())), old, UPSTREAM)
    with pytest.raises(Fails, match="a gate that something can open: a deploy ends with"):
        dep_5(replace(closed, shuts=False), old, UPSTREAM)
    dep_5(replace(OURS, app=replace(OURS.app, drop_ins=())), new, UPSTREAM)


SHOWS = """
case " $* " in *" show "*) ;; *) exit 0 ;; esac
for u; do
  case "$u" in *.service|*.timer) ;; *) continue ;; esac
  d="$XDG_RUNTIME_DIR/systemd/user/$u.d"
  printf 'Names=%s\\nActiveState=inactive\\nDropInPaths=%s\\n\\n' "$u" "$(ls -d "$d"/* 2>/dev/null | tr '\\n' ' ')"
done
"""
"""A manager that knows the drop-ins of its units, all of which rest."""


def typed_in_the_runbook(*words: str) -> str:
    """The lines of the runbook's shell that have one of the words."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (TOP / "docs/runbook.md").read_text(encoding="utf-8"), re.M | re.S)
    return "\n".join(line for block in blocks for line in block.splitlines() if any(word in line for word in words))


def test_gate_is_one_that_no_file_opens_whether_the_tool_closed_it_or_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (step,) = steps(deploy.hold_back, tmp_path, our_units=DOWN, masters=replace(MASTERS, all=()))
    (write,) = [act for act in step.acts if isinstance(act, Write)]
    gate_file = tmp_path / f"systemd/user/{OURS.app.name}.d/{states.GATE}"
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\n{SHOWS}")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(targets, "prelude", lambda inv: f"{prelude(inv)}\nXDG_RUNTIME_DIR={tmp_path}")
    closing = typed_in_the_runbook("hkn-rails.service.d; mkdir", "ConditionPathExists=")
    subprocess.run(["/bin/sh", "-c", closing], check=True)
    assert gate_file.read_text() == write.content
    assert ask(states.our_units, NOTHING).gate_is_closed
    (tmp_path / "hkn-go").touch()
    gate_file.write_text("[Unit]\nConditionPathExists=%t/hkn-go\n")
    assert not ask(states.our_units, NOTHING).gate_is_closed, "what opens that one may lie there already"
    monkeypatch.setenv("HOME", str(tmp_path))
    subprocess.run(["/bin/sh", "-c", typed_in_the_runbook('90-migration-gate.conf" ~/attic')], check=True)
    assert not gate_file.exists()


def test_gate_that_a_run_left_is_named_with_the_line_that_opens_it() -> None:
    gate = OURS.drop_in(OURS.app.name, states.GATE)
    with pytest.raises(Fails, match=rf"held back by {gate}.* `mv {gate} ~ && systemctl --user daemon-reload`"):
        unit_5(replace(DOWN, app=replace(DOWN.app, drop_ins=(gate,))), MASTERS)
    with pytest.raises(Fails) as seen:
        unit_5(replace(DOWN, app=replace(DOWN.app, drop_ins=())), MASTERS)
    assert "held back" not in str(seen.value)


def test_push_by_hand_is_of_a_commit_that_was_made_ready(target: Inventory, tmp_path: Path) -> None:
    mine = target.changed({"may": []})
    found = []
    for number, step in enumerate(repo.merge(world.context(mine, tmp_path)), 1):
        found.append(step)
        if is_a_persons(step, mine):
            done = subprocess.run(["/bin/sh", "-c", step.typed], capture_output=True, text=True, check=False, timeout=60)
        else:
            done = world.run(step, mine, tmp_path, number)
        assert done.returncode == 0, f"{step.id}: {done.stdout}{done.stderr}"
    assert [step.id for step in found] == ["REPO-6/checkout", "REPO-6/change", "REPO-6/commit", "REPO-6/push"]
    assert found[-1].typed.startswith(f"git -C {tmp_path}/work/repo-6-")
    assert ask(facts_repo.repository, mine).unmerged == ()


def test_push_by_hand_uses_the_inventorys_ssh_config(target: Inventory, tmp_path: Path) -> None:
    git(Path(target.repository.url), "branch", "-qD", "migrate")
    mine = target.changed({"may": [], "connect": target.connect.changed({"ssh_config": "/x y/config"})})
    seen = ask(facts_repo.repository, target)
    *_, push = repo.unicorn(world.context(mine, tmp_path, {facts_repo.repository: seen}))
    words = subprocess.run(
        ["/bin/sh", "-c", push.typed.replace("git ", "printf '%s\\n' ", 1)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert words[:2] == ["-c", "core.sshCommand=ssh -F '/x y/config'"]


@pytest.mark.parametrize(("main", "rc"), [("0", 0), ("", 0), ("1", 0), ("mine", 1)])
def test_unit_whose_process_listens_is_not_gated(main: str, rc: int, tmp_path: Path) -> None:
    pid = str(os.getpid()) if main == "mine" else main
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/prod.sock")
        listener.listen()
        names = f"SOCKET_DIR={tmp_path}\nLISTEN={tmp_path}/prod.sock\nUNIT=a.service\n"
        functions = f"prop() {{ echo {pid}; }}\nupstream() {{ echo {tmp_path}/other.sock; }}\n"
        script = names + functions + deploy.SERVES_NOBODY
        assert subprocess.run(["/bin/sh", "-c", script], check=False).returncode == rc
        blind = f"ss() {{ echo 'u_str LISTEN 0 9 {tmp_path}/prod.sock 5 * 0'; }}\n"
        unsure = subprocess.run(["/bin/sh", "-c", blind + script], check=False).returncode
        assert (unsure == 0) is (rc == 0)
