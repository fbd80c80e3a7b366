"""Inventories: the two that we ship, and each mistake with its message."""

from __future__ import annotations

import errno
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hosts import loader
from hosts.errors import InventoryError, Layer, NoLab
from hosts.loader import build, expand, load, merged, targets
from hosts.schema import Inventory, Limits

SHIPPED = Path(loader.__file__).parent
GENERATED = """
connect.ssh_config = "/lab/ssh_config"
[hosts.vampires]
address = "10.1.2.12"
[hosts.werewolves]
address = "10.1.2.11"
[web]
ca_file = "/lab/ca.pem"
resolve = { "hkn.eecs.berkeley.edu" = "10.1.2.12" }
[ruby]
version = "3.3.8"
old_version = "3.1.2"
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of its own, without a lab."""
    shutil.copytree(SHIPPED, tmp_path / "hosts", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    monkeypatch.setattr(loader, "HERE", tmp_path / "hosts")
    return tmp_path


def data() -> dict[str, Any]:
    return tomllib.loads((SHIPPED / "production.toml").read_text())


def put(place: str, value: object) -> dict[str, Any]:
    """production.toml with one value changed (None: removed)."""
    whole = data()
    *path, last = place.split(".")
    here = whole
    for key in path:
        here = here[key]
    if value is None:
        del here[last]
    else:
        here[last] = value
    return whole


def mistake(whole: dict[str, Any]) -> str:
    with pytest.raises(InventoryError) as caught:
        build([Layer(Path("mine.toml"), whole)], "mine")
    return str(caught.value)


# What we ship


def test_production_is_careful() -> None:
    inv = load("production")
    assert inv.may == []
    assert inv.soak_days == 14
    assert [h.name for h in inv.live] == ["vampires"]
    assert inv.app_host.address == "apphost.ocf.berkeley.edu"
    assert (inv.web.socket, inv.web.listen) == ("auto", "/srv/apps/hkn/prod.sock")


def test_lab_takes_its_addresses_from_the_running_lab(checkout: Path) -> None:
    file = checkout / ".lab" / "lab" / "target.toml"
    file.parent.mkdir(parents=True)
    file.write_text(GENERATED)
    inv = load("lab")
    assert [(h.name, h.address, h.release) for h in inv.live] == [
        ("vampires", "10.1.2.12", "13"),
        ("werewolves", "10.1.2.11", "12"),
    ]
    assert inv.connect.ssh_config == "/lab/ssh_config"
    assert (inv.ruby.version, inv.ruby.old_version) == ("3.3.8", "3.1.2")
    assert inv.web.server_name == "hkn.eecs.berkeley.edu"
    assert (inv.name, inv.file) == ("lab", str(checkout / "hosts" / "lab.toml"))


def test_no_lab_is_one_sentence(checkout: Path) -> None:
    with pytest.raises(NoLab) as caught:
        load("lab")
    text = str(caught.value)
    assert "no lab is running" in text
    assert "hkn lab up`" in text
    assert "--target production" in text
    assert "\n" not in text
    assert str(checkout) not in text


@pytest.mark.usefixtures("checkout")
def test_a_second_lab_is_started_by_its_name() -> None:
    with pytest.raises(NoLab, match="lab up --name two"):
        load("lab:two")


@pytest.mark.usefixtures("checkout")
def test_offline_needs_no_lab() -> None:
    assert load("lab", offline=True).app_host.hostname == "vampires"


def test_targets(checkout: Path) -> None:
    for name in ("lab", "two"):
        (checkout / ".lab" / name).mkdir(parents=True)
        (checkout / ".lab" / name / "target.toml").write_text(GENERATED)
    assert targets() == ["lab", "production", "lab:two"]


def test_a_path(tmp_path: Path) -> None:
    file = tmp_path / "ours.toml"
    shutil.copy(SHIPPED / "production.toml", file)
    inv = load(str(file))
    assert (inv.name, inv.file) == ("ours", str(file))


def test_merged_replaces_all_but_tables() -> None:
    assert merged({"a": {"b": 1, "c": [1]}, "d": 2}, {"a": {"c": [2]}, "e": 3}) == {"a": {"b": 1, "c": [2]}, "d": 2, "e": 3}


# Targets that are none


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("prodution", "did you mean production?"),
        ("nothing-like-it", "known: lab, production"),
        ("./absent.toml", "no such file"),
        ("lab:../../etc", "small letters"),
        ("lab:A", "small letters"),
        ("~nosuchuser/x.toml", "target ~nosuchuser/x.toml: cannot be used: Could not determine home directory. Correct"),
        (300 * "x", "cannot be looked at: File name too long."),
        (f"./{300 * 'x'}.toml", "cannot be looked at: File name too long."),
        ("hosts/**.toml", "cannot be used: Invalid pattern: '**' can only be an entire path component. Correct it."),
        ("/tmp", "target /tmp: is a folder. Name a file in it, or '/tmp/*.toml'"),
    ],
)
def test_no_such_target(target: str, words: str) -> None:
    def both() -> None:
        expand([target])
        load(target)

    with pytest.raises(InventoryError) as caught:
        both()
    # A later Python takes any pattern.
    assert words in str(caught.value) or ("**" in target and "no file matches" in str(caught.value))


@pytest.mark.parametrize("target", ["./secret/x.toml", "secret/*.toml", "x"])
def test_a_target_that_may_not_be_looked_at(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", denied)
    for look in (load, lambda target: expand([target])):
        with pytest.raises(InventoryError, match=r"cannot be looked at: Permission denied\. Look at its spelling"):
            look(target)


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize("target", ["lab", "lab:", "lab:lab"])
def test_the_lab_has_one_name(target: str) -> None:
    assert load(target, offline=True).name == "lab"
    with pytest.raises(NoLab, match=r"for the target lab: `\S*hkn lab up` starts"):
        load(target)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"format = ", "is not TOML"), (b"a = '\xff'", "is not UTF-8"), (b"a = 1\na = 2\nb = 3\n", "line 2")],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "broken.toml").write_bytes(content)
    with pytest.raises(InventoryError) as caught:
        load(str(tmp_path / "broken.toml"))
    assert words in str(caught.value)
    assert "broken.toml" in str(caught.value)


def test_limits_that_no_file_names_are_careful_ones() -> None:
    inv = build([Layer(Path("mine.toml"), put("limits", None))], "mine")
    assert inv.limits == Limits()
    assert inv.limits.spare_mib >= 512
    shipped = load("production").limits
    assert shipped.attic_gib < 15, "the quota, of which the site itself needs the most"
    assert shipped.spare_mib > 0


# Mistakes of shape


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("hosts.vampires.adress", "x", ["mine.toml: hosts.vampires.adress: unknown", "did you mean address?"]),
        ("soak", 3, ["soak: unknown key", "did you mean soak_days?"]),
        ("hosts", None, ["hosts: missing"]),
        ("hosts.vampires.hostname", None, ["hosts.vampires.hostname: missing", "what `uname -n` must print there"]),
        ("hosts.vampires.role", "ap", ["hosts.vampires.role: read 'ap'", "'app' or 'legacy'", "did you mean app?"]),
        ("soak_days", "14", ["soak_days: read '14', allowed: a whole number"]),
        ("soak_days", -1, ["soak_days: read -1, allowed: a whole number >= 0"]),
        ("soak_days", 1_000_000_000, ["soak_days: read 1000000000, allowed: a whole number <= 3650"]),
        ("hosts.vampires.port", 65536, ["hosts.vampires.port: read 65536, allowed: a whole number <= 65535"]),
        ("connect.timeout", 1e300, ["connect.timeout: read 1e+300, allowed: a number <= 600"]),
        ("account.uid", -1, ["account.uid: read -1, allowed: a whole number >= 0"]),
        ("app.stop_timeout", 0, ["app.stop_timeout: read 0, allowed: a whole number >= 1"]),
        ("web.urls", [{"url": "https://h/", "expect": "x", "status": 0}], ["web.urls[0].status: read 0, allowed: a whole"]),
        ("web.allowed_sockets", "dev.sock", ["web.allowed_sockets: read 'dev.sock', allowed: a list"]),
        ("hosts.werewolves.retired", "yes", ["hosts.werewolves.retired: read 'yes', allowed: true or false"]),
        ("web", "x", ["web: read 'x', allowed: a table"]),
        ("may", ["deploi"], ["may[0]: read 'deploi'", "did you mean deploy?"]),
        ("format", 2, ["format: read 2, allowed: 1"]),
        ("limits.entrys", 1, ["limits.entrys: unknown key", "did you mean entries?"]),
        ("limits.entries", "all", ["limits.entries: read 'all', allowed: a whole number"]),
        ("limits.probe_per_second", "10", ["limits.probe_per_second: read '10', allowed: a number"]),
        ("limits", 3, ["limits: read 3, allowed: a table"]),
        ("waivers", [{"id": "A-1", "why": "", "until": "x"}], ["waivers[0].why", "waivers[0].until", "a date, as 2019"]),
    ],
)
def test_mistakes_of_shape(place: str, value: object, words: list[str]) -> None:
    text = mistake(put(place, value))
    for word in words:
        assert word in text
    assert "`" not in text.replace("`uname -n`", "")


def test_all_mistakes_at_once() -> None:
    whole = put("soak", 3)
    whole["may"] = ["x"]
    assert len(mistake(whole).splitlines()) == 2


def test_the_file_that_has_the_mistake_is_named() -> None:
    layers = [Layer(Path("base.toml"), data()), Layer(Path("over.toml"), {"web": {"port": 1}})]
    with pytest.raises(InventoryError, match=r"^over\.toml: web\.port"):
        build(layers, "mine")


# Mistakes of sense


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("hosts.vampires.role", "legacy", 'exactly one host must have role = "app"; read 0 (none)'),
        ("hosts.werewolves.role", "app", "read 2 (vampires, werewolves)"),
        ("hosts.vampires.retired", True, "cannot be retired"),
        ("hosts.werewolves.hostname", "vampires", "each host has a name of its own"),
        ("hosts.vampires.hostname", "", "hosts.vampires.hostname: read '', allowed: exactly what `uname -n` prints there"),
        ("hosts.vampires.hostname", "vampires ", "hosts.vampires.hostname: read 'vampires '"),
        ("hosts.vampires.hostname", "-vampires", "hosts.vampires.hostname: read '-vampires'"),
        ("hosts.vampires.hostname", "v" * 65, "exactly what `uname -n` prints"),
        ("hosts.vampires.address", "-oProxyCommand=x", "a name or an address"),
        ("account.home", "home/h", "absolute path"),
        ("stages.root", "/home/../etc", "absolute path"),
        ("stages.root", "/home/hkn-rails/", "absolute path"),
        ("stages.linked_dirs", ["/log"], "relative to a release"),
        ("stages.linked_files", ["../x"], "relative to a release"),
        ("stages.release_files", ["/x"], "relative to a release"),
        ("stages.release_files", ["public/*/x"], "in its last part only"),
        ("stages.release_files", ["public/x|"], "relative to a release"),
        ("stages.release_files", ["public/"], "relative to a release"),
        ("stages.release_files", ["x|../y"], "relative to a release"),
        ("stages.legacy", ["prod"], "cannot be one to retire"),
        ("app.unit", "hkn-rails", "ends in .service"),
        ("app.legacy_units", ["hkn-rails.service"], "cannot be one to retire"),
        ("app.unit", "x$(reboot).service", "ends in .service"),
        ("app.legacy_units", ["a;b.service"], "ends in .service"),
        ("app.logrotate_timer", "x.service", "ends in .timer"),
        ("app.logrotate_timer", "x'y.timer", "ends in .timer"),
        ("web.slow_path", "slow?s=2", "starts with /"),
        ("repository.branch", "", "the name of a branch"),
        ("repository.branch", "--upload-pack=x", "the name of a branch"),
        ("repository.legacy_branch", "master", "cannot be one to retire"),
        ("web.save_path", "saves", "starts with /"),
        ("ruby.executable", "/usr/bin/ruby", "{version}"),
        ("ruby.version", "ruby-2.5.1", '"auto"'),
        ("solr.port", 0, "1 to 65535"),
        ("web.listen", "/run/prod.sock", "a path in web.socket_dir"),
        ("web.allowed_sockets", ["/srv/apps/hkn/dev.sock"], "without directory"),
        ("web.retired_sockets", [".."], "without directory"),
        ("web.retired_sockets", ["old.sock", "dev.sock"], "dev.sock is another application's"),
        ("web.urls", [{"url": "hkn.example", "expect": "x"}], "http"),
        ("web.urls", [{"url": "https://h:99999/", "expect": "x"}], "web.urls[0].url: read 'https://h:99999/', allowed"),
        ("web.urls", [{"url": "https://h:abc/", "expect": "x"}], "a port from 1 to 65535"),
        ("web.urls", [{"url": "https://h:0/", "expect": "x"}], "a port from 1 to 65535"),
        ("web.urls", [{"url": "http://[::1", "expect": "x"}], "Invalid IPv6 URL"),
        ("web.urls", [{"url": "https:///x", "expect": "x"}], "the name of a host"),
        ("web.urls", [{"url": "https://a b/", "expect": "x"}], "the name of a host"),
        ("web.allowed_sockets", ["dev.sock", "prod.sock"], "/srv/apps/hkn/prod.sock is what the application must listen on"),
        ("app.logrotate_unit", "hkn-rails.service", "is a unit of the application"),
        ("app.logrotate_unit", "hkn-rails-migrate.service", "is a unit of the application"),
        ("web.probe_path", "robots.txt", "starts with /"),
        ("account.user", "hkn; rm", "a login name"),
        ("limits.entries", 0, "limits.entries: read 0, allowed: 1 to 100000000"),
        ("limits.entries", 10**18, "allowed: 1 to 100000000"),
        ("limits.attic_gib", 0, "limits.attic_gib: read 0, allowed: a number of GiB above 0"),
        ("limits.attic_gib", float("nan"), "a number of GiB above 0"),
        ("limits.spare_mib", -1, "limits.spare_mib: read -1, allowed: 0 or more"),
        ("limits.probe_per_second", 0, "limits.probe_per_second: read 0, allowed: 0.01 to 20"),
        ("limits.probe_per_second", 1e-300, "0.01 to 20"),
        ("limits.probe_per_second", 100, "0.01 to 20"),
    ],
)
def test_mistakes_of_sense(place: str, value: object, words: str) -> None:
    text = mistake(put(place, value))
    assert words in text
    assert "mine.toml: " in text


def test_a_host_called_control_is_refused() -> None:
    whole = data()
    whole["hosts"]["control"] = whole["hosts"].pop("werewolves")
    assert "taken" in mistake(whole)


def test_files_that_a_release_must_have_may_be_left_out() -> None:
    assert build([Layer(Path("mine.toml"), put("stages.release_files", None))], "mine").stages.release_files == []


def test_a_right_one_is_an_inventory() -> None:
    assert isinstance(build([Layer(Path("mine.toml"), data())], "mine"), Inventory)


def test_a_pattern_is_the_files_that_match_sorted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert expand(["production", "./*.toml"]) == (["production", "a.toml", "b.toml"], [])
    with pytest.raises(InventoryError, match=r"fleet/\*\.toml: no file matches"):
        expand(["fleet/*.toml"])


def test_a_target_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.touch()
    assert expand(["lab", "lab:lab", str(file), f"{tmp_path}/*.toml", "lab:b", "production", "hosts/production.toml"]) == (
        ["lab", str(file), "lab:b", "production"],
        ["lab:lab", str(file), "hosts/production.toml"],
    )
