"""Which way a cutover takes, and what its programs may do; the ways themselves are tried on live hosts."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from converge.acting.executor import host_fence
from converge.errors import Unobservable
from converge.steps import Condition, Needless, NothingToDo
from converge.steps.compile import compile_step
from facts import sockets
from facts.host import memory
from facts.host.memory import Room
from facts.prelude import prelude
from facts.sockets import Entry, Listener, Sockets
from facts.units import states
from facts.units.files import UnitFile, UnitsDir
from hosts.schema import Inventory
from remediate import sockets as mend_sockets
from remediate import units as mend_units
from remediate.cutover import brief, seamless
from remediate.cutover import steps as cutover_steps
from remediate.cutover.choice import Strategy, beside, choose
from remediate.cutover.phases import GUARDED, REST
from remediate.cutover.shell import COMMON
from tests.remediate.test_services import INV, LEGACY, LEGACY_RUNS, OURS, steps
from tests.targets import inventory, parse

PUBLIC, LISTEN = "/srv/apps/hkn/hkn.sock", "/srv/apps/hkn/prod.sock"
ENOUGH, TIGHT = Room(2_000_000, 300_000), Room(200_000, 300_000)
PROCESS = f"process=98\t100\t900.0\t/x/{LEGACY}\t/r\t/ruby\tunicorn_rails master"
MASTER = parse(states.masters, f"current=/r\n{PROCESS}\n").all[0]


def entry(path: str, kind: str = "socket", leads_to: str = "") -> Entry:
    name = path.rsplit("/", 1)[-1]
    return Entry(name, path, kind, 0o777, 5000, 7 if kind == "socket" else 8, "", leads_to or path, "socket", 0o777, 7)


def here(*entries: Entry) -> Sockets:
    listener = Listener(LISTEN, 7, 0, (98,))
    return Sockets(5000, {e.name: e for e in entries}, (listener,), {98: MASTER})


LINKED = here(entry(PUBLIC, "symbolic link", LISTEN), entry(LISTEN))
HALF_WAY = here(entry(PUBLIC, "symbolic link", beside(LISTEN, "old")), entry(beside(LISTEN, "old")))
BOUND = here(entry(LISTEN))


@pytest.mark.parametrize(
    ("public", "seen", "way", "why"),
    [
        (PUBLIC, LINKED, "switch", "symlink"),
        (PUBLIC, HALF_WAY, "switch", "symlink"),
        (LISTEN, BOUND, "rename", "bound socket itself"),
        (PUBLIC, here(entry(PUBLIC)), "brief", "not to /srv/apps/hkn/prod.sock"),
        (PUBLIC, here(entry(PUBLIC, "symbolic link", "/srv/apps/hkn/dev.sock")), "brief", "leads to"),
        (LISTEN, replace(BOUND, listeners=()), "brief", "nobody of the account"),
        (LISTEN, replace(BOUND, holders={98: replace(MASTER, cgroup="/x/other.service")}), "brief", "other.service"),
    ],
)
def test_the_way_is_chosen_from_how_the_web_server_asks(public: str, seen: Sockets, way: Strategy, why: str) -> None:
    chosen = choose(public, LISTEN, seen, [LEGACY], ENOUGH, asked_brief=False)
    assert chosen.strategy == way
    assert why in chosen.reason


@pytest.mark.parametrize(
    ("space", "asked", "why"),
    [(ENOUGH, True, "--brief"), (TIGHT, False, "195 MiB available"), ("no /proc here", False, "no /proc here")],
)
def test_the_brief_way_is_taken_when_asked_for_and_when_memory_is_short(space: Room | str, asked: bool, why: str) -> None:
    chosen = choose(PUBLIC, LISTEN, LINKED, [LEGACY], space, asked_brief=asked)
    assert chosen.strategy == "brief"
    assert why in chosen.reason


def test_hidden_names_lie_beside_the_socket() -> None:
    assert beside("/srv/apps/hkn/prod.sock", "next") == "/srv/apps/hkn/.prod.next"


@pytest.mark.parametrize(
    ("public", "seen", "space", "words", "interrupts"),
    [
        (PUBLIC, LINKED, ENOUGH, "switch: ", None),
        (LISTEN, BOUND, ENOUGH, "rename: ", None),
        (PUBLIC, LINKED, TIGHT, "does not answer for about", cutover_steps.brief_cost(INV)),
    ],
)
def test_the_plan_says_way_reason_and_cost(
    public: str, seen: Sockets, space: Room, words: str, interrupts: float | None, tmp_path: Path
) -> None:
    given = {
        "our_units": replace(OURS, legacy=(LEGACY_RUNS,)),
        "upstream": sockets.Upstream("/etc/x", (public,), public),
        "sockets": seen,
        "room": space,
    }
    (step,) = steps(mend_units.cutover, tmp_path, **given)
    assert words in step.sentence
    assert step.interrupts == interrupts
    assert step.confirm == cutover_steps.CONFIRM
    script = compile_step(step, prelude(INV), host_fence(INV, step.host, "run"), "1")
    assert subprocess.run(["/bin/sh", "-n"], input=script, text=True, check=False).returncode == 0


@pytest.mark.parametrize(("runs", "words"), [(True, "did not serve as it must"), (False, "nothing served before it")])
def test_the_only_server_is_not_ended_by_taking_its_start_back(runs: bool, words: str, tmp_path: Path) -> None:
    app = OURS.app if runs else replace(OURS.app, active="inactive", main_pid=0)
    (step,) = steps(mend_units.cutover, tmp_path, our_units=replace(OURS, app=app))
    assert isinstance(step.undo, str)
    assert words in step.undo
    assert f"systemctl --user stop {INV.app.unit}" in step.undo
    assert not isinstance(step.undo, Needless)
    assert step.carries_the_site


def test_a_cutover_is_refused_where_somebody_deploys_or_edited_a_unit(tmp_path: Path) -> None:
    file = tmp_path / LEGACY
    file.write_text("[Unit]")
    text = "[Unit]\n"
    given = {
        "our_units": replace(OURS, legacy=(LEGACY_RUNS,)),
        "upstream": sockets.Upstream("/etc/x", (PUBLIC,), PUBLIC),
        "sockets": LINKED,
        "unit_files": UnitsDir(str(tmp_path), {LEGACY: UnitFile(LEGACY, str(file), text)}, (), {}),
    }
    (step,) = steps(mend_units.cutover, tmp_path, **given)
    *_, same, loaded, quiet = step.when
    stage = tmp_path / "stage"

    def holds(condition: Condition, stale: str = "") -> bool:
        said = f'prop() {{ [ "$2" != NeedDaemonReload ] || [ "$1" != "{stale}" ] || echo yes; }}'
        return subprocess.run(["/bin/sh", "-c", f"STAGE={stage}\n{said}\n{condition.test}"], check=False).returncode == 0

    assert "sha256" in same.sentence
    assert holds(same)
    file.write_text("[Unit]\nConditionHost=elsewhere\n")
    assert not holds(same)
    assert holds(loaded)
    assert not holds(loaded, LEGACY)
    assert not holds(loaded, INV.app.unit)
    assert holds(quiet)
    program = f"import time; time.sleep(20) # {stage}/releases/20181126"
    with subprocess.Popen(["ruby-like", "-c", program], executable=sys.executable) as deploy:
        time.sleep(0.3)
        assert not holds(quiet)
        deploy.kill()
    assert holds(quiet)
    assert quiet.passes, "a run that waits for a person waits for a deploy's end too"


def test_a_cutover_that_was_cut_off_goes_on_where_both_run(tmp_path: Path) -> None:
    given = {
        "our_units": replace(OURS, legacy=(LEGACY_RUNS,)),
        "upstream": sockets.Upstream("/etc/x", (PUBLIC,), PUBLIC),
        "sockets": HALF_WAY,
    }
    assert [step.id for step in steps(mend_sockets.single, tmp_path, **given)] == ["SOCK-3/cutover"]
    with pytest.raises(NothingToDo, match="the cutover leads it on"):
        steps(mend_sockets.relink, tmp_path, **given)


STUBS = r"""
prop() {
  case "$1:$2" in *:ActiveState) echo active ;; new.service:MainPID) echo "$RUNS_NEW" ;; *:MainPID) echo "$RUNS_OLD" ;; esac
}
cv_end() { echo "$1: $2"; exit "$3"; }
"""
LATER = r"""
state() { case "$1" in rotation.service) echo inactive ;; *) echo active ;; esac; }
listener_pids() { echo "$HOLDS"; }
serves_at() { [ "$HOLDS" = "$RUNS_NEW" ]; }
pid_in() { echo 0; }
"""


@pytest.mark.parametrize(
    ("old", "new", "holds", "gated", "how", "said"),
    [
        (8, 0, 8, "yes", "", "goes on with 8"),
        (8, 0, 0, "yes", "", "failed: none of old.service listens behind"),
        (8, 0, 0, "yes", "anyhow", "goes on with"),
        (0, 0, 0, "yes", "anyhow", "goes on with"),
        (0, 9, 9, "", "", "serves already: there is nothing to take back"),
        (0, 9, 9, "", "anyhow", "serves already: there is nothing to take back"),
        (8, 9, 9, "", "", "failed: none of old.service listens behind"),
        (0, 9, 9, "yes", "", "failed: none of old.service listens behind"),
    ],
)
def test_what_serves_when_a_cutover_begins_says_whether_it_does(
    old: int, new: int, holds: int, gated: str, how: str, said: str
) -> None:
    settings = f"""NEW=new.service OLDS=old.service RUNS_OLD={old} RUNS_NEW={new} HOLDS={holds} GATED={gated}
PUBLIC=/s/hkn.sock OLD=/s/.prod.old PID_FILE=/s/pid LOGROTATE_TIMER=rotation.timer LOGROTATE_UNIT=rotation.service
"""
    script = f'{settings}{STUBS}{COMMON}{GUARDED}{LATER}\nlook {how}\nphase=done; echo "goes on with $old_main"\n'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert said in done.stdout, done.stderr
    assert done.returncode == (70 if "failed" in said else 0)


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ("u_str LISTEN 3 1024 /s/prod.sock 99 * 0 ino:7 dev:0/9", 0),
        ("u_str LISTEN 3 1024 /run/other.sock 99 * 0 ino:7 dev:0/8", 1),
        ("u_str LISTEN 3 1024 /s/prod.sock 99 * 0 ino:77 dev:0/9", 1),
        ("", 2),
        ("fails", 2),
    ],
)
def test_whether_anybody_listens_is_yes_no_or_not_known(rows: str, status: int) -> None:
    ss = "ss() { return 1; }" if rows == "fails" else f"ss() {{ printf '%s' '{rows}'; }}"
    settings = "SOCKET_DIR=/s LOGROTATE_TIMER=t NEW=new.service"
    script = f"{settings}\n{STUBS}{COMMON}{GUARDED}\n{ss}\nphase=done\nqueue 7"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (status, "3\n" if status == 0 else "")


CALM = r"""
put_back() { echo put back >>"$OUT"; }
gone() { :; }
unit() { :; }
answers() { :; }
note() { :; }
"""
"""What putting back calls, on a host where all of it succeeds."""


@pytest.mark.parametrize(
    ("main", "tree", "said"),
    [
        ("gone", ".", "new.service answered, and its process did not stay for 15 s"),
        ("same", ".", "new.service does not answer on /s from {here}; it is active"),
        ("same", "/", "new.service works in {here}, and / is the release that is current"),
    ],
)
def test_a_cutover_says_why_the_new_application_was_not_steady(main: str, tree: str, said: str, tmp_path: Path) -> None:
    unsteady = GUARDED[GUARDED.index("unsteady() {") : GUARDED.index("confirmed() {")]
    silent = COMMON[COMMON.index("silent() {") :]
    stubs = "prop() { echo $$; }\nstate() { echo active; }\nmain=$$\n" + ("main=1\n" if main == "gone" else "")
    script = f"{stubs}NEW=new.service STABLE=15 NEW_TREE={tree}\n{silent}\n{unsteady}\nunsteady /s"
    done = subprocess.run(["/bin/sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == said.format(here=tmp_path)


@pytest.mark.parametrize("end", ["while :; do sleep 0.02; done", "sleep 0.02; fail 'not proven'"])
def test_a_stop_that_signals_more_than_once_puts_back(end: str, tmp_path: Path) -> None:
    """The manager signals each process and `timeout` passes it on: what comes second hits the shell anywhere in its end."""
    out = tmp_path / "out"
    settings = f"NEW=new.service OLDS=old.service GATED= LOGROTATE_TIMER=t PUBLIC=/p OUT={out}\n"
    program = f"{settings}{STUBS}{COMMON}{GUARDED}{CALM}phase=over; echo ready; {end}"
    script = tmp_path / "step.sh"
    script.write_text(f"CV_LATE=\ntrap 'CV_LATE=yes' TERM\n(\n{program}\n) </dev/null\nexit $?\n")
    for attempt in range(40):
        out.write_text("")
        words = ["timeout", "60", "/bin/sh", str(script)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as process:
            assert process.stdout
            process.stdout.readline()
            time.sleep(attempt % 10 * 0.003)
            for _ in range(30):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                time.sleep(0.0001)
            process.stdout.read()
        assert out.read_text() == "put back\n", f"attempt {attempt}"


def test_what_fails_after_the_old_application_has_ended_does_not_say_that_it_is_there() -> None:
    settings = "NEW=new.service OLDS=old.service GATED= LOGROTATE_TIMER=t"
    script = f"{settings}\n{STUBS}{COMMON}{GUARDED}\nclose_gate() {{ return 1; }}\nunit() {{ :; }}\nphase=committed\n{REST}"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    why = "what served before has ended; left: the gate before old.service could not be closed"
    assert (done.returncode, done.stdout.splitlines()[-1]) == (70, f"failed: new.service serves, and {why}")


@pytest.mark.parametrize(("state", "said"), [("inactive", ["systemctl --user start old.service"]), ("active", [])])
def test_a_brief_cutover_starts_the_old_unit_again_where_nothing_can_be_written(state: str, said: list[str]) -> None:
    program = brief.BRIEF[: brief.BRIEF.index("trap back EXIT")]
    put_back = brief.BRIEF[brief.BRIEF.index("\nput_back()") : brief.BRIEF.index("\naftermath\n")]
    stubs = f"aside() {{ return 1; }}; put() {{ return 1; }}; unit() {{ return 1; }}; state() {{ echo {state}; }}\n"
    stubs += 'systemctl() { echo "systemctl $*"; }'
    settings = "OLDS=old.service NEW=new.service LOGROTATE_TIMER=t HOLD=h GRACEFUL=g XDG_RUNTIME_DIR=/nowhere"
    script = f"{settings}\n{STUBS}{program}{put_back}\n{stubs}\nphase=over\nput_back"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    started = [line for line in done.stdout.splitlines() if " start " in line]
    assert (done.returncode, started) == (0 if said else 1, said)


def sparing(mib: int) -> Inventory:
    return inventory(limits={"spare_mib": mib})


def test_two_copies_that_leave_others_too_little_are_not_tried() -> None:
    enough = Room(2_000_000, 300_000, 1_600_000)
    assert choose(PUBLIC, LISTEN, LINKED, [LEGACY], enough, asked_brief=False).strategy == "switch"
    chosen = choose(PUBLIC, LISTEN, LINKED, [LEGACY], replace(enough, spare=1_800_000), asked_brief=False)
    assert chosen.strategy == "brief"
    assert "1757 MiB must stay free for others" in chosen.reason


def test_memory_is_read_on_this_machine() -> None:
    seen = parse(memory.room, "available=4096\nused=1024\nused=512\n", inv=sparing(0))
    assert (seen.available, seen.used) == (4096, 1536)
    assert seen.holds_two
    assert not parse(memory.room, "available=4096\nused=1024\nused=512\n", inv=sparing(3)).holds_two
    assert parse(memory.room, "available=4096\n").used == 0
    with pytest.raises(Unobservable, match=r"processes of hkn\.service use cannot be read"):
        parse(memory.room, "available=4096\nruns=hkn.service\n")
    with pytest.raises(Unobservable, match="does not say how much memory"):
        parse(memory.room, "")


@pytest.mark.parametrize(
    ("line", "ok"),
    [
        ("RAILS_ENV=production exec bundle exec unicorn_rails -c ./config/unicorn/prod.rb", True),
        ("exec bundle exec unicorn --config-file=config/unicorn/prod.rb -E production", True),
        ("exec bundle exec puma -C config/puma.rb", False),
        ("exec bundle exec unicorn_rails -c $CONFIG", False),
    ],
)
def test_the_configuration_that_run_names_is_replaced_or_not_understood(line: str, ok: bool, tmp_path: Path) -> None:
    """The part of the rename that rewrites the application's own `run`."""
    program = seamless.SEAMLESS[seamless.SEAMLESS.index("BESIDE=") : seamless.SEAMLESS.index("\nalone()")]
    (tmp_path / "run").write_text(f'#!/bin/bash\n. ~/.rvm/scripts/rvm\ncd "$(dirname "$0")"\n{line}\n')
    made = tmp_path / "made"
    made.mkdir()
    functions = f"""
second_name() {{ :; }}
over_listen() {{ :; }}
straighten() {{ :; }}
serves_at() {{ return 1; }}
gone() {{ :; }}
fail() {{ echo "$1"; exit 3; }}
drop_in() {{ echo /drop-in; }}
put() {{ cat >{made}/"${{1##*/}}"; }}
NEW=a.service NEW_TREE={tmp_path} NEXT=/s/.prod.next LISTEN=/s/prod.sock HOLD=hold XDG_RUNTIME_DIR=/run/user/1
"""
    done = subprocess.run(["/bin/sh", "-c", f"{functions}{program}\nprepare"], capture_output=True, text=True, check=False)
    if not ok:
        assert done.returncode == 3
        assert "not understood" in done.stdout
        return
    assert done.returncode == 0, done.stderr
    assert "-c /run/user/1/a.service.beside.rb" in (made / "a.service.beside.run").read_text()
    config = (made / "a.service.beside.rb").read_text()
    assert f"original = '{tmp_path}/" in config
    if shutil.which("ruby"):
        assert subprocess.run(["ruby", "-c"], input=config, text=True, check=False, capture_output=True).returncode == 0
