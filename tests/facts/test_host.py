"""Parsers of the hosts' readings."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from converge.checking.statement import Fails
from converge.errors import TooYoung, Unobservable
from facts.host.account import UserManager, home_mount, identity, user_manager
from facts.host.activity import UNICORN, activity
from tests.targets import ask, inventory, parse
from verify.test_host import test_login_lands_on_the_intended_host as host_1
from verify.test_host import test_user_manager_is_reachable_and_lingers as host_2

NO_BUS = "Failed to connect to bus: No such file or directory"


def test_identity() -> None:
    seen = parse(identity, "hostname=vampires\nrelease=13\nuser=hkn\nuid=5000\ngroups=hkn ocf ocfapphost\n")
    assert (seen.hostname, seen.release, seen.user, seen.uid) == ("vampires", "13", "hkn", 5000)
    assert seen.groups == ("hkn", "ocf", "ocfapphost")


@pytest.mark.parametrize("out", ["", "hostname=\n", "hostname=vampires\nuid=many\n"])
def test_identity_that_says_nothing_is_unobservable(out: str) -> None:
    with pytest.raises(Unobservable, match="vampires"):
        parse(identity, out)


def test_identity_of_this_machine() -> None:
    assert ask(identity, inventory()).hostname


@pytest.mark.parametrize(
    ("words", "state"), [("running", "running"), ("degraded", "degraded"), (NO_BUS, "unreachable"), ("", "unreachable")]
)
def test_user_manager_without_a_bus_is_an_answer(words: str, state: str) -> None:
    seen = parse(user_manager, f"state={words}\nlingers=yes\nuid=5000\n")
    assert seen.state == state
    assert seen.lingers
    assert seen.runtime_dir == "/run/user/5000"


def manager(state: str, *failed: str) -> UserManager:
    """What the reading says of a manager in that state."""
    lines = "".join(f"failed={unit}\n" for unit in failed)
    return parse(user_manager, f"state={state}\n{lines}lingers=yes\nuid=5000\n")


def judged(seen: UserManager) -> None:
    """HOST-2 on that manager, the account being in its group."""
    inv = inventory()
    host_2(seen, SimpleNamespace(groups=[inv.account.group]), inv, "vampires")


def test_a_manager_that_others_or_judged_units_degrade_is_well() -> None:
    judged(manager("running"))
    told_elsewhere = ("hkn-rails.service", "hkn-rails-migrate.service", "hkn-rails-logrotate.timer")
    judged(manager("degraded", "hkn-dev.service", *told_elsewhere))


def test_a_failed_unit_of_ours_that_nothing_else_judges_is_named() -> None:
    with pytest.raises(Fails) as seen:
        judged(manager("degraded", "hkn-dev.service", "hkn-rails-logrotate.service"))
    assert "failed: hkn-rails-logrotate.service\n" in str(seen.value)


def test_a_manager_that_still_starts_is_read_again() -> None:
    with pytest.raises(TooYoung, match="still starting"):
        judged(manager("starting"))


def test_a_host_that_was_upgraded_makes_the_inventory_the_stale_one() -> None:
    inv = inventory()
    out = "hostname=vampires\nrelease={}\nuser=hkn\nuid=5000\ngroups=hkn\n"
    host_1(parse(identity, out.format("13")), inv, "vampires")
    with pytest.raises(Fails, match=r"VERSION_ID 14: .* the inventory is probably stale \(the host was upgraded\)"):
        host_1(parse(identity, out.format("14")), inv, "vampires")
    with pytest.raises(Fails, match="no VERSION_ID"):
        host_1(parse(identity, out.format("")), inv, "vampires")


@pytest.mark.parametrize(
    ("named", "prints", "holds"),
    [
        ("vampires", "vampires", True),
        ("vampires.ocf.example", "vampires.ocf.example", True),
        ("vampires.ocf.example", "vampires", False),
        ("vampires", "vampires.ocf.example", False),
    ],
)
def test_a_host_has_its_name_to_the_letter_as_all_else_takes_it(named: str, prints: str, holds: bool) -> None:
    inv = inventory()
    host = inv.hosts["vampires"].changed({"hostname": named})
    inv = inv.changed({"hosts": {**inv.hosts, "vampires": host}})
    seen = parse(identity, f"hostname={prints}\nrelease=13\nuser=hkn\nuid=5000\ngroups=hkn\n")
    if holds:
        host_1(seen, inv, "vampires")
    else:
        with pytest.raises(Fails, match=f"lands on {named}\n.*hostname prints {prints}"):
            host_1(seen, inv, "vampires")


def test_failed_units_as_the_manager_lists_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(
        "#!/bin/sh\ncase $* in\n"
        "*is-system-running) echo degraded; exit 1 ;;\n"
        "*list-units*) echo 'a.service loaded failed failed A'; echo '\u25cf b.timer loaded failed failed B' ;;\n"
        "esac\n"
    )
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    seen = ask(user_manager, inventory())
    assert (seen.state, seen.failed) == ("degraded", ("a.service", "b.timer"))


def test_home_mount() -> None:
    seen = parse(home_mount, "mount\thomes:/home\tnfs4\ninode\t12\t/home/h/hk/hkn\ninode\t\t/home/h/hk/hkn/hkn-rails\n")
    assert (seen.source, seen.fstype) == ("homes:/home", "nfs4")
    assert seen.inodes == (("/home/h/hk/hkn", 12), ("/home/h/hk/hkn/hkn-rails", None))


@pytest.mark.parametrize(("out", "rc"), [("", 0), ("inode\t1\t/home\n", 0), ("mount\tx\tnfs4\n", 3), ("nonsense\n", 0)])
def test_home_mount_that_cannot_be_read(out: str, rc: int) -> None:
    with pytest.raises(Unobservable):
        parse(home_mount, out, rc=rc)


SERVERS = (
    "unit\thkn-rails.service\tinactive\nunit\thkn-rails-migrate.service\tactive\n"
    "server\t41\t900\t/user.slice/app.slice/hkn-rails-migrate.service\t/home/h/hk/hkn/hkn-rails/migrate/releases/1"
    "\tunicorn_rails master -c ./config/unicorn/prod.rb\n"
    "server\t44\t950\t/user.slice/app.slice/hkn-rails-migrate.service\t/home/h/hk/hkn/hkn-rails/migrate/releases/1"
    "\tunicorn_rails worker[0] -c ./config/unicorn/prod.rb\n"
)


def test_activity() -> None:
    seen = parse(activity, SERVERS)
    assert seen.active_units == ["hkn-rails-migrate.service"]
    assert [server.pid for server in seen.servers if server.is_master] == [41]
    assert not seen.is_idle


def test_a_process_that_ended_while_it_was_read_is_none() -> None:
    assert parse(activity, "unit\thkn-rails.service\tinactive\nserver\t41\t\t\t\t\n").is_idle


def test_activity_without_a_bus_is_unobservable() -> None:
    with pytest.raises(Unobservable, match="cannot be reached"):
        parse(activity, "unit\thkn-rails.service\t\n", err=NO_BUS)
    with pytest.raises(Unobservable, match="does not say"):
        parse(activity, "unit\thkn-rails.service\t\n")


@pytest.mark.parametrize(
    ("cmdline", "is_server"),
    [
        ("unicorn_rails master -c ./config/unicorn/prod.rb", True),
        ("unicorn worker[3] -c ./config/unicorn/prod.rb", True),
        ("/home/h/hk/hkn/.rvm/rubies/ruby-2.5.1/bin/ruby bin/unicorn_rails -c ./config/unicorn/prod.rb", True),
        ("ruby_executable_hooks /x/bin/bundle exec unicorn_rails -c ./config/unicorn/prod.rb", True),
        ("vim config/unicorn/prod.rb", False),
        ("tail -f log/unicorn.stderr.log", False),
        ("bash -c cd unicorn", False),
    ],
)
def test_only_a_server_is_taken_for_one(cmdline: str, is_server: bool) -> None:
    assert bool(re.search(UNICORN, cmdline)) is is_server
