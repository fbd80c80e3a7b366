"""What the site answers: over its socket, over HTTPS on the app host, from outside; and whether a search finds Solr."""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from converge.errors import Unobservable
from converge.readings import Context, Raw, local_reading, reading
from facts.host.processes import ABOUT, Process, processes
from facts.parsing import every, observed, pairs
from facts.sockets import LISTENER_PIDS
from hosts.schema import Url
from hosts.tool import NAME

if TYPE_CHECKING:
    import ssl

AGENT = NAME
CONNECT, READ = 5.0, 10.0
"""Seconds that a public address may take to be connected to, and between two parts of its answer."""
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
"""Variables that send what is asked through a proxy: a library that knows all their rules asks then."""
WRITTEN_AS_IT_IS = "!#$%&'()*+,/:;=?@[]~"
"""What of a URL is not written in hexadecimal, as it is already or means something there."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to one request; `status` is 0 where there was none, `problem` then says why."""

    asked: str
    status: int
    says: bool
    problem: str

    @property
    def text(self) -> str:
        """What is shown to people."""
        if self.problem:
            return f"{self.asked}: {self.problem}"
        return f"{self.asked}: {self.status}{'' if self.says else ', without the expected text'}"


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


@local_reading(limit=45.0)
def public_site(c: Context) -> tuple[Answer, ...]:
    """The public addresses as the control machine sees them, TLS verified."""
    return tuple(fetch(url, c.inv.web.resolve, c.inv.web.ca_file) for url in c.inv.web.urls)


def fetch(url: Url, resolve: Mapping[str, str], ca_file: str | None) -> Answer:
    """Ask one public address; a name in `resolve` is connected to that address, with its own name in TLS and Host.

    Raises:
        Unobservable: the name could not be resolved here.
    """
    name = urlsplit(url.url).hostname or ""
    if name not in resolve and any(os.environ.get(each) or os.environ.get(each.upper()) for each in PROXIES):
        return _fetch_by_proxy(url, ca_file)
    return _fetch(url, resolve.get(name, name), ca_file)


def _fetch(url: Url, address: str, ca_file: str | None) -> Answer:
    # Not with requests: its import takes a tenth of a second of the processor, while keys are exchanged with the hosts.
    import http.client
    import ssl

    from converge.probe.worker import Direct, Road

    parts = urlsplit(url.url)
    secure, name = parts.scheme == "https", parts.hostname or ""
    headers = {"Host": parts.netloc.rpartition("@")[2], "User-Agent": AGENT, "Accept": "*/*"}
    target = quote(f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", safe=WRITTEN_AS_IT_IS)
    # Before anything is asked: authorities that cannot be read say nothing about the site.
    trusted = _trusted(ca_file) if secure else None
    try:
        way = Road(parts.scheme, address, parts.port or (443 if secure else 80), name)
        with closing(Direct(way, trusted, CONNECT)) as connection:
            connection.connect()
            connection.sock.settimeout(READ)
            connection.request("GET", target, headers=headers)
            got = connection.getresponse()
            text = got.read().decode(got.headers.get_content_charset("utf-8"), "replace")
    except ssl.SSLError as problem:
        return Answer(url.url, 0, False, f"its certificate is not accepted: {problem}")
    except socket.gaierror:
        raise _unresolved(name) from None
    except (OSError, http.client.HTTPException, ValueError, LookupError) as problem:
        return Answer(url.url, 0, False, f"{type(problem).__name__}: {problem}")
    return Answer(url.url, got.status, url.expect in text, "")


def _trusted(ca_file: str | None) -> ssl.SSLContext:
    """The authorities that are named, else those of the variables that requests knows, else Mozilla's."""
    import ssl

    import certifi

    place = ca_file or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or certifi.where()
    folder = Path(place).is_dir()
    return ssl.create_default_context(cafile=None if folder else place, capath=place if folder else None)


def _fetch_by_proxy(url: Url, ca_file: str | None) -> Answer:
    import requests

    try:
        with requests.Session() as session:
            session.headers["User-Agent"] = AGENT
            got = session.get(url.url, timeout=(CONNECT, READ), verify=ca_file or True, allow_redirects=False)
    except requests.exceptions.SSLError as problem:
        return Answer(url.url, 0, False, f"its certificate is not accepted: {problem}")
    except requests.exceptions.RequestException as problem:
        if "NameResolutionError" in repr(problem):
            raise _unresolved(urlsplit(url.url).hostname or "") from None
        return Answer(url.url, 0, False, f"{type(problem).__name__}: {problem}")
    return Answer(url.url, got.status_code, url.expect in got.text, "")


def _unresolved(name: str) -> Unobservable:
    return Unobservable(f"control: {name} could not be resolved: is this machine online?")


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
