"""Which host keys are known: OpenSSH's known_hosts files (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT), read and never written."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

Standing = Literal["known", "unknown", "changed", "revoked"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: whom it speaks of, the key's type and bytes, and where it stands."""

    patterns: str
    kind: str
    key: bytes
    revoked: bool
    where: str

    def names(self, name: str) -> bool:
        """Whether the line speaks of `name` (``host``, or ``[host]:port`` for another port than 22)."""
        if self.patterns.startswith("|1|"):  # a hashed name stands alone
            return _hashed(self.patterns, name)
        patterns = self.patterns.lower().split(",")
        if any(p.startswith("!") and fnmatchcase(name, _literal(p[1:])) for p in patterns):
            return False
        return any(fnmatchcase(name, _literal(p)) for p in patterns)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the files say of a key that a host has shown; `entry` is the line that decided, if one did."""

    standing: Standing
    entry: Entry | None = None


def key_name(host: str, port: int) -> str:
    """The name under which OpenSSH files a host's key."""
    return host if port == 22 else f"[{host}]:{port}"


def fingerprint(key: bytes) -> str:
    """A key's fingerprint as ssh-keygen shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def parse(text: str, source: str) -> Iterator[Entry]:
    """The entries of a file's text; lines that are not keys (and certificate authorities, unused here) are left out."""
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#") or marker not in {"", "@revoked"}:
            continue
        try:
            key = base64.b64decode(fields[2], validate=True)
        except binascii.Error:
            continue
        yield Entry(fields[0], fields[1], key, bool(marker), f"{source} line {number}")


def read(files: Iterable[Path]) -> list[Entry]:
    """The entries of those files that exist and can be read."""
    entries: list[Entry] = []
    for file in files:
        try:
            entries += parse(file.read_text(errors="replace"), str(file))
        except OSError:
            continue
    return entries


def judge(entries: Iterable[Entry], name: str, kind: str, key: bytes) -> Judgement:
    """Whether a host may be trusted that shows `key` under `name`; only ``known`` is a yes."""
    mine = [e for e in entries if e.names(name.lower())]
    same = [e for e in mine if e.key == key]
    if revoked := next((e for e in same if e.revoked), None):
        return Judgement("revoked", revoked)
    if same:
        return Judgement("known", same[0])
    if other := next((e for e in mine if e.kind == kind and not e.revoked), None):
        return Judgement("changed", other)
    return Judgement("unknown", next((e for e in mine if not e.revoked), None))


def kinds(entries: Iterable[Entry], name: str) -> list[str]:
    """Types of the keys that are known for a host, so that it can be asked to show one of these."""
    return list(dict.fromkeys(e.kind for e in entries if e.names(name.lower()) and not e.revoked))


def _literal(pattern: str) -> str:
    # Only * and ? are wildcards there; the brackets of [host]:port are meant literally.
    return pattern.replace("[", "[[]")


def _hashed(pattern: str, name: str) -> bool:
    parts = pattern.split("|")
    if len(parts) != 4:
        return False
    try:
        salt, expected = base64.b64decode(parts[2]), base64.b64decode(parts[3])
    except binascii.Error:
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), "sha1").digest(), expected)
