"""The site's answers: recorded ones of the hosts, and public ones of a server that the test starts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from converge.errors import Unobservable
from facts.logs import open_logs
from facts.web import fetch, search, serving, site
from hosts.schema import Url
from tests.targets import parse


def test_site() -> None:
    out = "answer=the socket\t200\tyes\t\nanswer=https://a/\t0\tno\tcurl: (7) Failed to connect\nanswer=https://b/\t502\tno\t\n"
    seen = parse(site, out)
    assert (seen.socket.status, seen.socket.text) == (200, "the socket: 200")
    texts = [answer.text for answer in seen.local]
    assert texts == ["https://a/: curl: (7) Failed to connect", "https://b/: 502, without the expected text"]


@pytest.mark.parametrize(
    ("out", "err", "rc"),
    [("", "curl is not installed", 69), ("", "", 0), ("answer=a\tb\n", "", 0), ("answer=a\tx\tyes\t\n", "", 0)],
)
def test_a_site_that_was_not_asked(out: str, err: str, rc: int) -> None:
    with pytest.raises(Unobservable):
        parse(site, out, err, rc)


def test_search() -> None:
    assert (parse(search, "code=200\nfallbacks=2\n").status, parse(search, "code=200\nfallbacks=2\n").fallbacks) == (200, 2)
    dead = parse(search, "code=curl: (7) Couldn't connect to server\nfallbacks=0\n")
    assert (dead.status, "connect" in dead.problem) == (0, True)
    refused = parse(search, "code=curl: (7) Couldn't connect\n000\nfallbacks=0\n")
    assert refused.status == 0
    with pytest.raises(Unobservable, match="cannot be read"):
        parse(search, "", "/x/log/production.log cannot be read", 1)


def test_serving() -> None:
    process = "process=7\t1\t9.0\t/a/b.service\t/r/1\t/x\tunicorn = master\n"
    seen = parse(serving, f"path=/s\ncurrent=/r/2\nrevision=abc\nnewest=2\n{process}")
    assert (seen.path, seen.current) == ("/s", "/r/2")
    assert [(p.cwd, p.unit) for p in seen.owners] == [("/r/1", "b.service")]


def test_stale_logs() -> None:
    process = "process=7\t1\t9.0\t/a/b.service\t/r/1\t/x\tunicorn master\n"
    logs = "log=/l/a.log\nlog=/l/b.log.1\nlog=/l/c.log (deleted)\nlog=/l/.nfs01\n"
    assert parse(open_logs, process + logs).stale == ("/l/b.log.1", "/l/c.log (deleted)", "/l/.nfs01")
    assert parse(open_logs, "").main is None


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"host={self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def port() -> Iterator[int]:
    """A web server on loopback."""
    server = HTTPServer(("127.0.0.1", 0), _Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_a_name_that_is_not_asked_of_dns_keeps_its_host(port: int) -> None:
    url = Url(url=f"http://site.invalid:{port}/", expect=f"host=site.invalid:{port}")
    seen = fetch(url, {"site.invalid": "127.0.0.1"}, None)
    assert (seen.status, seen.says, seen.problem) == (200, True, "")


def test_an_address_that_refuses_is_an_answer() -> None:
    seen = fetch(Url(url="http://site.invalid:1/", expect="x"), {"site.invalid": "127.0.0.1"}, None)
    assert (seen.status, seen.says) == (0, False)
    assert "refused" in seen.problem


def test_tls_of_a_plain_server_is_a_failure_that_is_named(port: int) -> None:
    seen = fetch(Url(url=f"https://site.invalid:{port}/", expect="x"), {"site.invalid": "127.0.0.1"}, None)
    assert seen.status == 0
    assert seen.problem
