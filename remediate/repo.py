"""Remedies for the repository: clone, change one thing, commit, push as a fast-forward. Each push needs a permission."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from converge.errors import Unobservable
from converge.steps import Act, Aside, ByHand, Condition, Needless, NothingToDo, RemedyContext, Run, Step, Write
from facts.repo.config_files import gemfile_ruby, plain_version
from facts.repo.git import Repository, checkout_files, git_environment, repository
from hosts.schema import Inventory
from remediate.repo_patches import AFTER_MERGE, patched

CONTROL = "control"
OWN_FOLDER = Needless("it is a folder of this run's own")

IDENTITY = """
name=$(git config user.name) || name=$ACCOUNT
email=$(git config user.email) || email="$ACCOUNT@$(uname -n)"
export GIT_AUTHOR_NAME="$name" GIT_AUTHOR_EMAIL="$email" GIT_COMMITTER_NAME="$name" GIT_COMMITTER_EMAIL="$email"
"""

MERGE = """
git merge -q --no-ff -m {message} {legacy} || {{
  echo {failed} >&2
  exit 1
}}
"""


def head_is(inv: Inventory, sha: str) -> Condition:
    """The branch at the server is still where the plan saw it."""
    repo = inv.repository
    ask = f"git ls-remote {shlex.quote(repo.url)} refs/heads/{shlex.quote(repo.branch)} | cut -f1"
    return Condition(f"{repo.branch} at {repo.url} is at {sha[:8]}", f'{git_environment(inv)}\n[ "$({ask})" = {sha} ]')


def checkout(inv: Inventory, folder: str) -> str:
    """Shell that clones the branch into `folder`, or finds that it was done."""
    repo = inv.repository
    quoted = shlex.quote(folder)
    clone = f"git clone -q --branch {shlex.quote(repo.branch)} {shlex.quote(repo.url)} {quoted}"
    return f"{git_environment(inv)}\n[ -d {quoted}/.git ] || {clone} || exit 1\ncd {quoted} || exit 1\n"


def merge(ctx: RemedyContext) -> Iterator[Step]:
    """Merge the legacy branch, and in the same push set right what it would bring with it: its unit, tree and Ruby."""
    repo = ctx.inv.repository
    yield from _publish(
        ctx,
        "REPO-6",
        AFTER_MERGE,
        f"Return to {ctx.inv.stages.deploy}: unit, tree, Ruby and unit files as the app host needs them",
        merged=f"Merge branch '{repo.legacy_branch}'",
    )


def deploy_tasks(ctx: RemedyContext) -> Iterator[Step]:
    """Let deploy.rb drive the app's unit."""
    yield from _publish(ctx, "REPO-1", ["REPO-1"], f"Let deploys restart {ctx.inv.app.unit}, the unit that serves the site")


def stage(ctx: RemedyContext) -> Iterator[Step]:
    """Correct the target stage's server, tree and branch."""
    yield from _publish(ctx, "REPO-2", ["REPO-2"], f"Let {ctx.inv.stages.deploy} deploy to its own tree on the app host")


def ruby(ctx: RemedyContext) -> Iterator[Step]:
    """Name one Ruby everywhere, with gems of its own."""
    yield from _publish(ctx, "REPO-3", ["REPO-3"], "Name one Ruby everywhere, and keep its gems apart from other rubies'")


def unicorn(ctx: RemedyContext) -> Iterator[Step]:
    """Let unicorn work in the target stage."""
    yield from _publish(ctx, "REPO-4", ["REPO-4"], "Let unicorn run the release that was deployed, on the one socket")


def units(ctx: RemedyContext) -> Iterator[Step]:
    """Correct the unit files."""
    yield from _publish(
        ctx, "REPO-5", ["REPO-5"], "Fit the units to the app host, and let the app finish requests when it stops"
    )


def source(ctx: RemedyContext) -> Iterator[Step]:
    """Let deploy.rb fetch from the repository that is reviewed."""
    seen = ctx.read(repository)
    if ctx.inv.repository.reviewed_url and seen.reviewed_head != seen.head:
        raise ByHand("the two repositories differ: a person must bring them together (see the statement's message)")
    yield from _publish(ctx, "REPO-7", ["REPO-7"], "Deploy from the repository in which changes are reviewed")


def hooks(ctx: RemedyContext) -> Iterator[Step]:
    """Restart Solr before the app."""
    yield from _publish(ctx, "REPO-9", ["REPO-9"], "Restart Solr before the app, which looks for it only when it boots")


def leftovers(ctx: RemedyContext) -> Iterator[Step]:
    """Take the legacy stage out of the repository."""
    yield from _publish(
        ctx, "REPO-8", ["REPO-8"], f"Retire the stage {', '.join(ctx.inv.stages.legacy_deploy)}", retire=True
    )


def _publish(
    ctx: RemedyContext,
    id: str,
    patches: tuple[str, ...] | list[str],
    message: str,
    *,
    merged: str = "",
    retire: bool = False,
) -> Iterator[Step]:
    inv, seen = ctx.inv, ctx.read(repository)
    folder = f"{ctx.workdir}/{id.lower()}-{seen.head[:12]}"
    if seen.unmerged and not merged and id in AFTER_MERGE:
        raise NothingToDo(f"the merge of {inv.repository.legacy_branch} (REPO-6) sets it right in the same push")
    gone = seen.legacy_stages(inv) if retire else []
    if not merged and not gone and not patched(_texts(seen), patches, inv, _wanted(inv, _texts(seen))):
        raise ByHand(f"no patch changes anything on {seen.branch}: a person must look (see the statement's message)")
    here = head_is(inv, seen.head)
    yield _checkout_step(inv, id, folder, merged, here)
    texts = _checked_out(ctx, folder, _texts(seen, prefer_legacy=bool(merged)))
    texts = {path: text for path, text in texts.items() if path not in gone}
    changed = patched(texts, patches, inv, _wanted(inv, texts))
    acts: list[Act] = [Write(f"{folder}/{path}", text) for path, text in changed.items()]
    acts += [Aside(f"{folder}/{path}") for path in gone]
    if acts:
        what = ", ".join([*changed, *(f"{path} (taken away)" for path in gone)])
        merge = f"{id}/checkout: the texts are those of the merge, and where that brings them nothing is changed"
        after = merge if merged else ""
        yield Step(f"{id}/change", CONTROL, f"change {what} in the clone", tuple(acts), undo=OWN_FOLDER, after=after)
    yield from _push_steps(inv, id, folder, message, [*changed, *gone], merged, here)


def _checkout_step(inv: Inventory, id: str, folder: str, merged: str, here: Condition) -> Step:
    repo = inv.repository
    script = checkout(inv, folder)
    sentence = f"clone {repo.branch} of {repo.url}"
    if merged:
        failed = f"{repo.legacy_branch} does not merge into {repo.branch} by itself: a person must merge them"
        words = {"message": merged, "legacy": f"origin/{repo.legacy_branch}", "failed": failed}
        script += IDENTITY + MERGE.format(**{name: shlex.quote(text) for name, text in words.items()})
        sentence += f" and merge {repo.legacy_branch} into the clone"
    return Step(f"{id}/checkout", CONTROL, sentence, (Run(script),), when=(here,), undo=OWN_FOLDER, limit=600.0)


def _push_steps(
    inv: Inventory, id: str, folder: str, message: str, paths: list[str], merged: str, here: Condition
) -> Iterator[Step]:
    """Commit and push, in one step; where the push is a person's, the commit is made ready for it."""
    repo = inv.repository
    may = "merge" if merged else "push"
    begin = f"{git_environment(inv)}\n{IDENTITY}cd {shlex.quote(folder)} || exit 1\n"
    add = "git add -A -- " + " ".join(map(shlex.quote, paths)) + " || exit 1\n" if paths else ""
    commit = f"{add}git diff --cached --quiet || git commit -q -m {shlex.quote(message)} || exit 1\n"
    what = f"{merged + '; ' if merged else ''}{message}"
    where = f"push to {repo.branch} at {repo.url}"
    if may not in inv.may:
        yield Step(f"{id}/commit", CONTROL, f"commit in the clone: {what}", (Run(begin + commit),), undo=OWN_FOLDER)
    ref = f"HEAD:refs/heads/{shlex.quote(repo.branch)}"
    config = inv.connect.ssh_config
    ssh = f"-c core.sshCommand={shlex.quote(f'ssh -F {shlex.quote(config)}')} " if config else ""
    yield Step(
        id=f"{id}/push",
        host=CONTROL,
        sentence=f"commit and {where}: {what}" if may in inv.may else where,
        acts=(Run(begin + (commit if may in inv.may else "") + f"git push -q origin {ref}"),),
        when=(here,),
        undo="what was pushed is taken back by a commit (`git revert`) that is reviewed like any other",
        limit=300.0,
        may=may,
        typed=f"git {ssh}-C {shlex.quote(folder)} push origin {ref}",
    )


def _texts(seen: Repository, prefer_legacy: bool = False) -> dict[str, str]:
    """The branch's files; with `prefer_legacy`, what a merge will probably give."""
    texts = {path: text for (branch, path), text in seen.files.items() if branch == seen.branch}
    if prefer_legacy:
        texts |= {path: text for (branch, path), text in seen.files.items() if branch != seen.branch}
    return texts


def _checked_out(ctx: RemedyContext, folder: str, otherwise: dict[str, str]) -> dict[str, str]:
    """The clone's files, or while it does not exist (a plan) what they will probably be."""
    # The plan counts this as a miss: the folder is the run's own, so no statement can foresee it. It is a shell on this
    # machine and no round trip; and having been asked in the plan, it is foreseen when the clone is there.
    try:
        return ctx.read(checkout_files(folder))
    except Unobservable:
        return otherwise


def _wanted(inv: Inventory, texts: Mapping[str, str]) -> str:
    if inv.ruby.version != "auto":
        return inv.ruby.version
    version = plain_version(gemfile_ruby(texts.get("Gemfile", "")))
    if not version:
        raise ByHand("the Gemfile names no Ruby, and the inventory says ruby.version = auto: name it in one of them")
    return version
