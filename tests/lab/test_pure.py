"""What the lab works out without touching the machine."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

import lab.host
import lab.supervisor
from lab import connection, images, layers, needs, network, seed
from lab.cache import Cache, overlay_options, remove_tree
from lab.cgroups import Hierarchies, HostGroup, parse_mounts
from lab.errors import BootFailed, CommandFailed, NeedsMissing, NetworkFailed, UnknownName
from lab.host import Host
from lab.images import Image
from lab.lab import Lab
from lab.machine import inner_words
from lab.state import BARE, State, ancestry
from lab.supervisor import Status, take

ADDRESSES = {"werewolves": "10.9.8.11", "vampires": "10.9.8.12"}
HYBRID = """\
30 20 0:26 / /sys/fs/cgroup/systemd rw,relatime shared:9 - cgroup cgroup rw,name=systemd
31 20 0:27 / /sys/fs/cgroup/memory rw,relatime shared:10 - cgroup cgroup rw,memory
32 20 0:28 / /sys/fs/cgroup/unified rw,relatime shared:11 - cgroup2 cgroup2 rw
"""
UNIFIED = "32 20 0:28 / /sys/fs/cgroup rw,relatime shared:11 - cgroup2 cgroup2 rw,nsdelegate\n"


def state(name: str, base: str | None) -> State[Any]:
    return State(name, "", base, BARE.build, BARE.settle)


def test_control_groups_of_a_hybrid_machine() -> None:
    found = parse_mounts(HYBRID)
    assert found.unified == Path("/sys/fs/cgroup/unified")
    assert found.legacy == Path("/sys/fs/cgroup/systemd")


def test_control_groups_of_a_unified_machine() -> None:
    found = parse_mounts(UNIFIED)
    assert (found.unified, found.legacy) == (Path("/sys/fs/cgroup"), None)


def test_no_control_groups_is_said_with_its_mend() -> None:
    with pytest.raises(NeedsMissing, match="mount -t cgroup2"):
        parse_mounts("22 1 0:5 / /proc rw - proc proc rw\n")


def test_the_memory_of_a_group_is_its_processes(tmp_path: Path) -> None:
    group = HostGroup("host", Hierarchies(tmp_path, None))
    assert group.memory() == 0
    (tmp_path / "host/payload/leaf").mkdir(parents=True)
    (tmp_path / "host/payload/leaf/cgroup.procs").write_text(f"{os.getpid()}\n")
    assert group.memory() > 2**20
    # One that was listed and is gone when it is read.
    (tmp_path / "host/payload/cgroup.procs").symlink_to("gone")
    assert group.memory() > 2**20


def test_a_host_that_stays_up_is_told_with_what_it_still_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = subprocess.Popen(["sleep", "60.5"])
    try:
        group = HostGroup("host", Hierarchies(tmp_path, None))
        (tmp_path / "host/payload").mkdir(parents=True)
        (tmp_path / "host/payload/cgroup.procs").write_text(f"{held.pid}\n")
        (tmp_path / "host/cgroup.events").write_text("populated 1\n")
        until = time.monotonic() + 10
        while group.commands() != ["sleep 60.5 (S)"] and time.monotonic() < until:
            time.sleep(0.01)
        assert group.commands() == ["sleep 60.5 (S)"]
        host = Host("vampires", "host", tmp_path)
        told: list[str] = []
        monkeypatch.setattr(lab.host, "SLOW", 0)
        monkeypatch.setattr(HostGroup, "find", lambda _: group)
        monkeypatch.setattr(lab.supervisor, "read_status", lambda _: Status(held.pid, nspawn=held.pid))
        with monkeypatch.context() as patch:
            patch.setattr("os.kill", lambda *_: None)
            with pytest.raises(BootFailed, match=r"did not power off in 0.1 s; it still runs sleep 60.5 \(S\)"):
                host.power_off(told.append, limit=0.1)
        assert told == ["vampires is slow to power off; it still runs sleep 60.5 (S)"]
    finally:
        held.kill()
        held.wait()


def test_the_range_is_the_labs_own_and_stable() -> None:
    first = network.free_range("abc", [])
    assert first == network.free_range("abc", [])
    assert first != network.free_range("abd", [])
    assert first.subnet_of(ipaddress.IPv4Network("10.64.0.0/10"))


def test_a_taken_range_is_passed_over() -> None:
    first = network.free_range("abc", [])
    assert not network.free_range("abc", [first]).overlaps(first)


def test_no_free_range_is_said() -> None:
    with pytest.raises(NetworkFailed, match=r"10\.64\.0\.0/10"):
        network.free_range("abc", [ipaddress.IPv4Network("10.0.0.0/8")])


def test_states_stand_on_their_bases() -> None:
    known: dict[str, State[Any]] = {"bare": BARE, "old": state("old", None), "new": state("new", "old")}
    assert [one.name for one in ancestry(known["new"], known)] == ["new", "old"]
    assert ancestry(BARE, known) == []


def test_a_state_that_is_its_own_base_is_named() -> None:
    known = {"a": state("a", "b"), "b": state("b", "a")}
    with pytest.raises(UnknownName, match="'a' is its own base"):
        ancestry(known["a"], known)


def test_a_states_key_follows_what_it_is_built_from(tmp_path: Path) -> None:
    (tmp_path / "payload").mkdir()
    (tmp_path / "states.py").write_text("1")
    before = layers.source_hash(tmp_path)
    (tmp_path / "payload" / "template").write_text("2")
    after = layers.source_hash(tmp_path)
    line = [state("new", None)]
    assert before != after
    assert layers.folder_name(line, before) != layers.folder_name(line, after)


def test_a_state_is_built_when_all_that_it_stands_on_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, State[Any]] = {"bare": BARE, "old": state("old", None), "new": state("new", "old")}
    monkeypatch.setenv("LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(images, "IMAGES", {"one": Image("one"), "two": Image("two")})
    lab = Lab.open("it", known)
    needed = [("images", f"{name}-{image.key}") for name, image in images.IMAGES.items()]
    for line in ([known["old"]], [known["new"], known["old"]]):
        needed.append(("states", layers.folder_name(line, layers.source_hash())))
    seen = []
    for kind, name in needed:
        seen.append([lab.built(one) for one in known])
        (tmp_path / kind / name).mkdir(parents=True)
    seen.append([lab.built(one) for one in known])
    no, bare, old, new = [False] * 3, [True, False, False], [True, True, False], [True] * 3
    assert seen == [no, no, bare, old, new]


def test_the_target_is_what_an_inventory_reads() -> None:
    facts = {"ruby": {"version": "3.3.8"}, "web": {"note": 'with "quotes"'}}
    document = connection.target(Path("/x/.lab/lab"), ADDRESSES, "vampires", facts)
    read = tomllib.loads(connection.toml(document))
    assert read == {
        "connect": {"ssh_config": "/x/.lab/lab/ssh_config"},
        "hosts": {"vampires": {"address": "10.9.8.12"}, "werewolves": {"address": "10.9.8.11"}},
        "web": {
            "ca_file": "/x/.lab/lab/ca.pem",
            "resolve": {"hkn.eecs.berkeley.edu": "10.9.8.12"},
            "note": 'with "quotes"',
        },
        "ruby": {"version": "3.3.8"},
    }


def test_known_hosts_names_the_alias_where_it_points() -> None:
    keys = {name: f"ssh-ed25519 AAAA{name} comment\n" for name in ADDRESSES}
    lines = connection.known_hosts(keys, ADDRESSES, "werewolves").splitlines()
    assert lines == [
        "werewolves,10.9.8.11,apphost ssh-ed25519 AAAAwerewolves",
        "vampires,10.9.8.12,forge ssh-ed25519 AAAAvampires",
    ]


def test_ssh_config_logs_in_at_the_forge_as_git() -> None:
    blocks = connection.ssh_config(Path("/x"), ADDRESSES, "vampires").split("\n\n")
    forge = next(block for block in blocks if block.startswith("Host forge\n"))
    assert "    HostName 10.9.8.12\n    User git\n" in forge
    assert "StrictHostKeyChecking yes" in forge


def test_hosts_know_each_other() -> None:
    assert "10.9.8.12 vampires apphost forge" in seed.hosts_file(ADDRESSES, "vampires")


def test_what_lacks_is_one_sentence_each_with_its_mend() -> None:
    found = needs.Found(frozenset(needs.PROGRAMS) - {"mvn", "ip"}, frozenset(), 2**30, 2**30, (5, 10), frozenset())
    said = needs.sentences(found, Path("/cache"))
    assert "apt-get install --yes --no-install-recommends iproute2 maven debian-archive-keyring" in said[0]
    assert [word in sentence for word, sentence in zip(["memory", "LAB_CACHE", "5.14", "modprobe"], said[1:], strict=True)]


def test_a_fit_machine_lacks_nothing() -> None:
    found = needs.Found(
        frozenset(needs.PROGRAMS), frozenset(needs.FILES), 2**40, 2**40, (6, 1), frozenset(needs.FILE_SYSTEMS)
    )
    assert needs.sentences(found, Path("/cache")) == []


def test_a_users_command_has_a_logins_environment() -> None:
    words = inner_words("echo $HOME", "hkn")
    assert "HOME=/home/h/hk/hkn" in words
    assert "XDG_RUNTIME_DIR=/run/user/5000" in words
    assert words[-1] == "cd\necho $HOME"


def test_a_new_leader_is_not_ready_until_it_says_so() -> None:
    status = Status(supervisor=1)
    assert take(status, "STATUS=up\nX_NSPAWN_LEADER_PID=7")
    assert take(status, "READY=1")
    assert not take(status, "READY=1")
    assert take(status, "X_NSPAWN_LEADER_PID=8")
    assert (status.leader, status.ready) == (8, False)


def test_overlay_options_escape_what_separates() -> None:
    assert "lowerdir=/a\\:b:/c," in overlay_options([Path("/a:b"), Path("/c")], Path("/lab"))


def test_an_artefact_is_made_once_and_a_failure_leaves_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path, lambda _: None)
    made: list[Path] = []

    def build(target: Path) -> None:
        made.append(target)
        (target / "file").write_text("x")

    def fail(target: Path) -> None:
        (target / "file").write_text("x")
        raise ValueError("broken off")

    first = cache.artefact("kind", "one", build)
    assert (first / "file").read_text() == "x"
    assert cache.artefact("kind", "one", build) == first
    assert len(made) == 1
    with pytest.raises(ValueError, match="broken off"):
        cache.artefact("kind", "two", fail)
    assert [path.name for path in (tmp_path / "kind").iterdir() if path.is_dir()] == ["one"]


def test_pruning_takes_what_was_long_not_used(tmp_path: Path) -> None:
    cache = Cache(tmp_path, lambda _: None)
    for name in ("old", "new"):
        cache.artefact("states", name, lambda _: None)
    os.utime(tmp_path / "states" / ".old.used", (0, 0))
    cache.prune(["states"], days=3)
    assert (cache.has("states", "old"), cache.has("states", "new")) == (False, True)


def test_remove_tree_takes_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    remove_tree(tmp_path / "a")
    remove_tree(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_lab_cannot_be_named_like_a_path() -> None:
    with pytest.raises(UnknownName, match="cannot name a lab"):
        Lab.open("../x", {})


def test_a_failed_command_is_told_with_where_and_what() -> None:
    said = str(CommandFailed("vampires", ["ls", "/x"], 2, "no such file\n"))
    assert said == "vampires: `ls /x` ended with status 2: no such file"
