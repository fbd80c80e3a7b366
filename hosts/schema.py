"""The inventory's one schema. What differs between groups and hosts is here; nothing in verify/ or remediate/ names it."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Permission = Literal["merge", "push", "deploy", "restart", "retire"]


class Model(BaseModel):
    """Strict: an unknown key or a wrong type is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Host(Model):
    """One machine of the target."""

    role: Literal["app", "legacy"]
    address: str = Field(description="name or address to connect to; ~/.ssh/config applies to it")
    hostname: str = Field(description="what `hostname` must print there")
    port: int | None = None
    release: str = Field("auto", description="Debian release (VERSION_ID), or auto")
    retired: bool = Field(False, description="out of service: not connected to, no statements on it")
    name: str = Field("", description="the key in the inventory; filled in by the loader")


class Connect(Model):
    """How to reach the hosts."""

    user: str = Field("", description="login name; empty: the account's user")
    ssh_config: str | None = Field(None, description="an ssh_config to use instead of ~/.ssh/config")
    timeout: float = Field(10.0, gt=0, description="seconds to connect, and to log in")
    contact: str = Field("those who run the host", description="whom to ask for the fingerprints of the hosts' keys")


class Account(Model):
    """The account that owns the application on the hosts."""

    user: str
    uid: int | None = None
    home: str
    home_fs: list[str] = Field(description="file system types that the home may be on")
    group: str = Field(description="group that the host requires for its user services")


class App(Model):
    """The application's units."""

    unit: str
    legacy_units: list[str]
    logrotate_unit: str
    logrotate_timer: str
    logrotate_config: str = Field(description="path on the hosts, absolute")
    logrotate_state: str = Field(description="path on the hosts, absolute")
    stop_timeout: int = Field(62, description="seconds that a graceful stop may need at least")


class Stages(Model):
    """Capistrano's trees below `root`, and its names for them."""

    root: str
    target: str = Field(description="directory of the target stage below root")
    legacy: list[str] = Field(description="directories of the stages to be retired")
    deploy: str = Field(description="Capistrano's name of the target stage")
    legacy_deploy: list[str] = Field(description="Capistrano's names of the stages to be retired")
    linked_dirs: list[str]
    linked_files: list[str]
    server: str = Field(description="the server that the target stage must name in its configuration")


class Ruby(Model):
    """The Ruby that must run the application."""

    version: str = Field(description="x.y.z, or auto: what the repository's Gemfile says")
    old_version: str = Field("", description="x.y.z that ran it before, if known")
    executable: str = Field(description="path with {version}")


class Solr(Model):
    """The search engine beside the application."""

    port: int
    stop_port: int
    core: str
    pid_file: str = Field(description="relative to a release")
    fallback_log: str = Field(description="what the application logs when it searches without Solr")


class Url(Model):
    """A public address that must answer."""

    url: str
    expect: str = Field(description="text that must be in the answer")
    status: int = 200


class Web(Model):
    """How requests reach the application."""

    server_name: str
    socket_dir: str
    socket: str = Field("auto", description="the web server's upstream path, or auto: read from its configuration")
    listen: str = Field(description="the path on which the application must listen")
    allowed_sockets: list[str] = Field(description="names in socket_dir that belong to other applications")
    vhosts: str = Field(description="the web server's generated configuration, readable by the account")
    urls: list[Url]
    search_path: str = Field(description="a search that Solr must answer")
    probe_path: str = Field(description="a cheap page for the prober")
    ca_file: str | None = None
    resolve: dict[str, str] = Field(default_factory=dict, description="names that are not asked of DNS")


class Repository(Model):
    """Where the application's code is."""

    url: str
    branch: str
    legacy_branch: str
    reviewed_url: str | None = Field(None, description="where changes are reviewed, if not at url")


class Waiver(Model):
    """A statement that may fail for a while."""

    id: str
    why: str = Field(min_length=1)
    until: date


class Inventory(Model):
    """A target: everything that is particular to one deployment."""

    format: Literal[1]
    hosts: dict[str, Host]
    connect: Connect = Connect()
    account: Account
    app: App
    stages: Stages
    ruby: Ruby
    solr: Solr
    web: Web
    repository: Repository
    soak_days: int = Field(ge=0, description="days after the cutover before old things are retired")
    may: list[Permission] = Field(description="what the tool may do by itself")
    waivers: list[Waiver] = []
    name: str = Field("", description="the target's name; filled in by the loader")
    file: str = Field("", description="the file it was read from; filled in by the loader")

    @property
    def app_host(self) -> Host:
        """The one host with role app."""
        return next(h for h in self.hosts.values() if h.role == "app")

    @property
    def live(self) -> list[Host]:
        """Hosts that are not retired, the app host first."""
        alive = [h for h in self.hosts.values() if not h.retired]
        return sorted(alive, key=lambda h: (h.role != "app", h.name))

    @property
    def legacy_live(self) -> list[Host]:
        """Legacy hosts that are not retired."""
        return [h for h in self.live if h.role == "legacy"]

    # Paths that statements and remedies speak of, so that each is put together in one place.
    @property
    def stage(self) -> str:
        """The target stage's directory."""
        return f"{self.stages.root}/{self.stages.target}"

    @property
    def current(self) -> str:
        """The target stage's current release (a symlink)."""
        return f"{self.stage}/current"

    @property
    def shared(self) -> str:
        """The target stage's shared directory."""
        return f"{self.stage}/shared"

    @property
    def legacy_stages(self) -> list[str]:
        """Directories of the stages to be retired."""
        return [f"{self.stages.root}/{name}" for name in self.stages.legacy]

    @property
    def units_dir(self) -> str:
        """Where the account's systemd units are."""
        return f"{self.account.home}/.config/systemd/user"

    @property
    def attic(self) -> str:
        """Where things are moved that are no longer wanted."""
        return f"{self.account.home}/attic"
