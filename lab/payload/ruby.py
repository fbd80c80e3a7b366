"""Ruby as rvm lays it out, and gems as a gem server would give them; both real, both out of Debian's packages."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from lab.lab import Lab
from lab.machine import Machine
from lab.payload.places import HOME, USER
from lab.payload.render import HERE, tree_key

GEMS = ("rails", "unicorn", "nokogiri")
REPACK = HERE / "repack.rb"
GEMFILE = HERE / "app/Gemfile"


@dataclass(frozen=True)
class Ruby:
    """Debian's Ruby of one host: ``version`` such as 3.3.8, ``api`` such as 3.3.0 (the gem folder's name)."""

    version: str
    api: str

    @property
    def home(self) -> str:
        return f"{HOME}/.rvm/rubies/ruby-{self.version}"


def ruby_of(machine: Machine) -> Ruby:
    """What Ruby the host's Debian carries."""
    said = machine.run(["ruby", "-e", "print RUBY_VERSION, ' ', RbConfig::CONFIG['ruby_version']"]).stdout
    version, api = said.split()
    return Ruby(version, api)


def install_rvm(machine: Machine) -> None:
    """Put rvm's scripts into the shared home; Rubies come one by one with install_ruby."""
    for source, target, mode in (("scripts-rvm", "scripts/rvm", 0o644), ("bin-rvm", "bin/rvm", 0o755)):
        text = (HERE / "rvm" / source).read_text()
        machine.run(["mkdir", "-p", str(Path(f"{HOME}/.rvm/{target}").parent)], user=USER)
        machine.write(f"{HOME}/.rvm/{target}", text, mode=mode, owner="hkn:hkn")


def install_ruby(machine: Machine, ruby: Ruby, *, default: bool) -> None:
    """Give the shared home the host's own Ruby binary; the library that it needs is on that Debian release alone."""
    machine.run(
        f"""
        set -e
        mkdir -p {ruby.home}/bin
        cp "$(readlink -f /usr/bin/ruby)" {ruby.home}/bin/ruby
        # Debian's gems ask `env` for ruby3.3, say, which must be this Ruby too.
        ln -sf ruby {ruby.home}/bin/"$(basename "$(readlink -f /usr/bin/ruby)")"
        for name in bundle gem rake irb; do
          source=$(readlink -f /usr/bin/$name)
          {{ echo '#!{ruby.home}/bin/ruby'; tail -n +2 "$source"; }} > {ruby.home}/bin/$name
          chmod +x {ruby.home}/bin/$name
        done
        {f"ln -sfn ruby-{ruby.version} ~/.rvm/rubies/default" if default else ""}
        """,
        user=USER,
    )


def gems(lab: Lab, machine: Machine, ruby: Ruby) -> Path:
    """A folder with cache/*.gem and Gemfile.lock for the host's Debian release, made when it is missing."""
    packages = machine.run(["dpkg-query", "-W"]).stdout
    key = hashlib.sha256(f"{packages}{tree_key(REPACK, GEMFILE, Path(__file__))}".encode()).hexdigest()[:16]

    def build(target: Path) -> None:
        lab.say(f"making gems of Debian's packages on {machine.name} (once, about 10 s)")
        work = f"/home/.gems-{machine.name}"
        machine.write(f"{work}/repack.rb", REPACK.read_text())
        machine.write(f"{work}/Gemfile", GEMFILE.read_text().replace("@RUBY@", ruby.version))
        machine.run(
            f"""
            set -e
            cd {work}
            ruby -W0 repack.rb vendor/cache {" ".join(GEMS)}
            bundle config set --local path vendor/bundle
            bundle install --local --no-cache --quiet
            """,
            timeout=120,
        )
        inside = lab.home / f".gems-{machine.name}"
        shutil.copytree(inside / "vendor/cache", target / "cache")
        shutil.copy(inside / "Gemfile.lock", target)
        shutil.rmtree(inside)

    return lab.artefact("gems", f"{machine.name}-{key}", build)
