"""Remedies of units, sockets, Solr and logs on recorded answers: which steps they take, and that guards let them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converge.acting.executor import host_fence
from converge.checking.statement import Fails
from converge.readings import Reading
from converge.steps import Aside, ByHand, NothingToDo, RemedyContext, Step, Write
from converge.steps.compile import compile_step
from converge.steps.describe import undo_described
from facts import logs, sockets, solr, web
from facts.host import memory
from facts.host.memory import Room
from facts.prelude import prelude
from facts.repo import git
from facts.repo.git import Repository
from facts.ruby import Broken, Bundle, BundleDir, bundle, bundle_dirs, bundles_aside
from facts.units import states
from facts.units.files import SharedDropIn, unit_files
from remediate import logs as mend_logs
from remediate import ruby as mend_ruby
from remediate import sockets as mend_sockets
from remediate import solr as mend_solr
from remediate import units as mend_units
from remediate import web as mend_web
from remediate.cutover import conditions
from remediate.cutover import steps as cutover_steps
from tests.facts import test_sockets, test_solr, test_units
from tests.remediate.world import context
from tests.targets import inventory, parse
from verify.test_units import test_legacy_units_are_gone as unit_4

LEGACY = "hkn-rails-migrate.service"
INV = inventory()
OURS = parse(states.our_units, test_units.answer())
LEGACY_RUNS = replace(OURS.legacy[0], active="active", load="loaded", main_pid=98, enablement="enabled")
MASTERS = parse(states.masters, f"current={test_units.RELEASE}\n{test_units.process(234, 100)}")
SOCKETS = parse(sockets.sockets, test_sockets.ANSWER)
SOLR = parse(solr.solr, test_solr.answer())
SEARCH = web.Search("/search?q=exam", 500, 0, "", "production.log")
FOLDER = f"{test_units.UNITS}/default.target.wants"
FILES = parse(
    unit_files,
    f"[hkn-rails.service]\n|[Unit]\n\n[{LEGACY}]\n|[Unit]\n\n"
    f"[links]\nlink={FOLDER}/{LEGACY}\t../{LEGACY}\t{test_units.UNITS}/{LEGACY}\nlink={FOLDER}/other.service\tx\t\n",
)
UNIT_TEXT = "[Unit]\nConditionHost=vampires\n[Service]\nKillSignal=SIGQUIT\n"
REPOSITORY = Repository(
    "ssh://git@forge/x", "master", "a" * 40, None, None,
    {("master", git.unit_file(OURS.app.name)): UNIT_TEXT}, (), (), (),
)
INSTALL = ["write", "drop-in-1", "drop-in-2", "reload-vampires", "reload-werewolves"]
GIVEN: dict[Reading[Any], Any] = {
    states.our_units: OURS,
    states.masters: MASTERS,
    unit_files: FILES,
    sockets.upstream: sockets.Upstream("/etc/x", ("/srv/apps/hkn/hkn.sock",), "/srv/apps/hkn/hkn.sock"),
    sockets.sockets: SOCKETS,
    sockets.unicorn_pid_file: sockets.PidFile(f"{INV.current}/tmp/pids/unicorn.pid", True, "7", 7, False, "", False),
    solr.solr: SOLR,
    web.serving: web.Serving("/s", test_units.RELEASE, "", "", ()),
    web.search: SEARCH,
    memory.room: Room(2_000_000, 300_000),
    logs.open_logs: logs.OpenLogs(MASTERS.all[0], ()),
    git.repository: REPOSITORY,
}


def steps(remedy: Callable[[RemedyContext], Iterator[Step]], folder: Path, **given: Any) -> list[Step]:
    """The remedy's steps, each compiled, so that a guard that refuses one is seen; `given` by a reading's name."""
    named = {reading.name: reading for reading in GIVEN}
    values = {**GIVEN, **{named[name]: value for name, value in given.items()}}
    found = list(remedy(context(INV, folder, values)))
    for step in found:
        compile_step(step, prelude(INV), host_fence(INV, step.host, "run"), "1")
    return found


@pytest.mark.parametrize(
    ("remedy", "ids"),
    [
        (mend_units.install, [f"UNIT-1/{name}" for name in INSTALL]),
        (mend_units.enable, ["UNIT-3/enable"]),
        (mend_units.cutover, ["UNIT-5/cutover"]),
        (mend_units.retire_legacy, [f"UNIT-4/remove-{LEGACY}", "UNIT-4/forget-vampires", "UNIT-4/forget-werewolves"]),
        (mend_sockets.open_up, ["SOCK-2/mode"]),
        (mend_sockets.relink, ["SOCK-5/relink"]),
        (mend_sockets.write_pid_file, ["PID-1/write"]),
        (mend_solr.start, ["SOLR-1/start"]),
        (mend_solr.write_pid_file, ["SOLR-4/write"]),
        (mend_solr.move_home, ["SOLR-2/move", "SOLR-2/reindex"]),
        (mend_solr.reindex, ["SOLR-3/reindex"]),
        (mend_solr.let_app_detect, ["SOLR-5/restart"]),
        (mend_solr.stop_legacy, ["SOLR-6/stop-184"]),
        (mend_logs.reopen, ["LOG-1/reopen"]),
    ],
)
def test_steps(remedy: Callable[[RemedyContext], Iterator[Step]], ids: list[str], tmp_path: Path) -> None:
    assert [step.id for step in steps(remedy, tmp_path)] == ids


ITSELF = parse(
    sockets.sockets,
    re.sub(
        r"entry=/srv/apps/hkn/hkn.sock.*",
        "entry=/srv/apps/hkn/hkn.sock\tsymbolic link/777/5000/11\t\thkn.sock\t\t.",
        test_sockets.ANSWER,
    ),
)


@pytest.mark.parametrize("remedy", [mend_sockets.open_up, mend_sockets.single, mend_web.serve_current])
def test_what_needs_only_a_link_is_not_restarted(
    remedy: Callable[[RemedyContext], Iterator[Step]], tmp_path: Path
) -> None:
    with pytest.raises(NothingToDo, match="SOCK-5 mends that"):
        steps(remedy, tmp_path, sockets=ITSELF)


@pytest.mark.parametrize("target", ["/repo/hkn-rails.service", "/dev/null"])
def test_unit_file_that_is_a_link_gives_way_to_a_file(target: str, tmp_path: Path) -> None:
    place = f"{test_units.UNITS}/{OURS.app.name}"
    linked = parse(unit_files, f"[folder]\nreal={test_units.UNITS}\n[links]\nlink={place}\t{target}\t{target}\n")
    write, *_ = steps(mend_units.install, tmp_path, unit_files=linked)
    assert write.acts == (Aside(place), Write(place, UNIT_TEXT))
    assert [each.sentence for each in write.when] == [f"{place} leads to {target}"]


def test_a_wrong_link_and_a_copy_give_way_and_the_unit_file_stays(tmp_path: Path) -> None:
    app, place = OURS.app.name, f"{test_units.UNITS}/{OURS.app.name}"
    text = (
        f"[{app}]\n|[Unit]\n\n[folder]\nreal={test_units.UNITS}\n[links]\nlink={place}\t/repo/{app}\t/repo/{app}\n"
        f"link={FOLDER}/{app}\t/elsewhere\t/elsewhere\ncopy={test_units.UNITS}/x.target.requires/{app}\n"
    )
    (step,) = steps(mend_units.enable, tmp_path, unit_files=parse(unit_files, text))
    moved = [act.path for act in step.acts if isinstance(act, Aside)]
    assert moved == [f"{FOLDER}/{app}", f"{test_units.UNITS}/x.target.requires/{app}"]


def test_what_other_units_share_is_a_persons(tmp_path: Path) -> None:
    shared = SharedDropIn("/etc/systemd/user/hkn-.service.d/x.conf", "[Service]\nKillMode=process\n")
    ours = replace(OURS, app=replace(OURS.app, drop_ins=(shared.path,)), shared_drop_ins=(shared,))
    same = parse(unit_files, f"[{OURS.app.name}]\n" + "".join(f"|{line}\n" for line in UNIT_TEXT.splitlines()))
    with pytest.raises(ByHand, match=r"KillMode in .*, which serves every service whose name begins with hkn-"):
        steps(mend_units.install, tmp_path, our_units=ours, unit_files=same)


@pytest.mark.parametrize("remedy", [mend_solr.start, mend_solr.move_home])
def test_solr_moves_in_one_step_that_says_for_how_long_searches_do_without(
    remedy: Callable[[RemedyContext], Iterator[Step]], tmp_path: Path
) -> None:
    move, *rest = steps(remedy, tmp_path)
    assert move.search_gap == INV.solr.start_seconds + 0.5
    assert f"searches and saves do without it, or fail, for about {move.search_gap:g} s" in move.sentence
    script = compile_step(move, prelude(INV), host_fence(INV, move.host, "run"), "1")
    assert f" pid={SOLR.java[0].pid} tick={SOLR.java[0].started}\n" in script
    assert move.puts_back, "also when it is killed"
    assert [step.search_gap for step in rest] == [None] * len(rest), "it is one gap, told once"
    assert "Solr's port goes back to the one with home" in undo_described(move)


def test_a_solr_that_is_missing_is_started_without_ending_any(tmp_path: Path) -> None:
    (step,) = steps(mend_solr.start, tmp_path, solr=replace(SOLR, java=(), listeners=()))
    assert (step.id, step.search_gap) == ("SOLR-1/start", None), "it is missing anyhow"


def test_the_end_of_another_hosts_solr_costs_no_search(tmp_path: Path) -> None:
    (stop,) = steps(mend_solr.stop_legacy, tmp_path)
    assert stop.search_gap is None
    assert "searches" not in stop.sentence


def test_what_is_left_of_a_legacy_unit_fails_and_is_moved_aside(tmp_path: Path) -> None:
    left = f"{test_units.UNITS}/{LEGACY}.d"
    folder = parse(unit_files, f"[hkn-rails.service]\n|[Unit]\n\n[links]\n[legacy]\nat={LEGACY}\t{left}\n")
    nobody = replace(MASTERS, all=())
    with pytest.raises(Fails, match=re.escape(left)):
        unit_4(OURS, folder, nobody, INV)
    first, *_ = steps(mend_units.retire_legacy, tmp_path, unit_files=folder)
    assert (first.id, first.acts) == (f"UNIT-4/remove-{LEGACY}", (Aside(left),))
    assert first.sentence == f"move {LEGACY}.d aside, which is left of {LEGACY}"
    elsewhere = replace(context(INV, tmp_path, {**GIVEN, unit_files: folder}), at="werewolves")
    with pytest.raises(NothingToDo, match="are shared"):
        list(mend_units.retire_legacy(elsewhere))
    unit_4(OURS, replace(folder, legacy={}), nobody, INV)


def test_a_legacy_unit_file_that_is_a_link_is_moved_once(tmp_path: Path) -> None:
    path = f"{test_units.UNITS}/{LEGACY}"
    found = f"[{LEGACY}]\n|[Unit]\n\n[links]\nlink={path}\t/x/{LEGACY}\t/x/{LEGACY}\n[legacy]\nat={LEGACY}\t{path}\n"
    first, *_ = steps(mend_units.retire_legacy, tmp_path, unit_files=parse(unit_files, found))
    assert first.acts == (Aside(path),)


def test_a_legacy_unit_that_runs_is_handed_over_and_its_cost_is_said(tmp_path: Path) -> None:
    ours = replace(OURS, app=replace(OURS.app, active="inactive", main_pid=0), legacy=(LEGACY_RUNS,))
    (step,) = steps(mend_units.cutover, tmp_path, our_units=ours)
    assert LEGACY in step.sentence
    assert step.interrupts == cutover_steps.brief_cost(INV)
    assert step.may == "restart"
    assert any("98" in condition.test for condition in step.when)


def test_a_unit_that_does_not_run_interrupts_nothing_when_it_starts(tmp_path: Path) -> None:
    ours = replace(OURS, app=replace(OURS.app, active="inactive", main_pid=0))
    (step,) = steps(mend_units.cutover, tmp_path, our_units=ours, masters=replace(MASTERS, all=()))
    assert step.interrupts is None


def test_a_gate_stays_in_front_of_a_unit_that_does_not_run(tmp_path: Path) -> None:
    gate = OURS.drop_in(OURS.app.name, states.GATE)
    closed = replace(OURS, app=replace(OURS.app, active="inactive", drop_ins=(gate,)))
    assert not [s for s in steps(mend_units.install, tmp_path, our_units=closed) if "drop-in" in s.id]
    running = replace(OURS, app=replace(OURS.app, drop_ins=(gate,)))
    assert [s for s in steps(mend_units.install, tmp_path, our_units=running) if "drop-in" in s.id]


@pytest.mark.parametrize(
    ("text", "rc"),
    [
        ("", 0),
        (f"ConditionHost={os.uname().nodename}\n", 0),
        ("ConditionHost=\n", 0),
        ("ConditionHost=!elsewhere\n", 0),
        ("ConditionHost=elsewhere\n", 1),
        (f"ConditionHost=!{os.uname().nodename}\n", 1),
    ],
)
def test_a_restart_waits_for_a_unit_that_may_start_again(text: str, rc: int, tmp_path: Path) -> None:
    (tmp_path / "text").write_text(f"[Unit]\n{text}")
    functions = f"XDG_RUNTIME_DIR={tmp_path}\nS() {{ [ \"$*\" = 'cat a.service' ] && cat {tmp_path}/text; }}\n"
    test = functions + conditions.starts_here("a.service").test
    assert subprocess.run(["/bin/sh", "-c", test], check=False).returncode == rc
    gate = tmp_path / "systemd/user/a.service.d" / states.GATE
    gate.parent.mkdir(parents=True)
    gate.touch()
    assert subprocess.run(["/bin/sh", "-c", test], check=False).returncode == 1


def test_an_application_that_booted_without_solr_is_to_be_restarted_though_solr_is_not_back_yet(tmp_path: Path) -> None:
    gone = {"solr": replace(SOLR, pid_text="1"), "search": replace(SEARCH, status=200, fallbacks=1)}
    (step,) = steps(mend_solr.let_app_detect, tmp_path, **gone)
    assert (step.id, step.interrupts) == ("SOLR-5/restart", 4.0)


@pytest.mark.parametrize("remedy", [mend_solr.let_app_detect, mend_web.serve_current, mend_ruby.restart])
def test_a_restart_reloads_the_manager_only_where_the_unit_is_as_it_was_read(
    remedy: Callable[[RemedyContext], Iterator[Step]], tmp_path: Path
) -> None:
    (step,) = steps(remedy, tmp_path)
    sentences = " / ".join(condition.sentence for condition in step.when)
    assert f"{FILES.files[INV.app.unit].path} is as it was read (sha256 " in sentences
    assert f"the manager knows the files of {INV.app.unit} as they are" in sentences


@pytest.mark.parametrize("remedy", [mend_solr.start, mend_solr.move_home, mend_solr.stop_legacy])
def test_another_applications_solr_is_not_stopped(remedy: Callable[[RemedyContext], Iterator[Step]], tmp_path: Path) -> None:
    theirs = [replace(p, cmdline=p.cmdline.replace(INV.stages.root, "/home/h/hk/hkn/tutoring")) for p in SOLR.java]
    with pytest.raises(NothingToDo, match="another application's Solr"):
        steps(remedy, tmp_path, solr=replace(SOLR, java=tuple(theirs)))


OWN = (".prod.next", ".prod.old", ".prod.old.4711", ".hkn.sock.cv-12", "old.sock")
OTHERS = ("gone", ".prod.oldest", ".prod.old.bak", "a b's.sock", ".dev.old")


def lying_about(*names: str) -> sockets.Sockets:
    """The socket directory with dangling links of these names besides."""
    entries = {name: replace(SOCKETS.entries["gone"], name=name, path=f"/srv/apps/hkn/{name}") for name in names}
    kept = {name: SOCKETS.entries[name] for name in ("hkn.sock", "prod.sock", "theirs")}
    return replace(SOCKETS, entries=kept | entries)


def test_only_names_of_the_tool_and_of_the_sites_past_are_swept(tmp_path: Path) -> None:
    found = steps(mend_sockets.sweep, tmp_path, sockets=lying_about(*OWN))
    assert [step.acts for step in found] == [(Aside(f"/srv/apps/hkn/{name}"),) for name in OWN]
    assert {step.when[-1].sentence for step in found} == {f"/srv/apps/hkn/{name} leads nowhere" for name in OWN}
    with pytest.raises(NothingToDo, match="no dead socket of the account: theirs"):
        steps(mend_sockets.sweep, tmp_path, sockets=lying_about())


def test_a_link_that_dangles_while_an_unlisted_application_restarts_is_left_to_a_person(tmp_path: Path) -> None:
    remedy = mend_sockets.sweep(context(INV, tmp_path, {**GIVEN, sockets.sockets: lying_about("old.sock", *OTHERS)}))
    assert next(remedy).acts == (Aside("/srv/apps/hkn/old.sock"),)
    with pytest.raises(ByHand) as left:
        next(remedy)
    lines = str(left.value).splitlines()
    assert [line.split(" is a symbolic link")[0] for line in lines] == [f"/srv/apps/hkn/{name}" for name in OTHERS]
    assert all(f"list it in web.allowed_sockets of {INV.file}" in line for line in lines)


def test_the_line_that_a_person_types_moves_a_dead_name_out_of_the_way(tmp_path: Path) -> None:
    inv = inventory(web={"socket_dir": str(tmp_path), "listen": f"{tmp_path}/prod.sock"})
    path = tmp_path / "a b's.sock"
    path.symlink_to("nowhere")
    seen = replace(SOCKETS, entries={path.name: replace(SOCKETS.entries["gone"], name=path.name, path=str(path))})
    with pytest.raises(ByHand) as left:
        list(mend_sockets.sweep(context(inv, tmp_path, {**GIVEN, sockets.sockets: seen})))
    subprocess.run(["/bin/sh", "-c", str(left.value).partition("if nobody needs it: ")[2]], check=True)
    assert not path.is_symlink()
    assert (tmp_path / ".attic" / path.name).is_symlink()


def test_a_hostile_name_in_the_socket_directory_is_data(tmp_path: Path) -> None:
    made = tmp_path / "made"
    entry = replace(SOCKETS.entries["old.sock"], path=f"/tmp/a';touch {made};'")
    subprocess.run(["/bin/sh", "-c", mend_sockets.same_inode(entry).test], check=False, stderr=subprocess.DEVNULL)
    assert not made.exists()


@pytest.mark.parametrize(
    ("remedy", "given"),
    [
        (mend_units.sweep_links, {}),
        (mend_units.install_logrotate, {}),
        (mend_units.disable_extra, {"unit_files": replace(FILES, links=())}),
        (
            mend_sockets.open_up,
            {
                "our_units": replace(OURS, app=replace(OURS.app, active="inactive")),
                "sockets": replace(SOCKETS, listeners=()),
            },
        ),
        (mend_sockets.single, {"our_units": replace(OURS, app=replace(OURS.app, active="inactive"))}),
        (mend_sockets.write_pid_file, {"masters": replace(MASTERS, all=())}),
        (mend_solr.start, {"solr": replace(SOLR, java=())}),
        (mend_solr.write_pid_file, {"solr": replace(SOLR, listeners=())}),
        (mend_solr.let_app_detect, {"solr": replace(SOLR, pid_text="1")}),
        (mend_logs.reopen, {"open_logs": logs.OpenLogs(None, ())}),
    ],
)
def test_where_it_cannot_be_sure_it_says_why(
    remedy: Callable[[RemedyContext], Iterator[Step]], given: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(NothingToDo, match=r"\w{4,}"):
        steps(remedy, tmp_path, **given)


@pytest.mark.parametrize(("text", "rc"), [("{dead}", 0), ("words", 0), ("{alive}", 75), (None, 75)])
def test_an_upgrade_that_began_since_keeps_its_pid_file(text: str | None, rc: int, tmp_path: Path) -> None:
    file = tmp_path / "unicorn.pid"
    ended = subprocess.Popen(["true"])
    ended.wait()
    if text is not None:
        Path(f"{file}.oldbin").write_text(text.format(dead=ended.pid, alive=os.getpid()) + "\n")
    pid = MASTERS.all[0].pid
    seen = sockets.PidFile(str(file), True, str(pid), pid, True, "9", False)
    (step,) = steps(mend_sockets.write_pid_file, tmp_path, unicorn_pid_file=seen)
    assert step.id == "PID-1/old"
    fence = replace(host_fence(INV, INV.app_host.name, "r"), hostname=None, account=None, attic=f"{tmp_path}/attic")
    script = compile_step(replace(step, acts=()), "", fence, "1")
    assert subprocess.run(["/bin/sh", "-c", script], check=False, capture_output=True).returncode == rc


def test_what_uses_gems_that_were_moved_aside_is_left_to_a_person(tmp_path: Path) -> None:
    inv = INV.changed({"ruby": INV.ruby.changed({"version": "3.3.8"})})
    current = Bundle("/s/new", "/s/new", "3.3.8", ("3.3.0",), 1, (), ())
    dirs = (BundleDir("/s/new", ()), BundleDir("/s/old", ()))
    given = {**GIVEN, bundle: current, bundle_dirs: dirs, bundles_aside: (BundleDir("/a/kept", (13, 12)),)}
    remedy = mend_ruby.retire_bundles(context(inv, tmp_path, given))
    assert next(remedy).acts == (Aside("/s/old"),)
    with pytest.raises(ByHand, match=r"`ps -fp 12,13`"):
        next(remedy)
    with pytest.raises(ByHand):
        next(mend_ruby.retire_bundles(context(inv, tmp_path, {**given, bundle_dirs: dirs[:1]})))


def test_gems_of_another_ruby_stay_while_a_process_uses_them(tmp_path: Path) -> None:
    top = "/b/ruby/3.1.0"
    seen = Bundle("/b", "/b", "3.3.8", ("3.1.0",), 1, (Broken(f"{top}/gems/a-1/lib/a.so", "x"),), ())
    inv = INV.changed({"ruby": INV.ruby.changed({"version": "3.3.8"})})
    first = next(mend_ruby.rebuild(context(inv, tmp_path, {**GIVEN, bundle: seen})))
    assert f"no process uses {top}" in [condition.sentence for condition in first.when]
