"""Units, their files and their processes, from recorded answers of systemd 252 and of a manager that is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from converge.errors import TooYoung, Unobservable
from facts.situation import landscape
from facts.units.files import UnitFile, unit_files
from facts.units.states import LOOP, masters, our_units, rotation
from tests.targets import ask, inventory, parse

UNITS = "/home/h/hk/hkn/.config/systemd/user"
RELEASE = "/home/h/hk/hkn/hkn-rails/prod/releases/20261123221302"
SLICE = "/user.slice/user-5000.slice/user@5000.service/app.slice"

IDLE = "MainPID=0\nKillSignal=15\nLoadState={load}\nActiveState=inactive\nSubState=dead\nEnablement={enabled}\n"
APP = f"""TimeoutStopUSec=1min 10s
MainPID=234
Result=success
ControlGroup={SLICE}/hkn-rails.service
NRestarts={{restarts}}
KillMode=mixed
KillSignal=3
Names=hkn-rails.service
LoadState=loaded
ActiveState=active
SubState=running
FragmentPath={UNITS}/hkn-rails.service
DropInPaths=/run/user/5000/systemd/user/hkn-rails.service.d/a.conf /etc/b.conf
NeedDaemonReload=yes
Enablement=enabled
Processes=3
"""


def answer(restarts: int = 0) -> str:
    """What the reading prints where the app runs and nothing is left of the legacy unit."""
    return (
        "runtime=/run/user/5000\n"
        f"[hkn-rails.service]\n{APP.format(restarts=restarts)}"
        f"[hkn-rails-migrate.service]\n{IDLE.format(load='not-found', enabled='')}"
        f"[hkn-rails-logrotate.service]\n{IDLE.format(load='loaded', enabled='static')}"
        "[hkn-rails-logrotate.timer]\nResult=success\nLoadState=loaded\nActiveState=active\nSubState=waiting\nEnablement=enabled\n"
    )


def test_units_as_the_manager_knows_them() -> None:
    seen = parse(our_units, answer())
    app, legacy = seen.app, seen.legacy[0]
    assert (app.active, app.main_pid, app.enablement, app.processes) == ("active", 234, "enabled", 3)
    assert (app.kill_signal, app.kill_mode, app.stop_timeout, app.exec_stop) == (3, "mixed", 70.0, "")
    assert app.drop_ins == ("/run/user/5000/systemd/user/hkn-rails.service.d/a.conf", "/etc/b.conf")
    assert app.needs_reload
    assert app.runs
    assert (legacy.exists, legacy.enablement, legacy.runs) == (False, "not-found", False)
    assert (seen.timer.sub, seen.timer.kill_signal) == ("waiting", 0)
    assert seen.drop_in("x.service", "y.conf") == "/run/user/5000/systemd/user/x.service.d/y.conf"


SHARED = "/etc/systemd/user/{folder}/10-x.conf"


@pytest.mark.parametrize(
    ("folder", "text", "changes", "serves"),
    [
        ("service.d", "|[Service]\n|TimeoutStopFailureMode=abort\n", (), "every service"),
        (
            "hkn-.service.d",
            "|[Service]\n|LimitNOFILE=2048\n|KillMode=process\n",
            ("KillMode",),
            "every service whose name begins with hkn-",
        ),
        ("hkn-rails.service.d", "|[Unit]\n|ConditionHost=x\n", ("ConditionHost",), "hkn-rails.service"),
    ],
)
def test_what_other_units_share_is_judged_by_what_it_changes(
    folder: str, text: str, changes: tuple[str, ...], serves: str
) -> None:
    path = SHARED.format(folder=folder)
    seen = parse(our_units, answer().replace("/etc/b.conf", path) + f"[{path}]\n{text}")
    assert [path for path in seen.surprising_drop_ins if path.startswith("/etc")] == []
    (drop_in,) = seen.shared_drop_ins
    assert (drop_in.changes, drop_in.serves) == (changes, serves)
    assert seen.harmful_drop_ins == ((drop_in,) if changes else ())


@pytest.mark.parametrize(
    ("out", "err", "rc", "words"),
    [
        ("", "Failed to connect to bus: No such file or directory", 1, "lingering"),
        ("", "Failed to get D-Bus connection: Connection refused", 1, "cannot be reached"),
        ("runtime=/run/user/5000\n", "", 0, "said nothing about hkn-rails.service"),
        (answer().replace("Names=hkn-rails.", "Names=other."), "", 0, "about hkn-rails.service is about other.service"),
        (answer().replace("MainPID=234", "MainPID=many"), "", 0, "expected a number"),
        ("", "sh: 1: Syntax error", 2, "status 2"),
    ],
)
def test_a_manager_that_does_not_answer_is_not_inactive(out: str, err: str, rc: int, words: str) -> None:
    with pytest.raises(Unobservable, match=words):
        parse(our_units, out, err, rc)


MANAGER = """#!/bin/sh
echo "$*" >>"$0.calls"
[ "$1" = --user ] && shift
case $1 in
  is-enabled)
    case $2 in
      *migrate*) echo "Failed to get unit file state" >&2; exit 1 ;;
      *) echo enabled ;;
    esac ;;
  show)
    shift; n=0
    for u; do
      [ "$u" != -p ] || break
      [ "$n" = 0 ] || echo
      n=$((n + 1))
      printf 'Names=%s\\nMainPID=%s\\nActiveState=active\\n' "$u" "$((n + 100))"
    done ;;
esac
"""
"""What systemctl prints of several units: a paragraph for each, in the order of the arguments."""


def test_units_are_asked_for_in_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = tmp_path / "systemctl"
    manager.write_text(MANAGER)
    manager.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    seen = ask(our_units, inventory())
    assert [(unit.main_pid, unit.active, unit.enablement) for unit in seen.all] == [
        (101, "active", "enabled"), (102, "active", "not-found"), (103, "active", "enabled"), (104, "active", "enabled")
    ]  # fmt: skip
    calls = Path(f"{manager}.calls")
    assert [call.split()[1] for call in calls.read_text().splitlines()] == ["show", *["is-enabled"] * 4]
    calls.write_text("")
    assert ask(landscape, inventory()).legacy_active == ("hkn-rails-migrate.service",)
    assert [call.split()[1] for call in calls.read_text().splitlines()] == ["show", *["is-enabled"] * 2]


def test_unit_files_and_links() -> None:
    out = (
        "[hkn-rails.service]\n|[Unit]\n|ConditionHost=vampires\n|\n|[Service]\n|ExecStop=/bin/kill\n|ExecStop=\n\n"
        f"[links]\nlink={UNITS}/default.target.wants/hkn-rails.service\t../hkn-rails.service\t{UNITS}/hkn-rails.service\n"
        f"link={UNITS}/default.target.wants/old.service\t{UNITS}/old.service\t\n"
    )
    seen = parse(unit_files, out)
    file = seen.files["hkn-rails.service"]
    assert file.text == "[Unit]\nConditionHost=vampires\n\n[Service]\nExecStop=/bin/kill\nExecStop=\n"
    assert file.values("ConditionHost") == ("vampires",)
    assert file.values("ExecStop") == ()
    assert [link.path for link in seen.dangling] == [f"{UNITS}/default.target.wants/old.service"]
    assert [link.target for link in seen.wants("hkn-rails.service")] == ["../hkn-rails.service"]


def test_links_that_ask_for_a_unit_are_told_from_those_that_name_it(tmp_path: Path) -> None:
    folder, app = tmp_path / ".config/systemd/user", "hkn-rails.service"
    (folder / "default.target.wants").mkdir(parents=True)
    (folder / "extra.target.requires").mkdir()
    (tmp_path / app).write_text("[Unit]\n")
    (folder / app).symlink_to(tmp_path / app)
    (folder / "alias.service").symlink_to(app)
    (folder / "hkn-rails-logrotate.timer").symlink_to("/dev/null")
    (folder / f"default.target.wants/{app}").symlink_to(f"../{app}")
    (folder / f"extra.target.requires/{app}").write_text("[Unit]\n")
    (tmp_path / "way").symlink_to(folder)
    seen = ask(unit_files, inventory(account={"home": str(tmp_path)}))
    assert [link.path for link in seen.wants(app)] == [f"{folder}/default.target.wants/{app}"]
    assert seen.wants(app)[0].resolved == seen.file_of(app) == str(tmp_path / app)
    assert seen.copies_of(app) == (f"{folder}/extra.target.requires/{app}",)
    own = seen.link_of(app)
    assert own
    assert own.words == f"a link to {tmp_path / app}"
    masked = seen.link_of("hkn-rails-logrotate.timer")
    assert masked
    assert masked.words == "masked (a link to /dev/null)"
    assert seen.link_of("alias.service")
    assert not seen.wants("alias.service")


def test_folder_of_which_a_part_cannot_be_walked_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".config/systemd/user").mkdir(parents=True)
    find = tmp_path / "find"
    find.write_text("#!/bin/sh\necho 'find: default.target.wants: Stale file handle' >&2\nexit 1\n")
    find.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(Unobservable, match="Stale file handle"):
        ask(unit_files, inventory(account={"home": str(tmp_path)}))


def test_what_bears_a_legacy_units_name(tmp_path: Path) -> None:
    folder = tmp_path / ".config/systemd/user"
    legacy = "hkn-rails-migrate.service"
    (folder / f"{legacy}.d").mkdir(parents=True)
    (folder / f"{legacy}.d/hkn-rails-migrate.conf").touch()
    (folder / "default.target.wants").mkdir()
    for name in ("hkn-rails.service", legacy, f"{legacy}.bak", "hkn-rails-migrate.timer", "hkn-rails-migrate-other.service"):
        (folder / name).touch()
    (folder / f"default.target.wants/{legacy}").symlink_to(folder / legacy)
    inv = inventory(account={"home": str(tmp_path)})
    seen = ask(unit_files, inv)
    names = [f"{legacy}.bak", f"{legacy}.d", "hkn-rails-migrate.timer"]
    assert seen.left_of(legacy) == tuple(f"{folder}/{name}" for name in names)
    assert sorted(seen.legacy[legacy]) == sorted(
        [*seen.left_of(legacy), f"{folder}/{legacy}", f"{folder}/default.target.wants/{legacy}"]
    )
    assert "hkn-rails-migrate-other.service" in seen.files


@pytest.mark.parametrize(
    ("condition", "host", "starts"),
    [
        ("vampires", "vampires", True),
        ("werewolves", "vampires", False),
        ("!werewolves", "vampires", True),
        ("!vampires", "vampires", False),
        ("vamp*", "vampires", True),
        ("", "vampires", True),
    ],
)
def test_condition_host(condition: str, host: str, starts: bool) -> None:
    assert UnitFile("a", "/a", f"[Unit]\nConditionHost={condition}\n").may_start_on(host) is starts


def process(pid: int, age: float, unit: str = "hkn-rails.service") -> str:
    """A line about a master of that age on a host that is up for 1000 s."""
    times = f"{round((1000 - age) * 100)}\t1000.00"
    return f"process={pid}\t{times}\t{SLICE}/{unit}\t{RELEASE}\t/r/ruby\tunicorn_rails master -c x  \n"


def test_masters() -> None:
    seen = parse(masters, f"current={RELEASE}\n{process(96, 50, 'hkn-dev.service')}{process(234, 20)}")
    app = parse(our_units, answer()).app
    main = seen.settled(app)
    assert main
    assert (main.pid, main.unit, main.age, main.cwd) == (234, "hkn-rails.service", 20.0, seen.current)
    assert main.cmdline == "unicorn_rails master -c x"


def test_a_young_process_is_not_judged_but_a_crash_loop_is() -> None:
    seen = parse(masters, f"current={RELEASE}\n{process(234, 4)}")
    with pytest.raises(TooYoung) as young:
        seen.settled(parse(our_units, answer()).app)
    assert young.value.seconds_left == pytest.approx(11)
    assert seen.settled(parse(our_units, answer(LOOP)).app)


def test_a_process_without_its_fields() -> None:
    with pytest.raises(Unobservable, match="described as"):
        parse(masters, "current=/x\nprocess=1\t2\n")


def test_rotation() -> None:
    seen = parse(rotation, "|/shared/log/*.log {\n|}\nlog=/shared/log/a.log\nerror=stat of /x failed\n")
    assert seen.text == "/shared/log/*.log {\n}\n"
    assert (seen.considered, seen.complaints) == (("/shared/log/a.log",), ("stat of /x failed",))
    assert "does not exist" in parse(rotation, "absent\n").complaints[0]
    with pytest.raises(Unobservable, match="not installed"):
        parse(rotation, "", "logrotate is not installed", 69)
