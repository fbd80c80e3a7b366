"""Which keys are known: OpenSSH's file format, without a host."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from converge.transport.known_hosts import Standing, fingerprint, judge, key_name, kinds, parse, read
from tests.sshd import keygen

KEY, OTHER = base64.b64encode(b"one key").decode(), base64.b64encode(b"another").decode()


@pytest.mark.parametrize(
    ("text", "name", "standing"),
    [
        (f"vampires ssh-ed25519 {KEY} comment", "vampires", "known"),
        (f"VAMPIRES ssh-ed25519 {KEY}", "Vampires", "known"),
        (f"a,vampires,10.0.0.1 ssh-ed25519 {KEY}", "10.0.0.1", "known"),
        (f"*.ocf.example ssh-ed25519 {KEY}", "apphost.ocf.example", "known"),
        (f"*.ocf.example,!dev.ocf.example ssh-ed25519 {KEY}", "dev.ocf.example", "unknown"),
        (f"[vampires]:2222 ssh-ed25519 {KEY}", "[vampires]:2222", "known"),
        (f"[vampires]:2222 ssh-ed25519 {KEY}", "vampires", "unknown"),
        (f"[vampires]:2222 ssh-ed25519 {KEY}", "v:2222", "unknown"),
        (f"vampires ssh-ed25519 {OTHER}", "vampires", "changed"),
        (f"vampires ssh-rsa {OTHER}", "vampires", "unknown"),
        (f"vampires ssh-ed25519 {OTHER}\nvampires ssh-ed25519 {KEY}", "vampires", "known"),
        (f"vampires ssh-ed25519 {KEY}\n@revoked * ssh-ed25519 {KEY}", "vampires", "revoked"),
        (f"@cert-authority * ssh-ed25519 {KEY}", "vampires", "unknown"),
        (f"# vampires ssh-ed25519 {KEY}", "vampires", "unknown"),
        ("vampires ssh-ed25519 not+base64!", "vampires", "unknown"),
        ("", "vampires", "unknown"),
    ],
)
def test_judge(text: str, name: str, standing: Standing) -> None:
    assert judge(list(parse(text, "f")), name, "ssh-ed25519", b"one key").standing == standing


def test_the_line_that_decided_is_named() -> None:
    entries = list(parse(f"# mine\n\nvampires ssh-ed25519 {OTHER}", "known_hosts"))
    entry = judge(entries, "vampires", "ssh-ed25519", b"one key").entry
    assert entry is not None
    assert entry.where == "known_hosts line 3"


def test_names_hashed_by_openssh_are_found_and_fingerprints_are_its_own(tmp_path: Path) -> None:
    keygen(tmp_path / "key")
    kind, blob, *_ = (tmp_path / "key.pub").read_text().split()
    file = tmp_path / "known_hosts"
    file.write_text(f"vampires {kind} {blob}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert "vampires" not in file.read_text()
    entries, key = read([tmp_path / "absent", file]), base64.b64decode(blob)
    assert judge(entries, "vampires", kind, key).standing == "known"
    assert judge(entries, "werewolves", kind, key).standing == "unknown"
    assert kinds(entries, "vampires") == ["ssh-ed25519"]
    shown = subprocess.run(["ssh-keygen", "-lf", str(tmp_path / "key.pub")], check=True, capture_output=True, text=True)
    assert fingerprint(key) in shown.stdout.split()


def test_key_name() -> None:
    assert [key_name("h", 22), key_name("h", 2222)] == ["h", "[h]:2222"]
