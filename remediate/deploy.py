"""The deploy: Capistrano's own, from a clone of the branch, with the app's unit held back until the cutover."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from converge.steps import Condition, NothingToDo, RemedyContext, Run, Step, Unit, Write
from facts.repo import Repository, repository
from facts.repo_files import without_comments
from facts.units import GATE, masters, our_units
from hosts.schema import Inventory
from remediate.repo import CONTROL, OWN_FOLDER, checkout, head_is

READS_SECRETS = re.compile(r"(?:File|YAML|IO|ERB)\b.*config/secrets\.yml")

CAP = r"""
cd {folder} || exit 1
export USER="${{USER:-$(id -un)}}" {ssh_config}
if bundle exec cap --version >/dev/null 2>&1; then set -- bundle exec cap
elif command -v cap >/dev/null; then set -- cap
else
  echo "Capistrano is not installed on this machine: bundle install in a checkout, or apt-get install capistrano" >&2
  exit 1
fi
"$@" {stage} deploy </dev/null
"""


def deploy(ctx: RemedyContext) -> Iterator[Step]:
    """Deploy the branch to the target stage. While another unit serves, the app's is gated: its restart does nothing."""
    inv, seen = ctx.inv, ctx.read(repository)
    if READS_SECRETS.search(without_comments(seen.file("config/deploy.rb") or "")):
        raise NothingToDo(
            "deploy.rb reads config/secrets.yml on the machine that deploys, and this tool handles no secrets: run "
            f"`bundle exec cap {inv.stages.deploy} deploy` from your own checkout of {seen.branch} ({seen.head[:8]})"
        )
    serving = _serves(ctx)
    if not serving:
        yield _gate(inv)
    folder = f"{ctx.workdir}/deploy-{seen.head[:12]}"
    here = head_is(inv, seen.head)
    yield Step(
        id="DEP-1/checkout",
        host=CONTROL,
        sentence=f"clone {seen.branch} of {seen.url}, to deploy from it",
        acts=(Run(checkout(inv, folder)),),
        when=(here,),
        undo=OWN_FOLDER,
        limit=600.0,
        after="the repository's statements: what is deployed is the branch as they leave it",
    )
    yield _cap(inv, seen, folder, here, serving)


def _serves(ctx: RemedyContext) -> bool:
    """Whether the app's unit has a process of its own, so that the deploy's restart is the right thing."""
    at = ctx.inv.app_host.name
    main = ctx.read(masters, at).of(ctx.read(our_units, at).app)
    return main is not None and main.unit == ctx.inv.app.unit


def _gate(inv: Inventory) -> Step:
    unit = inv.app.unit
    return Step(
        id="DEP-1/gate",
        host=inv.app_host.name,
        sentence=f"hold {unit} back until the cutover: the deploy's own restart would bind the socket twice",
        acts=(
            Write(f"$XDG_RUNTIME_DIR/systemd/user/{unit}.d/{GATE}", "[Unit]\nConditionPathExists=%t/hkn-go\n"),
            Unit("daemon-reload"),
        ),
        when=(Condition(f"{unit} does not run", f'[ "$(prop {shlex.quote(unit)} MainPID)" = 0 ]'),),
        may="deploy",
    )


def _cap(inv: Inventory, seen: Repository, folder: str, here: Condition, serving: bool) -> Step:
    config = inv.connect.ssh_config
    script = CAP.format(
        folder=shlex.quote(folder),
        ssh_config=f"HKN_SSH_CONFIG={shlex.quote(config)}" if config else "",
        stage=shlex.quote(inv.stages.deploy),
    )
    return Step(
        id="DEP-1/deploy",
        host=CONTROL,
        sentence=f"deploy {seen.branch} with `cap {inv.stages.deploy} deploy`"
        + (f", which restarts {inv.app.unit}" if serving else f"; {inv.app.unit} stays as it is"),
        acts=(Run(script),),
        when=(here,),
        undo="the release stays; what serves the site is decided by the cutover, whose undo is the way back "
        "(`cap deploy:rollback` would go to a release whose Ruby does not run on this host)",
        limit=1800.0,
        interrupts=10.0 if serving else None,
        may="deploy",
    )
