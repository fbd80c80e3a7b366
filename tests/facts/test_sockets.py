"""Sockets by inode and owner, and unicorn's PID file, from recorded answers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from converge.errors import Unobservable
from facts.sockets import LISTENER_PIDS, parse_listener, sockets, unicorn_pid_file, upstream
from tests.targets import inventory, parse

SLICE = "/user.slice/user-5000.slice/user@5000.service/app.slice"
ROW = (
    'u_str LISTEN 3      1024  /srv/apps/hkn/.prod.next 725016 * 0    users:(("ruby3.3",pid=292,fd=8),'
    '("ruby3.3",pid=234,fd=8)) <-> ino:10641432 dev:0/57 peers:'
)
ANSWER = f"""uid=5000
entry=/srv/apps/hkn/hkn.sock\tsymbolic link/777/5000/11\tsocket/777/5000/10641432\tprod.sock\t/srv/apps/hkn/prod.sock\t.
entry=/srv/apps/hkn/prod.sock\tsocket/777/5000/10641432\tsocket/777/5000/10641432\t\t/srv/apps/hkn/prod.sock\t.
entry=/srv/apps/hkn/old.sock\tsocket/755/5000/12\tsocket/755/5000/12\t\t/srv/apps/hkn/old.sock\t.
entry=/srv/apps/hkn/gone\tsymbolic link/777/5000/13\t\tnowhere\t/srv/apps/hkn/nowhere\t.
entry=/srv/apps/hkn/theirs\tsocket/755/0/14\tsocket/755/0/14\t\t/srv/apps/hkn/theirs\t.
[listeners]
{ROW}
[holders]
process=234\t100\t50.00\t{SLICE}/hkn-rails.service\t/r\t/x/ruby\tunicorn_rails master
process=292\t100\t50.00\t{SLICE}/hkn-rails.service\t/r\t/x/ruby\tunicorn_rails worker[0]
"""


def test_a_listener_is_found_by_inode_whatever_it_was_bound_as() -> None:
    seen = parse(sockets, ANSWER)
    found = seen.listening_on("/srv/apps/hkn/hkn.sock")
    assert [(row.bound_as, row.backlog, row.pids) for row in found] == [("/srv/apps/hkn/.prod.next", 3, (292, 234))]
    assert {process.unit for process in seen.owners("/srv/apps/hkn/prod.sock")} == {"hkn-rails.service"}
    assert seen.listening_on("/srv/apps/hkn/nothing") == ()


def test_listeners_without_an_inode_leave_nothing_to_be_called_dead() -> None:
    with pytest.raises(Unobservable, match="no ino:"):
        parse(sockets, ANSWER.replace("ino:10641432 ", ""))


OLD_ROW = 'u_str  LISTEN     0      1024   {} 725016                * 0                   users:(("ruby",pid=292,fd=8))'
"""What ss of Debian 9 writes of a listener with -e: its second line has what comes after, and no inode."""


@pytest.mark.parametrize(
    ("ss", "rc", "said"),
    [(OLD_ROW + " <-> ino:{} dev:0/57", 0, "292\n"), (OLD_ROW, 69, ""), ("", 0, ""), (None, 69, "")],
    ids=["tells", "does not tell", "nobody listens", "fails"],
)
def test_nobody_is_not_found_where_ss_does_not_tell(ss: str | None, rc: int, said: str, tmp_path: Path) -> None:
    path = tmp_path / "prod.sock"
    path.touch()
    row = "exit 1" if ss is None else f"cat <<'ROW'\n{ss.format(path, path.stat().st_ino)}\n <->\nROW"
    script = f"SOCKET_DIR={tmp_path}\nss() {{\n{row}\n}}\n{LISTENER_PIDS}\nlistener_pids {path}"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (rc, said)


def test_only_what_is_dead_and_ours_is_dead() -> None:
    seen = parse(sockets, ANSWER)
    assert [name for name, entry in seen.entries.items() if seen.is_dead(entry)] == ["old.sock", "gone"]


def test_rows_that_are_no_listener() -> None:
    assert parse_listener("Netid State  Recv-Q Send-Q Local Address:Port Peer Address:PortProcess") is None
    assert parse_listener("u_str ESTAB  0      0      /srv/apps/hkn/prod.sock 9 * 10 <-> ino:5") is None
    assert parse_listener("u_str LISTEN 0 128 /srv/apps/hkn/x 1 * 0") is not None


@pytest.mark.parametrize(
    ("out", "err", "rc"),
    [
        ("", "/srv/apps/hkn is not there", 1),
        ("", "ss is not installed", 69),
        ("uid=5000\nentry=/srv/apps/hkn/a\tb\n[listeners]\n", "", 0),
        ("uid=\n", "", 0),
    ],
)
def test_sockets_that_could_not_be_read(out: str, err: str, rc: int) -> None:
    with pytest.raises(Unobservable):
        parse(sockets, out, err, rc)


def test_upstream() -> None:
    seen = parse(upstream, "path=/srv/apps/hkn/hkn.sock\nchosen=/srv/apps/hkn/hkn.sock\n")
    assert (seen.paths, seen.chosen) == (("/srv/apps/hkn/hkn.sock",), "/srv/apps/hkn/hkn.sock")
    with pytest.raises(Unobservable, match="leaves the socket to be discovered"):
        parse(upstream, "unreadable\nchosen=\n")
    told = inventory(web={"socket": "/srv/apps/hkn/prod.sock"})
    assert parse(upstream, "unreadable\nchosen=/srv/apps/hkn/prod.sock\n", inv=told).paths == ()


def test_pid_file() -> None:
    assert parse(unicorn_pid_file, "exists=yes\ntext=234 \n").pid == 234
    empty = parse(unicorn_pid_file, "exists=yes\ntext= \nold_exists=yes\nold=17 \nold_alive=yes\n")
    assert (empty.exists, empty.pid, empty.old_text, empty.old_is_alive) == (True, None, "17", True)
    assert not parse(unicorn_pid_file, "path=/x\n").exists
    assert parse(unicorn_pid_file, "exists=yes\ntext=²\n").pid is None, "a digit to Python, and no number"
