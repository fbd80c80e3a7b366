"""The deploy: Capistrano's own, from a clone of the branch, with the app's unit held back until the cutover.

The gate needs no permission: it starts and stops nothing, and is what makes a deploy by anybody harmless meanwhile.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from converge.steps import Act, ByHand, Condition, RemedyContext, Run, Sign, Step, Unit, Write
from facts.deploy import stage
from facts.repo.config_files import without_comments
from facts.repo.git import Repository, repository
from facts.sockets import LISTENER_PIDS
from facts.units.states import GATE, GATE_SHUT, masters, our_units
from hosts.schema import Inventory
from remediate.cutover.steps import plain_restart_cost
from remediate.repo import CONTROL, OWN_FOLDER, checkout, head_is
from remediate.solr import moves, search_gap
from remediate.units import stop_idle

BY_HAND = "deploy"
"""Name of the script in the run's folder that a person runs instead of the tool."""

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
"$@" {stage} deploy{nobody}
"""

DEPLOYED = """
was={was} want={want}
now=$(readlink "$CURRENT") now=${{now%/}} now=${{now##*/}}
revision=$(cat "$CURRENT/REVISION" 2>/dev/null) last=$(tail -n 1 "$STAGE/revisions.log" 2>/dev/null)
case "$last" in *"deployed as release $now by "*) logged=and ;; *) logged='but not yet' ;; esac
echo "the current release is ${{now:-none}} of ${{revision:-no revision}}, $logged the last of revisions.log"
[ "$now" != "$was" ] && [ "$revision" = "$want" ] && [ "$logged" = and ]
"""

SERVES_NOBODY = f"""{LISTENER_PIDS}
main=$(prop "$UNIT" MainPID)
[ "${{main:-0}}" -le 1 ] || {{
  held=$(listener_pids "$(upstream)" && listener_pids "$LISTEN") && ! printf '%s\\n' "$held" | grep -qx "$main"
}}
"""


def hold_back(ctx: RemedyContext) -> Iterator[Step]:
    """Close the gate before the app's unit, while a legacy one serves."""
    ours = ctx.read(our_units)
    main = next((p for p in ctx.read(masters).all if p.pid == ours.app.main_pid and p.pid > 1), None)
    if main is not None and main.unit != ours.app.name:
        raise ByHand(
            f"{ours.host}'s manager took process {main.pid} of {main.unit or main.cgroup} for the main process of "
            f"{ours.app.name}: stopping or restarting that would end what serves. Deploy nothing, and ask the hoster's staff"
        )
    yield _gate(ctx.inv, "DEP-5/gate")


def deploy(ctx: RemedyContext) -> Iterator[Step]:
    """Deploy the branch to the target stage. While the app's unit does not serve it is gated: its restart does nothing."""
    inv, seen = ctx.inv, ctx.read(repository)
    serving = _serves(ctx)
    if not serving and not any(unit.runs for unit in ctx.read(our_units).legacy):
        yield _gate(inv, "DEP-1/gate")
    yield from stop_idle(ctx, "DEP-1")
    folder = f"{ctx.workdir}/deploy-{seen.head[:12]}"
    here = head_is(inv, seen.head)
    was = ctx.read(stage).release
    if READS_SECRETS.search(without_comments(seen.file("config/deploy.rb") or "")):
        yield _cap(inv, seen, "", here, was, serving)
        return
    acts: list[Act] = [Run(checkout(inv, folder))]
    if "deploy" not in inv.may:
        acts.append(Write(f"{ctx.workdir}/{BY_HAND}", _script(inv, folder, nobody="")))
    yield Step(
        id="DEP-1/checkout",
        host=CONTROL,
        sentence=f"clone {seen.branch} of {seen.url}, to deploy from it",
        acts=tuple(acts),
        when=(here,),
        undo=OWN_FOLDER,
        limit=600.0,
        after="the repository's statements: what is deployed is the branch as they leave it",
    )
    yield _cap(inv, seen, folder, here, was, serving)


def _serves(ctx: RemedyContext) -> bool:
    """Whether the app's unit has a process of its own, so that the deploy's restart is the right thing."""
    at = ctx.inv.app_host.name
    main = ctx.read(masters, at).of(ctx.read(our_units, at).app)
    return main is not None and main.unit == ctx.inv.app.unit


def _gate(inv: Inventory, id: str) -> Step:
    unit = inv.app.unit
    return Step(
        id=id,
        host=inv.app_host.name,
        sentence=f"hold {unit} back until the cutover: a deploy's own restart would bind the socket twice",
        acts=(
            Write(f"$XDG_RUNTIME_DIR/systemd/user/{unit}.d/{GATE}", f"[Unit]\n{GATE_SHUT}\n"),
            Unit("daemon-reload"),
        ),
        when=(Condition(f"{unit} serves nobody", SERVES_NOBODY),),
    )


def _script(inv: Inventory, folder: str, nobody: str = " </dev/null") -> str:
    """Capistrano's deploy from a checkout; with `nobody` nobody is there to be asked."""
    config = inv.connect.ssh_config
    return CAP.format(
        folder=shlex.quote(folder),
        ssh_config=f"HKN_SSH_CONFIG={shlex.quote(config)}" if config else "",
        stage=shlex.quote(inv.stages.deploy),
        nobody=nobody,
    )


def _cap(inv: Inventory, seen: Repository, folder: str, here: Condition, was: str, serving: bool) -> Step:
    """The deploy; `folder` is the checkout, empty if it must be one of a person's own."""
    sign = DEPLOYED.format(was=shlex.quote(was), want=shlex.quote(seen.head))
    typed = "sh " + shlex.quote(f"{folder.rpartition('/')[0]}/{BY_HAND}")
    person = ""
    if not folder:
        typed = f"bundle exec cap {inv.stages.deploy} deploy"
        person = (
            "deploy.rb reads config/secrets.yml on the machine that deploys, and this tool handles no secrets: the line "
            f"below is for your own checkout of {seen.branch} at {seen.head[:8]}"
        )
    return Step(
        id="DEP-1/deploy",
        host=CONTROL,
        sentence=f"deploy {seen.branch} with `cap {inv.stages.deploy} deploy`"
        + (f", which restarts {inv.app.unit}" if serving else f"; {inv.app.unit} stays as it is")
        + f"; it moves Solr to the new release: {moves(inv)}",
        acts=(Run(_script(inv, folder or ".")),),
        when=(here,),
        undo="the release stays; what serves the site is decided by the cutover, whose undo is the way back "
        "(`cap deploy:rollback` would go to a release whose Ruby does not run on this host). Database migrations that it "
        "ran are not taken back: the old application goes on with the database as they left it",
        limit=1800.0,
        interrupts=plain_restart_cost(inv) if serving else None,
        search_gap=search_gap(inv),
        may="deploy",
        person=person,
        typed=typed,
        sign=Sign(inv.app_host.name, sign),
        serves=serving,
    )
