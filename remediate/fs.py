"""Remedies for the stages' trees: copies add and never replace, links are switched, nothing is deleted."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator

from converge.steps import (
    Act,
    Aside,
    ByHand,
    Condition,
    Link,
    Mode,
    Needless,
    NothingToDo,
    RemedyContext,
    Run,
    Step,
    Supplant,
)
from facts.fs import SHOWN, Trees, data_folders, stranded, stray_links, trees
from hosts.schema import Inventory

PART = ".cv-part"
"""What the hidden name of a copy ends with until it is whole: always the same, so that a repeat writes over what is left."""

ADDED = Needless(
    "copies were added, nothing was replaced, and the originals are where they were; a copy that was cut off is beside its"
    f" place as .NAME{PART}, until the step is done again"
)

# Under a name of its own first: a copy that is cut off must not look like the file.
COPY = r"""
cd {source} || exit 1
find . -type f -exec sh -c 'to=$1; shift
  for f; do
    [ -e "$to/$f" ] || [ -L "$to/$f" ] && continue
    t=$to/${{f%/*}}/.${{f##*/}}{part}
    if [ -L "$t" ] || {{ [ -e "$t" ] && [ ! -f "$t" ]; }}; then echo "$t is in the way" >&2; exit 1; fi
    mkdir -p "$to/${{f%/*}}" && cp -fp "$f" "$t" && mv -nT "$t" "$to/$f" || exit 1
  done' copy {target} {{}} +
"""


def real_folder(path: str) -> Condition:
    """The path is a folder itself, no link to one."""
    quoted = shlex.quote(path)
    return Condition(f"{path} is a real folder", f"[ -d {quoted} ] && [ ! -L {quoted} ]")


def as_seen(seen: Trees, path: str) -> Condition:
    """What is at the path is still of the kind that the plan saw, a link still with the same text."""
    found, quoted = seen.get(path), shlex.quote(path)
    if found is None:
        return Condition(f"{path} does not exist", f"[ ! -e {quoted} ] && [ ! -L {quoted} ]")
    if found.is_link:
        return Condition(f"{path} is a link to {found.target}", f'[ "$(readlink {quoted})" = {shlex.quote(found.target)} ]')
    if found.is_dir:
        return real_folder(path)
    return Condition(f"{path} is a {found.kind}", f"[ -f {quoted} ] && [ ! -L {quoted} ]")


def unused(path: str) -> Condition:
    """No process of the account works in the folder, runs a program of it or has a library of it loaded."""
    prefix = path.rstrip("/") + "/"
    links = (
        "ls -l /proc/[0-9]*/cwd /proc/[0-9]*/exe 2>/dev/null | sed -n 's|.* -> \\(.*\\)|\\1/|p' | "
        f"grep -qF -e {shlex.quote(prefix)}"
    )
    maps = f"grep -qF -e {shlex.quote(f' {prefix}')} /proc/[0-9]*/maps 2>/dev/null"
    return Condition(f"no process uses {path}", f"! {{ {links}; }} && ! {maps}")


def complete_shared(ctx: RemedyContext) -> Iterator[Step]:
    """Make the linked folders that are missing. A missing linked file holds a secret: only a person has it."""
    seen, inv = ctx.read(trees), ctx.inv
    top = seen.get(inv.shared)
    if top is None or not top.is_dir:
        raise ByHand(f"{seen.describe(inv.shared)}: a person must find out where the data is before anything is made")
    missing = [path for name in inv.stages.linked_dirs if not seen.get(path := f"{inv.shared}/{name}")]
    if not missing:
        raise ByHand("what lacks is not a folder: a person must restore it, from the officers' password store or a backup")
    yield Step(
        id="FS-1/folders",
        host=ctx.inv.app_host.name,
        sentence=f"make {len(missing)} missing folders in {inv.shared}",
        acts=(Run("mkdir -p " + " ".join(map(shlex.quote, missing))),),
        when=(real_folder(inv.shared), *(as_seen(seen, path) for path in missing)),
        undo=Needless("an empty folder does no harm"),
    )


def join_shared(ctx: RemedyContext) -> Iterator[Step]:
    """Make each legacy stage's shared folder a link to the target stage's, after copying what only the former has."""
    seen, inv = ctx.read(trees), ctx.inv
    for stage in inv.legacy_stages:
        path = f"{stage}/shared"
        found = seen.get(path)
        if not seen.get(stage) or (found and found.is_link and found.resolved == inv.shared):
            continue
        act: Act = Link(path, inv.shared)
        when: tuple[Condition, ...] = ()
        if found and not found.is_link:
            yield from _rescue_shared(ctx, path)
            act, when = Supplant(path, inv.shared), (rescued(inv, path),)
        yield Step(
            id=f"FS-2/link-{posixpath.basename(stage)}",
            host=inv.app_host.name,
            sentence=f"make {path} a link to {inv.shared}" + (", the folder itself moved aside" if when else ""),
            acts=(act,),
            when=(as_seen(seen, path), real_folder(inv.shared), *when),
            limit=600.0 if when else 60.0,
        )


# A log grows while it is looked at; of everything else the contents count.
_RESCUED = r"""
left=$(find {source} -type f -exec sh -c 'top=$1 to=$2 same=$3; shift 3
  for f; do
    there=$to/${{f#"$top"/}}
    if [ "$same" = no ]; then [ -e "$there" ]; else cmp -s "$f" "$there"; fi || echo left
  done' rescued {source} {target} {same} {{}} +) || exit 1
[ -z "$left" ] || exit 1
"""


def rescued(inv: Inventory, path: str) -> Condition:
    """Every file in the data folders of a legacy shared folder is in the target stage's: what came since the copy, too."""
    tests = []
    for name in data_folders(inv):
        source, target = shlex.quote(f"{path}/{name}"), shlex.quote(f"{inv.shared}/{name}")
        same = "no" if name.split("/")[0] == "log" else "yes"
        test = _RESCUED.format(source=source, target=target, same=same)
        tests.append(f"if [ -d {source} ] && [ ! -L {source} ]; then{test}fi")
    return Condition(f"every file in {path} is in {inv.shared}", "\n".join(tests))


def _rescue_shared(ctx: RemedyContext, path: str) -> Iterator[Step]:
    data = ctx.read(stranded)
    clashes = [file.path for file in data.differing if file.path.startswith(f"{path}/")]
    if clashes or data.count > SHOWN:
        raise ByHand(
            f"{path} and {ctx.inv.shared} have different versions of {', '.join(clashes[:5]) or 'very many files'}: "
            "a person must say which ones count"
        )
    names = [name for name in data_folders(ctx.inv) if f"{path}/{name}" in data.folders]
    for name in names:
        yield _copy(ctx.inv, f"FS-2/copy-{name.replace('/', '-')}", f"{path}/{name}", f"{ctx.inv.shared}/{name}")


def rescue(ctx: RemedyContext) -> Iterator[Step]:
    """Copy stranded files into the shared folder. What exists in two versions is left to a person."""
    data, inv = ctx.read(stranded), ctx.inv
    wanted = [
        folder
        for folder in data.folders
        if data.count > SHOWN or any(file.path.startswith(f"{folder}/") for file in data.missing)
    ]
    if not wanted:
        raise ByHand("the files exist in two versions each: a person must say which ones count")
    for folder in wanted:
        name = next(name for name in data_folders(inv) if folder.endswith(f"/{name}"))
        short = folder.removeprefix(f"{inv.stages.root}/").replace("/", "-")
        yield _copy(inv, f"FS-4/copy-{short}", folder, f"{inv.shared}/{name}")


def _copy(inv: Inventory, id: str, source: str, target: str) -> Step:
    return Step(
        id=id,
        host=inv.app_host.name,
        sentence=f"copy what only {source} has into {target}",
        acts=(Run(COPY.format(source=shlex.quote(source), target=shlex.quote(target), part=PART)),),
        when=(real_folder(source), real_folder(target)),
        undo=ADDED,
        limit=600.0,
    )


def straightened(inv: Inventory, path: str, target: str) -> str | None:
    """Where a link that leads through a legacy stage should lead instead; None if it cannot be told."""
    end = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    for stage in inv.legacy_stages:
        if f"{end}/".startswith(f"{stage}/"):
            return inv.stage + end[len(stage) :]
    return None


def straighten(ctx: RemedyContext) -> Iterator[Step]:
    """Let each link lead into the target stage directly, where the same thing is there."""
    inv = ctx.inv
    links = ctx.read(stray_links)
    for number, link in enumerate(links, 1):
        target = straightened(inv, link.path, link.target)
        if target is None:
            continue
        path, new = shlex.quote(link.path), shlex.quote(target)
        yield Step(
            id=f"FS-5/link-{number}",
            host=inv.app_host.name,
            sentence=f"let {link.path} lead to {target}",
            acts=(Link(link.path, target),),
            when=(
                Condition(
                    f"{link.path} is a link to {link.target}", f'[ "$(readlink {path})" = {shlex.quote(link.target)} ]'
                ),
                Condition(f"{target} exists", f"[ -e {new} ]"),
            ),
        )


def close_secrets(ctx: RemedyContext) -> Iterator[Step]:
    """Take group's and others' permissions from the linked files."""
    seen, inv = ctx.read(trees), ctx.inv
    paths = [f"{inv.shared}/{name}" for name in inv.stages.linked_files]
    wide = [found for path in paths if (found := seen.get(path)) and found.mode & 0o066 and not found.is_link]
    if not wide:
        raise NothingToDo("no linked file is open to others")
    yield Step(
        id="FS-7/close",
        host=inv.app_host.name,
        sentence="let only the account read " + ", ".join(found.path for found in wide),
        acts=tuple(Mode(found.path, found.mode & 0o700) for found in wide),
        when=tuple(as_seen(seen, found.path) for found in wide),
    )


def retire_legacy(ctx: RemedyContext) -> Iterator[Step]:
    """Move the legacy stages' trees aside; the link to the shared folder goes first, so that nothing follows it."""
    seen, inv = ctx.read(trees), ctx.inv
    left = [stage for stage in inv.legacy_stages if seen.get(stage)]
    if not left:
        raise NothingToDo("no tree of a legacy stage is left")
    for stage in left:
        shared = seen.get(f"{stage}/shared")
        if shared:
            # A folder of its own has data in it, and is none any more when FS-2 holds.
            later = Condition(f"{shared.path} is a link", f"[ -L {shlex.quote(shared.path)} ]")
            yield Step(
                id=f"FS-8/unlink-{posixpath.basename(stage)}",
                host=inv.app_host.name,
                sentence=f"move the link {shared.path} aside (the shared folder stays)",
                acts=(Aside(shared.path),),
                when=(as_seen(seen, shared.path) if shared.is_link else later, unused(stage)),
                may="retire",
                after="" if shared.is_link else f"{shared.path} is a real folder now: FS-2 makes it a link",
            )
        yield Step(
            id=f"FS-8/retire-{posixpath.basename(stage)}",
            host=inv.app_host.name,
            sentence=f"move {stage} aside, now that nothing uses it",
            acts=(Aside(stage),),
            when=(
                real_folder(stage),
                Condition(f"{stage}/shared is gone", f"[ ! -e {shlex.quote(stage)}/shared ]"),
                unused(stage),
            ),
            may="retire",
        )
