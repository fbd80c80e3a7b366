"""What looks like a secret is masked; what merely resembles one stays readable."""

from __future__ import annotations

import time

import pytest

from converge.readings import Evidence
from converge.text.masking import MASK, mask, masked

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\nAAAABG5vbmU=\n-----END OPENSSH PRIVATE KEY-----"

SECRETS = [
    ("password=hunter2", "hunter2"),
    ("DB_PASSWORD='hunter 2'", "hunter 2"),
    ('"password": "hunter2"', "hunter2"),
    ("  password: hunter2", "hunter2"),
    (":password => 'hunter2'", "hunter2"),
    ("secret_key_base: 0123abc", "0123abc"),
    ("SECRET_KEY_BASE=0123abc rake x", "0123abc"),
    ("api_key=abc&user=me", "abc"),
    ("AUTH_TOKEN=abcdef", "abcdef"),
    ("mysqldump --password hunter2 hkn", "hunter2"),
    ("mysql://hkn:hunter2@mysql/hkn", "hunter2"),
    ("git clone https://x-access-token:abcd@example.org/r.git", "abcd"),
    ("Authorization: Basic aGtuOmh1bnRlcjI=", "aGtu"),
    ("Set-Cookie: _session=abc; path=/", "abc"),
    ("curl -H 'Authorization: Bearer abcdefgh12345'", "abcdefgh"),
    (KEY, "b3BlbnNz"),
    (KEY[: KEY.index("AAAABG")], "b3BlbnNz"),
    (KEY[: KEY.index("AAAABG")] + "-----BEGIN CERTIFICATE-----\nMIIB\n", "b3BlbnNz"),
    ("key ghp_0123456789abcdefghij0123456789abcdef", "ghp_0123"),
    ("AKIAABCDEFGHIJKLMNOP", "ABCDEFGH"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "eyJzdWIi"),
    ("f" * 128, "ffff"),
]

HARMLESS = [
    "config/secrets.yml: 600",
    "/home/h/hk/hkn/hkn-rails/prod/shared/config/secrets.yml is not readable by others",
    "PasswordAuthentication no",
    "passwd -l hkn",
    "https://example.org:8443/path?a=b",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "user@host:/srv/apps",
    "u_str LISTEN 0 1024 /srv/apps/hkn/prod.sock 4711 * 0",
    "the token ends the record",
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_a_secret_is_masked(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in mask(text)
    assert MASK in mask(text)


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_masking_twice_changes_nothing_more(text: str, secret: str) -> None:
    assert mask(mask(text)) == mask(text), secret


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask(text) == text


def test_what_stands_around_a_secret_stays() -> None:
    assert mask("a\npassword: x1\nb") == f"a\npassword: {MASK}\nb"
    assert mask("mysql://hkn:x1@db/hkn?a=1") == f"mysql://{MASK}@db/hkn?a=1"


@pytest.mark.parametrize("unit", ["password", "a://", "-----BEGIN PRIVATE KEY-----", "token = ", "=", "a:b@", "eyJ"])
def test_hostile_text_takes_no_long_time(unit: str) -> None:
    started = time.perf_counter()
    mask(unit * (200_000 // len(unit)))
    assert time.perf_counter() - started < 2


def test_a_record_is_masked_all_through() -> None:
    evidence = Evidence("r", "h", "cat x", 0, "password=abc", "", 0.1)
    assert masked([evidence])[0].out == f"password={MASK}"
    assert masked({"a": ("token=abc", 1, None)}) == {"a": (f"token={MASK}", 1, None)}
