"""The inventory's one schema. What differs between groups and hosts is here; nothing in verify/ or remediate/ names it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec import Meta

Permission = Literal["merge", "push", "deploy", "restart", "retire"]


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Strict: an unknown key or a wrong type is an error, never ignored."""

    def changed(self, values: Mapping[str, Any]) -> Self:
        """The same with other values, which are not checked."""
        return msgspec.structs.replace(self, **values)


class Host(Model, frozen=True, kw_only=True):
    """One machine of the target."""

    role: Literal["app", "legacy"]
    address: Annotated[str, Meta(description="name or address to connect to; ~/.ssh/config applies to it")]
    hostname: Annotated[str, Meta(description="what `uname -n` must print there, exactly")]
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    release: Annotated[str, Meta(description="Debian release (VERSION_ID), or auto")] = "auto"
    retired: Annotated[bool, Meta(description="out of service: not connected to, no statements on it")] = False
    name: Annotated[str, Meta(description="the key in the inventory; filled in by the loader")] = ""


class Connect(Model, frozen=True, kw_only=True):
    """How to reach the hosts."""

    user: Annotated[str, Meta(description="login name; empty: the account's user")] = ""
    ssh_config: Annotated[str | None, Meta(description="an ssh_config to use instead of ~/.ssh/config")] = None
    timeout: Annotated[float, Meta(gt=0, le=600, description="seconds to connect, and to log in")] = 10.0
    contact: Annotated[str, Meta(description="whom to ask for the fingerprints of the hosts' keys")] = (
        "those who run the host"
    )


class Account(Model, frozen=True, kw_only=True):
    """The account that owns the application on the hosts."""

    user: str
    uid: Annotated[int, Meta(ge=0, lt=2**32 - 1)] | None = None
    home: str
    home_fs: Annotated[list[str], Meta(description="file system types that the home may be on")]
    group: Annotated[str, Meta(description="group that the host requires for its user services")]


class App(Model, frozen=True, kw_only=True):
    """The application's units."""

    unit: str
    legacy_units: list[str]
    logrotate_unit: str
    logrotate_timer: str
    logrotate_config: Annotated[str, Meta(description="path on the hosts, absolute")]
    logrotate_state: Annotated[str, Meta(description="path on the hosts, absolute")]
    stop_timeout: Annotated[int, Meta(ge=1, le=3600, description="seconds that a graceful stop may need at least")] = 62
    boot_seconds: Annotated[
        float, Meta(gt=0, description="from a start of the unit to its first answer, as a plan expects it")
    ] = 4.0


class Stages(Model, frozen=True, kw_only=True):
    """Capistrano's trees below `root`, and its names for them."""

    root: str
    target: Annotated[str, Meta(description="directory of the target stage below root")]
    legacy: Annotated[list[str], Meta(description="directories of the stages to be retired")]
    deploy: Annotated[str, Meta(description="Capistrano's name of the target stage")]
    legacy_deploy: Annotated[list[str], Meta(description="Capistrano's names of the stages to be retired")]
    linked_dirs: list[str]
    linked_files: list[str]
    server: Annotated[str, Meta(description="the server that the target stage must name in its configuration")]
    release_files: Annotated[
        list[str], Meta(description="files that a release must have; * and ? in the last part, | between alternatives")
    ] = []


class Ruby(Model, frozen=True, kw_only=True):
    """The Ruby that must run the application."""

    version: Annotated[str, Meta(description="x.y.z, or auto: what the repository's Gemfile says")]
    old_version: Annotated[str, Meta(description="x.y.z that ran it before, if known")] = ""
    executable: Annotated[str, Meta(description="path with {version}")]


class Solr(Model, frozen=True, kw_only=True):
    """The search engine beside the application."""

    port: int
    stop_port: int
    core: str
    pid_file: Annotated[str, Meta(description="relative to a release")]
    fallback_log: Annotated[str, Meta(description="what the application logs when it searches without Solr")]
    start_seconds: Annotated[
        float,
        Meta(ge=0, description="from the start of the rake task that starts it to its first answer, as a plan expects it"),
    ] = 2.5
    documents: Annotated[
        int, Meta(ge=1, description="documents that its index must have; fewer were saved since it was emptied")
    ] = 1


class Url(Model, frozen=True, kw_only=True):
    """A public address that must answer."""

    url: str
    expect: Annotated[str, Meta(description="text that must be in the answer")]
    status: Annotated[int, Meta(ge=100, le=599)] = 200


class Web(Model, frozen=True, kw_only=True):
    """How requests reach the application."""

    server_name: str
    socket_dir: str
    socket: Annotated[str, Meta(description="the web server's upstream path, or auto: read from its configuration")] = "auto"
    listen: Annotated[str, Meta(description="the path on which the application must listen")]
    allowed_sockets: Annotated[list[str], Meta(description="names in socket_dir that belong to other applications")]
    retired_sockets: Annotated[
        list[str],
        Meta(description="names in socket_dir that only this site's past used: moved aside when dead"),
    ] = []
    vhosts: Annotated[str, Meta(description="the web server's generated configuration, readable by the account")]
    urls: list[Url]
    search_path: Annotated[str, Meta(description="a search that Solr must answer")]
    probe_path: Annotated[str, Meta(description="a cheap page for the prober")]
    slow_path: Annotated[str, Meta(description="a page that takes some seconds, for the prober; empty: none")] = ""
    save_path: Annotated[str, Meta(description="path and fields that the prober posts, to save something; empty: none")] = ""
    release_header: Annotated[
        str, Meta(description="a header in which the application names its release, for the prober; empty: none")
    ] = ""
    ca_file: str | None = None
    resolve: Annotated[dict[str, str], Meta(description="names that are not asked of DNS")] = {}


class Repository(Model, frozen=True, kw_only=True):
    """Where the application's code is."""

    url: str
    branch: str
    legacy_branch: str
    reviewed_url: Annotated[str | None, Meta(description="where changes are reviewed, if not at url")] = None


class Limits(Model, frozen=True, kw_only=True):
    """What the tool may take of hosts that it shares with others."""

    entries: Annotated[int, Meta(description="files and folders that anything may walk at a time")] = 200_000
    attic_gib: Annotated[float, Meta(description="GiB in the attic above which a run moves nothing more aside")] = 4.0
    spare_mib: Annotated[int, Meta(description="MiB of memory that must stay free for others beside two copies")] = 512
    probe_per_second: Annotated[float, Meta(description="pages that the prober asks for; the rest is less often")] = 10.0


class Waiver(Model, frozen=True, kw_only=True):
    """A statement that may fail for a while."""

    id: str
    why: Annotated[str, Meta(min_length=1)]
    until: date


class Inventory(Model, frozen=True, kw_only=True):
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
    soak_days: Annotated[int, Meta(ge=0, le=3650, description="days after the cutover before old things are retired")]
    may: Annotated[list[Permission], Meta(description="what the tool may do by itself")]
    waivers: list[Waiver] = []
    limits: Limits = Limits()
    name: Annotated[str, Meta(description="the target's name; filled in by the loader")] = ""
    file: Annotated[str, Meta(description="the file it was read from; filled in by the loader")] = ""

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
