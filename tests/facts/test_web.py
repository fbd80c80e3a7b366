"""The site's answers: recorded ones of the hosts, and public ones of a server that the test starts."""

from __future__ import annotations

import gzip
import itertools
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from converge.errors import Unobservable
from facts.logs import open_logs
from facts.web import MOST, Answer, fetch_all, search, serving, site
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


def fetch(url: Url, resolve: Mapping[str, str], ca_file: str | None = None, limit: float = 10.0) -> Answer:
    """One address, as it is asked among others."""
    (seen,) = fetch_all([url], resolve, ca_file, limit)
    return seen


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
        fetch(Url(url="http://site.invalid/", expect="x"), {}, None).settle()


def test_no_password_of_this_machine_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine site.invalid login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with answering(lambda: iter([HEAD + b"\r\nexpected"])) as (port, asked):
        assert fetch(Url(url=f"http://site.invalid:{port}/", expect="expected"), HERE).says
    assert b"authorization" not in asked[0].lower()


def test_a_proxy_that_is_of_no_use_says_nothing_about_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    for proxy in ("socks5://127.0.0.1:1", "http://nobody.invalid:3128"):
        monkeypatch.setenv("http_proxy", proxy)
        seen = fetch(Url(url="http://site.example/", expect="x"), {}, None)
        assert "proxy" in seen.unasked


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
    with pytest.raises(Unobservable, match="CA certificate bundle"):
        fetch(Url(url="https://site.invalid:1/", expect="x"), HERE, str(tmp_path / "none.pem")).settle()


@pytest.mark.parametrize(("name", "asked"), [("localhost", 0), ("site.invalid", 0), ("a.invalid", 1)])
def test_a_proxy_of_the_environment_is_used_but_for_pinned_names_and_those_without(
    port: int, monkeypatch: pytest.MonkeyPatch, name: str, asked: int
) -> None:
    with serving_on_loopback() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy}")
        monkeypatch.setenv("NO_PROXY", "localhost")
        where = f"http://{name}:{port}/"
        # Whom a proxy is asked for is in the first line of the request.
        seen = fetch(Url(url=where, expect=f"host={name}:{port} path={where if asked else '/'} "), HERE)
        assert (seen.status, seen.says) == (200, True)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
DROP = 0.05


def drops(before: bytes, drop: bytes) -> Iterator[bytes]:
    """An answer that never ends and never pauses for long."""
    yield before
    while True:
        time.sleep(DROP)
        yield drop


@contextmanager
def answering(answer: Callable[[], Iterator[bytes]]) -> Iterator[tuple[int, list[bytes]]]:
    """A server that answers whoever asks with these bytes, and closes; its port, and the requests that came."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    peer, _ = server.accept()
                    with peer, suppress(OSError):
                        asked.append(peer.recv(65536))
                        for part in answer():
                            peer.sendall(part)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1], asked
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda: drops(HEAD + b"\r\n", b"x"), "no whole answer within 0.6 s"),
        (lambda: drops(b"", b"H"), "no whole answer within 0.6 s"),
        (lambda: drops(HEAD, b"X-More: x\r\n"), "no whole answer within 0.6 s"),
        (lambda: drops(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "no whole answer within 0.6 s"),
        (lambda: itertools.chain([HEAD], itertools.repeat(b"X-More: x\r\n" * 1000)), "got more than 100 headers"),
        (lambda: itertools.chain([HEAD, b"X-More: "], itertools.repeat(b"x" * 65536)), "got more than 65536 bytes"),
        (lambda: itertools.chain([HEAD + b"\r\n"], itertools.repeat(b"expected" * 8192)), "longer than 1 MiB"),
        (lambda: iter([HEAD + b"Content-Length: 9\r\n\r\nexp"]), "IncompleteRead"),
        (lambda: iter([HEAD + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(bytes(10 * MOST))]), "longer than 1 MiB"),
        (lambda: iter([HEAD + b"Content-Encoding: gzip\r\n\r\nno gzip"]), "failed to decode"),
        (lambda: iter([b"no such protocol\r\n\r\n"]), "no such protocol"),
        (lambda: iter([]), "Connection aborted"),
    ],
)  # fmt: skip
def test_a_server_that_answers_without_end_or_sense_costs_little_and_is_an_answer(
    answer: Callable[[], Iterator[bytes]], why: str
) -> None:
    with answering(answer) as (port, _):
        began = time.monotonic()
        seen = fetch(Url(url=f"http://site.invalid:{port}/", expect="expected"), HERE, limit=0.6 if "0.6" in why else 10)
        assert time.monotonic() - began < 5
    assert (seen.status, seen.says) == (0, False)
    assert why in seen.problem


def test_a_redirection_to_itself_is_asked_once() -> None:
    with answering(lambda: iter([b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"])) as (port, asked):
        assert fetch(Url(url=f"http://site.invalid:{port}/", expect=""), HERE).status == 302
        assert len(asked) == 1


def test_one_that_never_ends_holds_up_no_other(port: int) -> None:
    with answering(lambda: drops(HEAD + b"\r\n", b"x")) as (slow, _):
        urls = [Url(url=f"http://site.invalid:{each}/", expect="") for each in (slow, port, slow)]
        began = time.monotonic()
        seen = fetch_all(urls, HERE, None, 0.6)
        assert time.monotonic() - began < 2
    assert [each.status for each in seen] == [0, 200, 0]
