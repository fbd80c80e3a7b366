"""The peers: the one list of properties, rendered for each of them, with the command that a user of it would type."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.measure import Command
from bench.place import HOST, Place
from bench.properties import Property, of
from bench.venvs import program_of

Properties = tuple[Property, ...]
Rival = Callable[[Place, Properties, Path], Command]

TESTINFRA = '''
import pytest


@pytest.mark.parametrize(("path", "mode"), {mode})
def test_mode(host, path, mode):
    assert host.file(path).mode == int(mode, 8)


@pytest.mark.parametrize(("path", "owner"), {owner})
def test_owner(host, path, owner):
    assert host.file(path).user == owner


@pytest.mark.parametrize(("path", "target"), {link})
def test_link(host, path, target):
    # What readlink prints; linked_to would follow every link on the way.
    assert host.run("readlink %s", path).stdout.strip() == target


@pytest.mark.parametrize(("name", "_"), {package})
def test_package(host, name, _):
    assert host.package(name).is_installed


@pytest.mark.parametrize(("name", "_"), {service})
def test_service(host, name, _):
    assert host.service(name).is_running
    assert host.service(name).is_enabled


@pytest.mark.parametrize(("name", "uid"), {user})
def test_user(host, name, uid):
    assert host.user(name).uid == int(uid)
'''

BUNDLEWRAP = """
import json

files, directories, symlinks, pkg_apt, svc_systemd, users = ({} for _ in range(6))
for kind, name, value in json.loads(LIST):
    if kind == "mode":
        files[name] = {"content_type": "any", "mode": "0" + value, "owner": None, "group": None}
    elif kind == "owner":
        directories[name] = {"owner": value, "mode": None, "group": None}
    elif kind == "link":
        symlinks[name] = {"target": value, "owner": None, "group": None}
    elif kind == "package":
        pkg_apt[name] = {}
    elif kind == "service":
        svc_systemd[name] = {"running": True, "enabled": True}
    elif kind == "user":
        users[name] = {"uid": int(value)}
"""

BUNDLEWRAP_NODE = """
nodes = {
    "HOST": {
        "hostname": "HOST",
        "os": "debian",
        "os_version": (13,),
        "bundles": {"forty"},
        "cmd_wrapper_outer": "sh -c {0}",  # as the account itself: there is no sudo
    },
}
"""

PYINFRA = """
import json
from pyinfra.operations import apt, files, server, systemd

packages = []
for kind, name, value in json.loads(LIST):
    if kind == "mode":
        files.file(path=name, mode=value)
    elif kind == "owner":
        files.directory(path=name, user=value)
    elif kind == "link":
        files.link(path=name, target=value)
    elif kind == "package":
        packages.append(name)
    elif kind == "service":
        systemd.service(service=name, running=True, enabled=True)
    elif kind == "user":
        server.user(user=name, uid=int(value))
apt.packages(packages=packages)
"""

ANSIBLE_CONFIG = """
[defaults]
inventory = hosts
gathering = explicit
retry_files_enabled = false
interpreter_python = none
local_tmp = FOLDER/tmp
[ssh_connection]
pipelining = true
ssh_args = -F CONFIG
control_path_dir = MUX
"""

ASK: Mapping[str, str] = {
    "mode": "stat -c %a {}",
    "owner": "stat -c %U {}",
    "link": "readlink {}",
    "package": "dpkg-query -W -f '${{Status}}' {}",
    "service": "systemctl is-active {0} && systemctl is-enabled {0}",
    "user": "id -u {}",
}
"""What a person types to see a property."""

ANSWER = {"package": "install ok installed", "service": "active\nenabled"}
"""What it prints when it holds, where that is not the expected value itself."""


def testinfra(place: Place, properties: Properties, folder: Path) -> Command:
    """pytest-testinfra as it is shipped, over its paramiko backend."""
    lists = {kind: repr([(p.name, p.value) for p in of(kind, properties)]) for kind in ASK}  # type: ignore[arg-type]
    (folder / "test_forty.py").write_text(TESTINFRA.format(**lists))
    (folder / "pytest.ini").write_text("[pytest]\n")
    words = ("-q", f"--hosts=paramiko://{HOST}", f"--ssh-config={place.ssh_config}", "test_forty.py")
    return Command((program_of("testinfra", "python"), "-m", "pytest", *words), folder, _status("passed", len(properties)))


def bundlewrap(place: Place, properties: Properties, folder: Path) -> Command:
    """``bw verify``, four items at once (its default), over one shared ssh as its documentation advises."""
    bundle = folder / "bundles" / "forty"
    bundle.mkdir(parents=True, exist_ok=True)
    (folder / "groups.py").write_text("groups = {}\n")
    (folder / "nodes.py").write_text(BUNDLEWRAP_NODE.replace("HOST", HOST))
    (bundle / "items.py").write_text(_listed(properties) + BUNDLEWRAP)
    env = {"BW_SSH_ARGS": f"-F {place.shared_config}"}
    # Its own words: so many good, none bad. It ends with 0 in any case.
    judge = _status(f"{len(properties)} │   0 │", 0)
    return Command((program_of("bundlewrap", "bw"), "verify", HOST), folder, judge, env, place.shared)


def pyinfra(place: Place, properties: Properties, folder: Path) -> Command:
    """``pyinfra --dry``; it ends with 0 whatever it finds, so its table is read."""
    data = {
        "ssh_hostname": place.address,
        "ssh_port": place.port,
        "ssh_user": place.user,
        "ssh_key": str(place.key),
        "ssh_known_hosts_file": str(place.known_hosts),
        "ssh_allow_agent": False,
        "ssh_look_for_keys": False,
    }
    (folder / "inventory.py").write_text(f"hosts = [({HOST!r}, {data!r})]\n")
    (folder / "deploy.py").write_text(_listed(properties) + PYINFRA)
    words = (program_of("pyinfra", "pyinfra"), "--dry", "inventory.py", "deploy.py")
    return Command(words, folder, _no_changes)


def ansible(place: Place, properties: Properties, folder: Path) -> Command:
    """A playbook of ``raw`` tasks (the host has no Python), pipelining on."""
    config = ANSIBLE_CONFIG.replace("FOLDER", str(folder)).replace("CONFIG", str(place.shared_config))
    (folder / "ansible.cfg").write_text(config.replace("MUX", str(place.shared)))
    (folder / "hosts").write_text(f"{HOST}\n")
    tasks = [
        {
            "name": f"{p.kind} {p.name}",
            "raw": ASK[p.kind].format(p.name),
            "register": "it",
            "changed_when": False,
            "failed_when": f"it.stdout | trim | replace('\\r', '') != {ANSWER.get(p.kind, p.value)!r}",
        }
        for p in properties
    ]
    play = [{"hosts": HOST, "gather_facts": False, "tasks": tasks}]
    (folder / "play.yml").write_text(json.dumps(play, indent=1))
    env = {"ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "ANSIBLE_HOME": str(folder / "home")}
    words = (program_of("ansible", "ansible-playbook"), "play.yml")
    return Command(words, folder, _status(f"ok={len(properties)}", 0), env, place.shared)


RIVALS: Mapping[str, Rival] = {
    "testinfra, paramiko, as shipped": testinfra,
    "bundlewrap verify": bundlewrap,
    "pyinfra --dry": pyinfra,
    "ansible raw, pipelining": ansible,
}


def _listed(properties: Properties) -> str:
    return f"LIST = {json.dumps([[p.kind, p.name, p.value] for p in properties])!r}\n"


def _status(word: str, count: int) -> Callable[[int, str], str]:
    wanted = f"{count} {word}" if count else word

    def judge(code: int, out: str) -> str:
        if code:
            return f"ended with {code}"
        return "" if wanted in out else f"did not say {wanted!r}"

    return judge


def _no_changes(code: int, out: str) -> str:
    if code:
        return f"ended with {code}"
    _, table, rows = out.partition("Detected changes")
    if not table or rows.count(" (path=") < len(of("mode")):
        return "printed no table"
    changes = rows.count(f"({HOST})")
    return f"found {changes} changes" if changes else ""
