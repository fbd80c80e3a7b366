"""The site's answers: recorded ones of the hosts, and public ones of a server that the test starts."""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

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
        body = f"host={self.headers['Host']} path={self.path} käse".encode()
        self.send_response(302 if self.path == "/moved" else 200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Location", "/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@contextmanager
def serving_on_loopback(context: ssl.SSLContext | None = None) -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), _Site)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def port() -> Iterator[int]:
    """A web server on loopback."""
    with serving_on_loopback() as port:
        yield port


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine that tests has set."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


HERE = {"site.invalid": "127.0.0.1", "other.invalid": "127.0.0.1"}


def test_a_name_that_is_not_asked_of_dns_keeps_its_host(port: int) -> None:
    url = Url(url=f"http://site.invalid:{port}/", expect=f"host=site.invalid:{port}")
    seen = fetch(url, {"site.invalid": "127.0.0.1"}, None)
    assert (seen.status, seen.says, seen.problem) == (200, True, "")


def test_an_address_is_asked_as_it_was_written(port: int) -> None:
    for path, asked in (("", "/"), ("/a%20b?c=d%26e&f", "/a%20b?c=d%26e&f"), ("/a b/é", "/a%20b/%C3%A9"), ("?q", "/?q")):
        seen = fetch(Url(url=f"http://site.invalid:{port}{path}", expect=f"path={asked} käse"), HERE, None)
        assert seen.says, path


def test_a_redirection_is_the_answer(port: int) -> None:
    assert fetch(Url(url=f"http://site.invalid:{port}/moved", expect=""), HERE, None).status == 302


def test_an_address_that_refuses_is_an_answer() -> None:
    seen = fetch(Url(url="http://site.invalid:1/", expect="x"), {"site.invalid": "127.0.0.1"}, None)
    assert (seen.status, seen.says) == (0, False)
    assert "refused" in seen.problem


def test_a_name_that_nobody_knows_says_nothing_about_the_site() -> None:
    with pytest.raises(Unobservable, match=r"site\.invalid could not be resolved: is this machine online"):
        fetch(Url(url="http://site.invalid/", expect="x"), {}, None)


def test_tls_of_a_plain_server_is_a_failure_that_is_named(port: int) -> None:
    seen = fetch(Url(url=f"https://site.invalid:{port}/", expect="x"), {"site.invalid": "127.0.0.1"}, None)
    assert seen.status == 0
    assert seen.problem


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A certificate for site.invalid, which is its own authority; its key is beside it."""
    made = tmp_path / "ca.pem"
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"]
    names = ["-addext", "subjectAltName=DNS:site.invalid", "-keyout", str(tmp_path / "key.pem"), "-out", str(made)]
    subprocess.run(["openssl", *words, *names], check=True, capture_output=True)
    return made


def test_tls_is_judged_by_the_authority_and_by_the_name(authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, named = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), list[str | None]()
    context.load_cert_chain(authority, authority.with_name("key.pem"))
    context.sni_callback = lambda _socket, name, _context: named.append(name)
    with serving_on_loopback(context) as port:
        url = Url(url=f"https://site.invalid:{port}/", expect="host=site.invalid")
        good = fetch(url, HERE, str(authority))
        assert (good.status, good.says, good.problem, named) == (200, True, "", ["site.invalid"])
        stranger = fetch(url, HERE, None)
        assert stranger.problem.startswith("its certificate is not accepted: ")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
        assert fetch(url, HERE, None).says
        other = fetch(Url(url=f"https://other.invalid:{port}/", expect=""), HERE, str(authority))
        assert other.status == 0
        assert other.problem.startswith("its certificate is not accepted: ")
        assert "other.invalid" in other.problem


def test_an_authority_that_is_not_there_says_nothing_about_the_site(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fetch(Url(url="https://site.invalid:1/", expect="x"), HERE, str(tmp_path / "none.pem"))


@pytest.mark.parametrize(("proxy", "name", "uses"), [("", "localhost", 0), ("x", "site.invalid", 0), ("x", "a.invalid", 1)])
def test_only_where_a_proxy_is_set_a_library_is_needed_that_knows_proxies(
    port: int, monkeypatch: pytest.MonkeyPatch, proxy: str, name: str, uses: int
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy and f"http://127.0.0.1:{port}")
    monkeypatch.delitem(sys.modules, "requests", raising=False)
    seen = fetch(Url(url=f"http://{name}:{port}/", expect=f"host={name}:{port}"), HERE, None)
    assert (seen.status, seen.says) == (200, True)
    assert ("requests" in sys.modules) == bool(uses)
