"""What tests of several rooms ask for."""

from __future__ import annotations

import msgspec
import pytest

from hosts.schema import Inventory


@pytest.fixture
def inventory() -> Inventory:
    """An inventory with an app host and a legacy host."""
    return msgspec.convert(
        {
            "format": 1,
            "name": "demo",
            "file": "demo.toml",
            "hosts": {
                "new": {"role": "app", "address": "new", "hostname": "new", "name": "new"},
                "old": {"role": "legacy", "address": "old", "hostname": "old", "name": "old"},
            },
            "account": {"user": "me", "home": "/home/me", "home_fs": ["nfs4"], "group": "users"},
            "app": {
                "unit": "app.service",
                "legacy_units": ["app-old.service"],
                "logrotate_unit": "rotate.service",
                "logrotate_timer": "rotate.timer",
                "logrotate_config": "/home/me/rotate.conf",
                "logrotate_state": "/home/me/rotate.state",
            },
            "stages": {
                "root": "/home/me/app",
                "target": "prod",
                "legacy": ["migrate"],
                "deploy": "production",
                "legacy_deploy": ["migrate"],
                "linked_dirs": ["log"],
                "linked_files": [],
                "server": "app",
            },
            "ruby": {"version": "auto", "executable": "/home/me/ruby-{version}"},
            "solr": {"port": 8983, "stop_port": 7983, "core": "production", "pid_file": "a.pid", "fallback_log": "lame"},
            "web": {
                "server_name": "app.example",
                "socket_dir": "/srv/apps/me",
                "listen": "/srv/apps/me/app.sock",
                "allowed_sockets": [],
                "vhosts": "/etc/nginx/virtual",
                "urls": [],
                "search_path": "/search",
                "probe_path": "/",
            },
            "repository": {"url": "git@forge:app.git", "branch": "master", "legacy_branch": "migrate"},
            "soak_days": 0,
            "may": [],
        },
        Inventory,
    )
