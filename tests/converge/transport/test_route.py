"""Inventory and ssh_config put together, without a host."""

from __future__ import annotations

from pathlib import Path

import pytest

from converge.transport.link import Unreached
from converge.transport.route import Roads, expanded, named
from tests.sshd import inventory


def roads(folder: Path, text: str) -> Roads:
    (folder / "ssh_config").write_text(text)
    return Roads.of(inventory(folder, "hkn"))


def test_everything_of_ssh_config_that_a_connection_needs(tmp_path: Path) -> None:
    found = roads(
        tmp_path,
        """
        Host app
          HostName 192.0.2.7
          Port 2222
          IdentityFile /keys/one
          IdentityFile ~/two
          IdentitiesOnly yes
          UserKnownHostsFile /k/one /k/two
          HostKeyAlias vampires
          ProxyJump me@jump:23,other
        Host *
          IdentityFile /keys/three
        """,
    )
    way = found.to(found.inv.app_host)
    assert (way.address, way.port, way.user, way.key_alias) == ("192.0.2.7", 2222, "hkn", "vampires")
    assert way.identities == (Path("/keys/one"), Path.home() / "two", Path("/keys/three"))
    assert way.identities_only
    assert way.known_hosts[:2] == (Path("/k/one"), Path("/k/two"))
    assert way.jumps == ("me@jump:23", "other")
    jump = found.jump(way.jumps[0])
    assert (jump.user, jump.address, jump.port) == ("me", "jump", 23)


def test_an_address_is_looked_up_where_the_file_does_not_name_the_host(tmp_path: Path) -> None:
    found = roads(tmp_path, "Host app.invalid\n  HostName 192.0.2.8\nHost *\n  Port 24\n")
    way = found.to(found.inv.app_host)
    assert (way.address, way.port) == ("192.0.2.8", 24)
    assert way.known_hosts[0] == Path.home() / ".ssh" / "known_hosts"


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Unreached, match="does not exist") as caught:
        Roads.of(inventory(tmp_path, "hkn"))
    assert caught.value.stage == "configuration"


def test_a_file_that_cannot_be_understood_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Unreached, match="cannot be understood"):
        roads(tmp_path, "Host app\n  ???\n")


def test_included_files_apply_and_end_their_blocks(tmp_path: Path) -> None:
    (tmp_path / "one.conf").write_text("Host other\n  Port 99\n")
    (tmp_path / "two.conf").write_text("Host app\n  User me\n")
    main = tmp_path / "config"
    main.write_text(f"Host app\n  Port 24\nInclude {tmp_path}/*.conf\n  Compression yes\n")
    lines = [line.strip() for line in expanded(main)]
    assert lines == ["Host app", "Port 24", "Host other", "Port 99", "Host app", "User me", "Host app", "Compression yes"]


def test_a_file_that_includes_itself_ends(tmp_path: Path) -> None:
    main = tmp_path / "config"
    main.write_text(f"Include {main}\nHost app\n")
    assert "Host app" in list(expanded(main))


@pytest.mark.parametrize(
    ("text", "yes"), [("Host app", True), ("host = a*", True), ("Host *", False), ("Host b app", True), ("Match all", False)]
)
def test_named(text: str, yes: bool) -> None:
    assert named(text, "app") is yes
