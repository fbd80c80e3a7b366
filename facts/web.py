"""What the site answers: over its socket, over HTTPS on the app host, from outside; and whether a search finds Solr."""

from __future__ import annotations

import shlex
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from requests import Request, Response, Session
from requests.adapters import HTTPAdapter
from requests.exceptions import (
    InvalidProxyURL,
    InvalidSchema,
    InvalidURL,
    ProxyError,
    RequestException,
    SSLError,
)
from urllib3.exceptions import HTTPError

from converge.errors import Unobservable
from converge.readings import Context, Raw, local_reading, reading
from facts.host.processes import ABOUT, Process, processes
from facts.parsing import every, observed, pairs
from facts.sockets import LISTENER_PIDS
from hosts.schema import Url
from hosts.tool import NAME

AGENT = NAME
CONNECT, READ = 5.0, 10.0
"""Seconds that a public address may take to be connected to, and between two parts of its answer."""
LIMIT = 45.0
"""Seconds that all of them may take together, however steadily one goes on answering."""
MOST, CHUNK = 1 << 20, 1 << 16
"""Bytes of an answer at most, and at a time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to one request; `status` is 0 where there was none, `problem` then says why.

    With `unasked` nothing is known of the site: it says why this machine could not ask.
    """

    asked: str
    status: int
    says: bool
    problem: str
    unasked: str = ""

    @property
    def text(self) -> str:
        """What is shown to people."""
        if self.problem:
            return f"{self.asked}: {self.problem}"
        return f"{self.asked}: {self.status}{'' if self.says else ', without the expected text'}"

    def settle(self) -> None:
        """Make sure that the site was asked.

        Raises:
            Unobservable: it was not.
        """
        if self.unasked:
            raise Unobservable(f"control: {self.asked} could not be asked: {self.unasked}")


@dataclass(frozen=True, slots=True)
class Site:
    """The site from the app host itself: through the socket, and through the web server on loopback."""

    socket: Answer
    local: tuple[Answer, ...]


_ASK = r"""
ask() { # NAME EXPECTED CURL-ARGUMENTS...
  name=$1; expected=$2; shift 2
  body=$(curl -sS -m 10 -A "$AGENT" -w '\n%{http_code}' "$@" 2>&1); rc=$?
  code=$(printf '%s' "$body" | tail -n 1)
  says=no; if printf '%s' "$body" | grep -qF -e "$expected"; then says=yes; fi
  why=; if [ $rc -ne 0 ]; then why=$(printf '%s' "$body" | grep -m 1 '^curl:' || echo "curl ended with $rc"); code=0; fi
  printf 'answer=%s\t%s\t%s\t%s\n' "$name" "$code" "$says" "$why"
}
"""


def _site_script(c: Context) -> str:
    web = c.inv.web
    over_socket = f'--unix-socket "$(upstream)" -H "Host: $SERVER_NAME" {shlex.quote("http://localhost" + web.probe_path)}'
    asked = [ABOUT, "need curl", f"AGENT={AGENT}", _ASK, f"ask 'the socket' '' {over_socket}"]
    for url in web.urls:
        parts = urlsplit(url.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        pin = shlex.quote(f"{parts.hostname}:{port}:127.0.0.1")
        where = shlex.quote(url.url)
        asked.append(f"ask {where} {shlex.quote(url.expect)} -k --resolve {pin} {where}")
    return "\n".join(asked)


def _answer(text: str, at: str) -> Answer:
    parts = text.split("\t")
    if len(parts) != 4 or not parts[1].isdigit():
        raise Unobservable(f"{at}: an answer of the site is described as {text!r}")
    return Answer(parts[0], int(parts[1]), parts[2] == "yes", parts[3])


@reading(_site_script, limit=45.0)
def site(raw: Raw, c: Context) -> Site:
    """The site's answers over the web server's socket and over the web server on loopback."""
    answers = [_answer(text, c.at) for text in every(observed(raw, c.at).lines, "answer")]
    if not answers:
        raise Unobservable(f"{c.at}: the site was not asked")
    return Site(answers[0], tuple(answers[1:]))


@local_reading(limit=LIMIT)
def public_site(c: Context) -> tuple[Answer, ...]:
    """The public addresses as the control machine sees them, TLS verified."""
    return fetch_all(c.inv.web.urls, c.inv.web.resolve, c.inv.web.ca_file)


def fetch_all(
    urls: Sequence[Url], resolve: Mapping[str, str], ca_file: str | None, limit: float = LIMIT
) -> tuple[Answer, ...]:
    """Ask public addresses at the same time, for at most `limit` seconds and ``MOST`` bytes each.

    A name in `resolve` is connected to that address, with its own name in TLS and Host, and never
    through a proxy. No address is sent a password that does not stand in it.
    """
    end = time.monotonic() + limit

    def begin(url: Url) -> Future[Answer]:
        answer: Future[Answer] = Future()

        def ask() -> None:
            try:
                answer.set_result(_fetch(url, resolve, ca_file, end))
            except Exception as problem:  # told to who waits, not to this thread
                answer.set_exception(problem)

        # A daemon: a server that sends its headers byte by byte keeps the thread for ever,
        # and the process must end all the same.
        threading.Thread(target=ask, daemon=True).start()
        return answer

    def wait(url: Url, answer: Future[Answer]) -> Answer:
        try:
            return answer.result(max(0.0, end - time.monotonic()))
        except TimeoutError:
            return Answer(url.url, 0, False, f"no whole answer within {limit:g} s")

    begun = [begin(url) for url in urls]
    return tuple(map(wait, urls, begun))


class _Pinned(HTTPAdapter):
    """Connects to an address, with the site's name in TLS."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:
        """The address to connect to, and the name to ask a certificate for."""
        host, pool = super().build_connection_pool_key_attributes(*args, **kwargs)
        name = host["host"]
        tls = {"server_hostname": name, "assert_hostname": name} if host["scheme"] == "https" else {}
        return {**host, "host": self._address}, {**pool, **tls}


def _fetch(url: Url, resolve: Mapping[str, str], ca_file: str | None, end: float) -> Answer:
    parts = urlsplit(url.url)
    name = parts.hostname or ""
    authorities: str | bool = ca_file or True
    try:
        # Not by a session: it would send the password that ~/.netrc has for the site. Nor does an
        # adapter read what a redirection says, without end, to find where it leads.
        headers = {"User-Agent": AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
        request = Request("GET", url.url, headers=headers).prepare()
        address = str(request.url)
        with Session() as session:
            way: dict[str, Any] = {
                **session.merge_environment_settings(address, {}, True, authorities, None)
            }
            authorities = way["verify"]
            if name in resolve:
                # A proxy would look the name up by itself.
                way["proxies"] = {}
                request.headers["Host"] = urlsplit(address).netloc.rpartition("@")[2]
                session.mount(f"{parts.scheme}://", _Pinned(resolve[name]))
            adapter = session.get_adapter(address)
            with adapter.send(request, timeout=(CONNECT, READ), **way) as got:
                return _judged(url, got, end)
    except TimeoutError:  # the time for all is over
        raise
    except (RequestException, HTTPError) as problem:
        if why := _fault_here(problem, name, authorities):
            return Answer(url.url, 0, False, "", why)
        return Answer(url.url, 0, False, _fault_there(problem))
    except (OSError, ValueError) as problem:  # authorities that are not there, a name that is none
        return Answer(url.url, 0, False, "", str(problem))


def _fault_here(problem: Exception, name: str, authorities: str | bool) -> str:
    """Why this machine could not ask; empty where the site is to blame."""
    said = repr(problem)
    if isinstance(problem, (ProxyError, InvalidProxyURL, InvalidSchema)) or "SOCKS" in said:
        return f"the proxy that this machine's environment names is of no use: {problem}"
    if isinstance(problem, InvalidURL):
        return str(problem)
    if "NameResolutionError" in said:
        return f"{name} could not be resolved: is this machine online?"
    if isinstance(problem, SSLError) and isinstance(authorities, str):
        try:
            if Path(authorities).is_dir():
                ssl.create_default_context(capath=authorities)
            else:
                ssl.create_default_context(cafile=authorities)
        except OSError as trouble:
            return f"{authorities} has no certificates of authorities: {trouble}"
    return ""


def _fault_there(problem: Exception) -> str:
    """Why the site did not answer."""
    if not isinstance(problem, SSLError):
        return f"{type(problem).__name__}: {problem}"
    # Both that of ssl and that of urllib3 have this in their names.
    refused = "CertVerificationError" in repr(problem) or "CertificateError" in repr(problem)
    return f"{'its certificate is not accepted' if refused else 'no TLS with it'}: {problem}"


def _judged(url: Url, got: Response, end: float) -> Answer:
    body = bytearray()
    while part := got.raw.read1(CHUNK, decode_content=True):
        body += part
        if len(body) > MOST:
            return Answer(url.url, 0, False, f"its answer is longer than {MOST >> 20} MiB")
        if time.monotonic() > end:
            raise TimeoutError
    # Without a charset the library takes text for Latin-1.
    charset = got.encoding if "charset" in got.headers.get("Content-Type", "") else None
    return Answer(url.url, got.status_code, url.expect in _decoded(body, charset or "utf-8"), "")


def _decoded(body: bytearray, charset: str) -> str:
    """An answer's text; as UTF-8 where its charset is none."""
    try:
        return body.decode(charset, "replace")
    except (LookupError, ValueError):
        return body.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Serving:
    """Who answers: processes behind the web server's socket, and the release that should."""

    path: str
    current: str
    revision: str
    newest: str
    owners: tuple[Process, ...]


@reading(
    ABOUT
    + LISTENER_PIDS
    + r"""
need ss
p=$(upstream)
echo "path=$p"
echo "current=$(readlink -f "$CURRENT")"
echo "revision=$(head -c 64 "$CURRENT/REVISION" 2>/dev/null)"
echo "newest=$(cd "$STAGE/releases" 2>/dev/null && ls -d [0-9]* 2>/dev/null | sort | tail -n 1)"
pids=$(listener_pids "$p") || exit
for q in $pids; do about "$q"; done
"""
)
def serving(raw: Raw, c: Context) -> Serving:
    """The processes that answer on the web server's socket, beside the release that is current."""
    lines = observed(raw, c.at).lines
    said = pairs([line for line in lines if not line.startswith("process=")])
    return Serving(
        said.get("path", ""), said.get("current", ""), said.get("revision", ""), said.get("newest", ""),
        processes(lines, c.at),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Search:
    """One search asked of the running application, and how often it logged meanwhile that it did without Solr."""

    asked: str
    status: int
    fallbacks: int
    problem: str
    log: str


@reading(
    lambda c: f"""
command -v curl >/dev/null || {{ echo "curl is not installed" >&2; exit 69; }}
log="$SHARED/log/production.log"
[ -r "$log" ] || {{ echo "$log cannot be read" >&2; exit 1; }}
size=$(stat -Lc %s "$log")
code=$(curl -sS -m 20 -A {AGENT} -o /dev/null -w '%{{http_code}}' --unix-socket "$(upstream)" -H "Host: $SERVER_NAME" \\
  {shlex.quote("http://localhost" + c.inv.web.search_path)} 2>&1)
sleep 0.3
echo "code=$code"
echo "fallbacks=$(tail -c "+$((size + 1))" "$log" | grep -cF -e {shlex.quote(c.inv.solr.fallback_log)})"
""",
    limit=30.0,
)
def search(raw: Raw, c: Context) -> Search:
    """A search through the application, with what it wrote to its log meanwhile."""
    said = pairs(observed(raw, c.at).lines)
    code = said.get("code", "")[-3:]
    status = int(code) if code.isdigit() else 0
    return Search(
        c.inv.web.search_path,
        status,
        int(said.get("fallbacks") or 0),
        "" if status else said.get("code", "no answer"),
        f"{c.inv.shared}/log/production.log",
    )
