"""Remedies for Ruby and gems: rebuild what does not link, run the app on the right Ruby, retire what is old."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from converge.steps import Aside, ByHand, Condition, Needless, NothingToDo, RemedyContext, Run, Step, Unit
from facts.repo.git import repository
from facts.ruby import Bundle, bundle, bundle_dirs, bundles_aside, old_bundles, wanted_ruby
from facts.units.states import masters, our_units
from remediate.cutover.conditions import same_units, starts_here
from remediate.cutover.steps import plain_restart_cost
from remediate.fs import real_folder, unused

INSTALL = r"""
cd "$CURRENT" || exit 1
export RAILS_ENV=production
rvm={rvm}
if [ -x "$rvm" ]; then
  set -- "$rvm" {version} do bundle install --quiet
else
  PATH={bin}:$PATH
  set -- bundle install --quiet
fi
"$@" --local || "$@"
"""


def restart(ctx: RemedyContext) -> Iterator[Step]:
    """Restart the app's unit, which stops gracefully, so that it runs on the release's Ruby."""
    unit = ctx.inv.app.unit
    seen = ctx.read(masters, ctx.at).of(ctx.read(our_units, ctx.at).app)
    if seen is None:
        raise NothingToDo(f"{unit} does not run: starting it is UNIT-5's remedy")
    yield Step(
        id="RUBY-2/restart",
        host=ctx.inv.app_host.name,
        sentence=f"restart {unit}, which runs on {seen.exe}, letting requests finish",
        acts=(Unit("daemon-reload"), Unit("restart", unit)),
        when=(
            Condition(f"the main process of {unit} is {seen.pid}", f'[ "$(prop "$UNIT" MainPID)" = {seen.pid} ]'),
            starts_here(unit),
            *same_units(ctx, [unit]),
        ),
        undo=Needless("the former process is gone; the unit runs what the current release asks for"),
        limit=180.0,
        interrupts=plain_restart_cost(ctx.inv),
        may="restart",
    )


def rebuild(ctx: RemedyContext) -> Iterator[Step]:
    """Move the gems that do not link here aside and install them anew, with the Ruby of the release.

    A release of another Ruby is not mended: the next deploy brings its own gems.
    """
    inv, seen = ctx.inv, ctx.read(bundle)
    version = wanted_ruby(inv, ctx.read(repository))
    if seen.ruby != version or not seen.path:
        raise NothingToDo(f"the deploy (DEP-1) makes gems for Ruby {version} of their own; the current release has none")
    gems = unlinked(seen, version)
    if not gems:
        raise NothingToDo("every extension links on this host")
    present = "\n".join(f"[ ! -e {shlex.quote(path)} ] || aside {shlex.quote(path)}" for path in gems)
    yield Step(
        id="RUBY-3/aside",
        host=inv.app_host.name,
        sentence=f"move aside what does not link: {', '.join(path.rsplit('/', 1)[-1] for path in gems[:6])}",
        acts=(Run(present),),
        when=(real_folder(seen.path), *(unused(path) for path in gems if path.rsplit("/", 1)[0] == f"{seen.path}/ruby")),
    )
    exe = inv.ruby.executable.replace("{version}", version)
    rvm = exe.split("/rubies/")[0] + "/bin/rvm"
    script = INSTALL.format(rvm=shlex.quote(rvm), version=shlex.quote(version), bin=shlex.quote(exe.rsplit("/", 1)[0]))
    yield Step(
        id="RUBY-3/install",
        host=inv.app_host.name,
        sentence=f"install the release's gems for Ruby {version} on this host",
        acts=(Run(script),),
        undo=Needless("gems that link are kept; those moved aside come back with the step before"),
        limit=900.0,
    )


def unlinked(seen: Bundle, version: str) -> list[str]:
    """What must go so that Bundler installs it anew: gems with a broken extension (folder, build, specification), whole
    folders of another Ruby's interface version, and files that belong to no gem."""
    paths: list[str] = []
    abi = ".".join(version.split(".")[:2]) + ".0"
    for broken in seen.broken:
        found = re.match(rf"({re.escape(seen.path)}/ruby/([^/]+))/(gems|extensions)/(.+)", broken.path)
        if not found or (found[3] == "extensions" and found[4].count("/") < 3):
            paths.append(broken.path)
        elif found[2] != abi:
            paths.append(found[1])
        elif found[3] == "gems":
            paths += _gem(found[1], found[4].split("/")[0], "*/*")
        else:
            platform, interface, gem = found[4].split("/")[:3]
            paths += _gem(found[1], gem, f"{platform}/{interface}")
    return list(dict.fromkeys(paths))


def _gem(top: str, gem: str, built: str) -> list[str]:
    extension = [] if "*" in built else [f"{top}/extensions/{built}/{gem}"]
    return [f"{top}/gems/{gem}", *extension, f"{top}/specifications/{gem}.gemspec"]


def retire_bundles(ctx: RemedyContext) -> Iterator[Step]:
    """Move the folders of gems aside that the current release does not use, if no process uses them either.

    A process that uses some that were moved aside before is left to a person: it may be anybody's.
    """
    current = ctx.read(bundle)
    dirs = ctx.read(bundle_dirs)
    old = old_bundles(dirs, current, wanted_ruby(ctx.inv, ctx.read(repository)))
    used = ctx.read(bundles_aside)
    if not current.path or not (old or used):
        raise NothingToDo("there are no older gems" if current.path else "it is not known which gems the release uses")
    for found in old:
        yield Step(
            id=f"RUBY-5/retire-{found.path.rsplit('/', 1)[-1]}",
            host=ctx.inv.app_host.name,
            sentence=f"move the old gems in {found.path} aside",
            acts=(Aside(found.path),),
            when=(real_folder(found.path), unused(found.path)),
            may="retire",
        )
    if used:
        pids = sorted({pid for found in used for pid in found.pids})
        raise ByHand(
            f"see what still uses gems that were moved aside (`ps -fp {','.join(map(str, pids))}`), and end it, or restart"
            " the unit that runs it"
        )
