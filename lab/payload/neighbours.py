"""Who else lives on the app host, and must not notice the move: other sites of hkn, and another group."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from lab.lab import Lab
from lab.machine import ACCOUNTS
from lab.payload import solr
from lab.payload.render import HERE, fill

TEMPLATES = HERE / "templates"


@dataclass(frozen=True)
class Neighbour:
    """A small site with its own unit, folder and socket."""

    user: str
    name: str
    socket: str

    @property
    def home(self) -> str:
        return ACCOUNTS[self.user].home

    @property
    def unit(self) -> str:
        return f"{self.name}.service"


NEIGHBOURS = (
    Neighbour("hkn", "hkn-dev", "/srv/apps/hkn/dev.sock"),
    Neighbour("hkn", "hkn-tutoring", "/srv/apps/hkn/tutoring.sock"),
    Neighbour("otherorg", "otherorg", "/srv/apps/otherorg/otherorg.sock"),
)
OTHER_SOLR_PORT = 8984
OTHER_SOLR_UNIT = "otherorg-solr.service"


def lay(lab: Lab) -> None:
    """Put all of them there; they start with the user managers, on the app host only."""
    for neighbour in NEIGHBOURS:
        _lay_site(lab, neighbour)
    _lay_other_solr(lab)
    units = [*(n.unit for n in NEIGHBOURS if n.user == "otherorg"), OTHER_SOLR_UNIT]
    for user, names in (("hkn", [n.unit for n in NEIGHBOURS if n.user == "hkn"]), ("otherorg", units)):
        lab.app.run(["systemctl", "--user", "enable", "--now", *names], user=user)


def wait(lab: Lab) -> None:
    """Return when every one of them answers."""
    sockets = " && ".join(f"curl -sf -m 2 --unix-socket {n.socket} -o /dev/null http://x/" for n in NEIGHBOURS)
    solr_answers = f"curl -sf -m 2 -o /dev/null http://127.0.0.1:{OTHER_SOLR_PORT}/solr/production/select?q=x"
    lab.app.wait_until(f"{sockets} && {solr_answers}")


def _lay_site(lab: Lab, neighbour: Neighbour) -> None:
    folder = f"{neighbour.home}/{neighbour.name}"
    files = {
        f"{folder}/config.ru": ("neighbour.ru", {"NAME": neighbour.name}),
        f"{folder}/unicorn.rb": ("neighbour-unicorn.rb", {"SOCKET": neighbour.socket}),
        _unit_path(neighbour.user, neighbour.unit): (
            "neighbour.service",
            {
                "DESCRIPTION": f"{neighbour.name}, a neighbour of the site",
                "FOLDER": folder,
                "COMMAND": "/usr/bin/unicorn -E production -c unicorn.rb config.ru",
            },
        ),
    }
    for path, (template, values) in files.items():
        _write(lab, neighbour.user, path, fill((TEMPLATES / template).read_text(), values))


def _lay_other_solr(lab: Lab) -> None:
    account = ACCOUNTS["otherorg"]
    inside = lab.home / Path(account.home).relative_to("/home")
    solr.install(solr.artefact(lab), inside / "solr", account.uid)
    shutil.copytree(HERE / "app/solr", inside / "solr-home")
    lab.app.run(["chown", "-R", "otherorg:otherorg", f"{account.home}/solr-home"])
    values = {
        "DESCRIPTION": "Search of otherorg",
        "FOLDER": account.home,
        "COMMAND": f"{account.home}/solr/bin/solr start -f -p {OTHER_SOLR_PORT} -s {account.home}/solr-home",
    }
    text = fill((TEMPLATES / "neighbour.service").read_text(), values) + "Environment=SOLR_HEAP=64m\n"
    _write(lab, "otherorg", _unit_path("otherorg", OTHER_SOLR_UNIT), text)
    _write(lab, "otherorg", f"{account.home}/accounts.csv", "name,amount\nbake sale,120\n")


def _unit_path(user: str, unit: str) -> str:
    return f"{ACCOUNTS[user].home}/.config/systemd/user/{unit}"


def _write(lab: Lab, user: str, path: str, text: str) -> None:
    lab.app.run(["mkdir", "-p", str(Path(path).parent)], user=user)
    lab.app.write(path, text, owner=f"{user}:{user}")
