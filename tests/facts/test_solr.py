"""Solr's listener, processes, PID file and core, from recorded answers."""

from __future__ import annotations

import pytest

from converge.errors import Unobservable
from facts.solr import parse_core, parse_port, solr
from tests.targets import parse

RELEASE = "/home/h/hk/hkn/hkn-rails/prod/releases/20261123221302"
SCOPE = "/user.slice/user-5000.slice/session-c3.scope"
COMMAND = f"/s/bin/java -Djetty.port=8983 -Dsolr.solr.home={RELEASE}/solr -jar start.jar"
JAVA = f"process=184\t500\t99.0\t{SCOPE}\t/s\t/s/java\t{COMMAND}"
SHELL = f"process=178\t499\t99.0\t{SCOPE}\t/s\t/usr/bin/bash\t/bin/bash /s/bin/solr start -f -p 8983"
CORE = (
    f'status={{"status":{{"production":{{"name":"production","instanceDir":"{RELEASE}/solr/production/"}}}}}}\n'
    'answer={"response":{"numFound":7,"start":0,"docs":[]}}\n'
)
ROW = 'LISTEN 0      50         127.0.0.1:8983      0.0.0.0:*    users:(("java",pid=184,fd=81))'


def answer(pid: str = "exists=yes\npid=178\n", ancestors: str = SHELL, row: str = ROW) -> str:
    """What the reading prints."""
    head = f"current={RELEASE}\n{pid}[listeners]\nState  Recv-Q Send-Q Local Address:Port\n{row}\n"
    return f"{head}[java]\n{JAVA}\n[ancestors]\n{ancestors}\n[owner]\n[core]\n{CORE}"


def test_solr_with_a_true_pid_file() -> None:
    seen = parse(solr, answer())
    assert seen.ours
    assert (seen.ours.pid, seen.home, seen.listeners[0].address) == (184, f"{RELEASE}/solr", "127.0.0.1")
    assert seen.pid_is_true
    assert seen.wrapper
    assert seen.wrapper.pid == 178
    assert seen.core
    assert (seen.core.found, seen.core.instance_dir) == (7, f"{RELEASE}/solr/production/")


@pytest.mark.parametrize("pid", ["exists=yes\npid=28731\n", "exists=yes\npid=\n", "exists=yes\npid=abc\n", ""])
def test_a_pid_file_that_is_not_true(pid: str) -> None:
    assert not parse(solr, answer(pid)).pid_is_true


def test_a_wrapper_that_died_leaves_java_itself_to_be_named() -> None:
    seen = parse(solr, answer("exists=yes\npid=184\n", ancestors=""))
    assert seen.wrapper is None
    assert seen.pid_is_true


def test_somebody_elses_solr_is_not_ours() -> None:
    seen = parse(solr, answer(row="LISTEN 0 50 *:8983 *:*"))
    assert (seen.ours, seen.home, seen.pid_is_true) == (None, "", False)
    assert seen.listeners[0].address == "*"


def test_address_of_an_ipv6_socket() -> None:
    row = parse_port('LISTEN 0 50 [::ffff:127.0.0.1]:8983 *:* users:(("java",pid=9,fd=1))')
    assert row
    assert (row.address, row.pids) == ("[::ffff:127.0.0.1]", (9,))


@pytest.mark.parametrize("status", ["", "<html>404</html>", '{"status":{}}', '{"status":{"production":{}}}', "[]"])
def test_a_core_that_does_not_answer(status: str) -> None:
    assert parse_core(status, "", "production") is None


def test_a_core_that_cannot_search() -> None:
    core = parse_core('{"status":{"production":{"instanceDir":"/x"}}}', '{"error":1}', "production")
    assert core
    assert core.found is None


@pytest.mark.parametrize(("out", "err", "rc"), [("", "pgrep is not installed", 69), ("current=/x\n", "", 0), ("", "", 0)])
def test_solr_that_could_not_be_read(out: str, err: str, rc: int) -> None:
    with pytest.raises(Unobservable):
        parse(solr, out, err, rc)
