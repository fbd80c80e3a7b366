"""The repository that is deployed from: heads, files, what is unmerged. Asked on the control machine, over git.

A clone into a temporary folder of the control machine is made and taken away by the same script; it is shallow, and
without large files where the server can leave them out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from converge.errors import Unobservable
from converge.readings import Context, Raw, Reading, reading
from facts.parsing import observed, records
from hosts.schema import Inventory

RECENT = 30
"""How many commits of the branch are looked at."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit with the paths that it touched (empty where they were not asked for)."""

    sha: str
    subject: str
    touched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mention:
    """A line of the branch that names something which is to be retired."""

    path: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Repository:
    """The repository as its server has it. Heads are commit ids; `recent` is the branch's own line, newest first."""

    url: str
    branch: str
    head: str
    legacy_head: str | None
    reviewed_head: str | None
    files: Mapping[tuple[str, str], str]
    unmerged: tuple[Commit, ...]
    recent: tuple[Commit, ...]
    mentions: tuple[Mention, ...]

    def file(self, path: str, branch: str | None = None) -> str | None:
        """A file's text on the branch (or another that was read); None if it is not there."""
        return self.files.get((branch or self.branch, path))

    def legacy_stages(self, inv: Inventory) -> list[str]:
        """Configurations of the stages to be retired: on the branch, or on a legacy branch that is still to be merged."""
        branches = [self.branch] + ([inv.repository.legacy_branch] if self.unmerged else [])
        paths = legacy_stage_configs(inv)
        return [path for path in paths if any(self.file(path, branch) is not None for branch in branches)]


def unicorn_config(inv: Inventory) -> str:
    """Path of the web server's configuration for the target stage, in the repository."""
    return f"config/unicorn/{inv.stages.target}.rb"


def stage_config(inv: Inventory) -> str:
    """Path of Capistrano's configuration of the target stage."""
    return f"config/deploy/{inv.stages.deploy}.rb"


def legacy_stage_configs(inv: Inventory) -> list[str]:
    """Paths of Capistrano's configurations of the stages to be retired."""
    return [f"config/deploy/{name}.rb" for name in inv.stages.legacy_deploy]


def unit_file(name: str) -> str:
    """Path of a unit's file in the repository."""
    return f"config/systemd/{name}"


def watched_files(inv: Inventory) -> list[str]:
    """Every file of the repository that a statement or a remedy looks at."""
    units = [inv.app.unit, inv.app.logrotate_unit, inv.app.logrotate_timer]
    stages = [stage_config(inv), *legacy_stage_configs(inv)]
    fixed = ["config/deploy.rb", "Gemfile", "Gemfile.lock", ".ruby-version"]
    return [*fixed, *stages, unicorn_config(inv), *map(unit_file, units)]


def leftovers_pattern(inv: Inventory) -> str:
    """Extended regular expression for lines that name what is to be retired."""
    root = inv.stages.root.rstrip("/").rsplit("/", 1)[-1]
    words = [re.escape(unit.removesuffix(".service")) for unit in inv.app.legacy_units]
    words += [re.escape(f"{root}/{name}") + r"($|[^A-Za-z0-9_-])" for name in inv.stages.legacy]
    words.append(f"branch, .{re.escape(inv.repository.legacy_branch)}.( |$)")
    return "|".join(words).replace(r"\-", "-")


def git_environment(inv: Inventory) -> str:
    """Shell that lets git speak to the repository's server without ever asking a person."""
    ssh = "ssh -o BatchMode=yes -o ConnectTimeout=10"
    if inv.connect.ssh_config:
        ssh += f" -F {shlex.quote(inv.connect.ssh_config)}"
    return f"export LC_ALL=C GIT_TERMINAL_PROMPT=0 GIT_SSH_COMMAND={shlex.quote(ssh)}"


# One login brings the branches and what is looked at of them; another address is asked meanwhile.
_FETCH = r"""
command -v git >/dev/null || { echo "git is not installed on the control machine" >&2; exit 3; }
tmp=$(mktemp -d) || exit 5
asking=
trap 'kill $asking 2>/dev/null; rm -rf "$tmp"' EXIT
# PIPE too: who asked may have ended before the answer, and a shell that dies of that runs no trap.
trap 'exit 6' HUP INT PIPE TERM
if [ -n "$reviewed" ]; then
  git ls-remote --heads "$reviewed" "refs/heads/$branch" >"$tmp/reviewed" &
  asking=$!
fi
mkdir "$tmp/files" && cd "$tmp/files" && git init -q --bare . && git remote add origin "$url" || exit 5
git -c gc.auto=0 -c maintenance.auto=false fetch -q --no-tags --depth="$recent" --filter=blob:limit=100k origin \
  "+refs/heads/$branch:refs/heads/$branch" "+refs/heads/$legacy*:refs/heads/$legacy*" 2>"$tmp/said"
rc=$?
cat "$tmp/said" >&2
if [ "$rc" != 0 ]; then
  grep -qi "couldn't find remote ref refs/heads/$branch\$" "$tmp/said" || exit 4
  echo end
  exit 0
fi
git for-each-ref --format='head%09%(refname:lstrip=2)%09%(objectname)' "refs/heads/$branch" "refs/heads/$legacy" \
  >"$tmp/heads" || exit 4
cat "$tmp/heads"
old=$(awk -F '\t' -v name="$legacy" '$2 == name { print name }' "$tmp/heads")
"""

# Bytes are counted, because a file's last line may have no end and its text may look like anything.
_SHOW = r"""
for ref in "$branch" ${old:+"$legacy"}; do
  for path in $files; do
    printf '%s:%s file\t%s\t%s\n' "$ref" "$path" "$ref" "$path"
  done
done >"$tmp/names"
git cat-file --batch='%(objecttype) %(objectsize) %(rest)' <"$tmp/names" >"$tmp/shown" || exit 4
LC_ALL=C awk '
  left > 1 { if (shown) print "|" $0; left -= length($0) + 1; next }
  left == 1 { left = 0; next }
  / missing$/ { next }
  $2 ~ /^[0-9]+$/ { shown = $1 == "blob"; left = $2 + 1; if (shown) { sub(/^blob [0-9]+ /, ""); print }; next }
  { strange = 1; exit }
  END { exit strange || left != 0 }' "$tmp/shown" || { echo "git cat-file gave an answer that is none" >&2; exit 4; }
git log --first-parent -m --no-renames --name-only --format='commit%x09%H%x09%s' -n "$recent" "$branch" >"$tmp/log" || exit 4
awk '/^commit\t/ { print; next } NF { print "touched\t" $0 }' "$tmp/log"
git grep -nIE "$pattern" "$branch" -- Capfile Gemfile run README.md config lib script bin >"$tmp/grep"
[ $? -le 1 ] || exit 4
awk 'NR <= 40 { print "grep\t" $0 }' "$tmp/grep"
"""

# A shallow history may lack the commit at which the branches met, so what looks unmerged in it is asked of the whole one.
_UNMERGED = r"""
unmerged() { git log --format='unmerged%x09%H%x09%s' -n 50 "$branch..$legacy" >"$tmp/unmerged" || exit 4; }
if [ -n "$old" ]; then
  unmerged
  if [ -s "$tmp/unmerged" ] && [ -s shallow ]; then
    git fetch -q --no-tags --unshallow --filter=tree:0 origin "refs/heads/$branch" "refs/heads/$legacy" || exit 4
    unmerged
  fi
  cat "$tmp/unmerged"
fi
if [ -n "$reviewed" ]; then
  wait "$asking"
  asking=
  awk '{ print "reviewed\t" $1 }' "$tmp/reviewed"
fi
echo end
"""


def _ask(c: Context) -> str:
    repo = c.inv.repository
    variables = {
        "url": repo.url,
        "branch": repo.branch,
        "legacy": repo.legacy_branch,
        "reviewed": repo.reviewed_url or "",
        "recent": str(RECENT),
        "files": " ".join(watched_files(c.inv)),
        "pattern": leftovers_pattern(c.inv),
    }
    set_variables = "\n".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    return "\n".join([git_environment(c.inv), set_variables, _FETCH, _SHOW, _UNMERGED])


@reading(_ask, on="control", limit=120.0, changes="control")
def repository(raw: Raw, c: Context) -> Repository:
    """The repository: heads of its branches, the files that matter on each, what is unmerged, what names retired things."""
    lines = observed(raw, c.at).lines
    if not lines or lines[-1] != "end":
        raise Unobservable(f"{c.inv.repository.url}: the answer is cut off")
    files, rest = split_files(lines[:-1])
    return _assemble(files, Raw(0, "\n".join(rest), ""), c)


def split_files(lines: list[str]) -> tuple[dict[tuple[str, str], str], list[str]]:
    """The files of an answer by branch and path (a ``file`` line, its text with a bar before each line), and the rest."""
    texts: dict[tuple[str, str], list[str]] = {}
    rest: list[str] = []
    current: list[str] | None = None
    for line in lines:
        if line.startswith("file\t"):
            _, branch, path = line.split("\t")
            current = texts.setdefault((branch, path), [])
        elif line.startswith("|") and current is not None:
            current.append(line[1:])
        else:
            rest.append(line)
    return {key: "".join(f"{line}\n" for line in text) for key, text in texts.items()}, rest


def _assemble(files: Mapping[tuple[str, str], str], raw: Raw, c: Context) -> Repository:
    repo = c.inv.repository
    heads: dict[str, str] = {}
    reviewed: str | None = None
    recent: list[tuple[str, str, list[str]]] = []
    unmerged: list[Commit] = []
    mentions: list[Mention] = []
    plain = [line for line in raw.lines if not line.startswith(("grep\t", "commit\t", "unmerged\t"))]
    for line in raw.lines:
        kind, _, text = line.partition("\t")
        if kind == "grep":
            mentions.append(_mention(text, c.at))
        elif kind in {"commit", "unmerged"}:
            sha, _, subject = text.partition("\t")
            if kind == "commit":
                recent.append((sha, subject, []))
            else:
                unmerged.append(Commit(sha, subject))
        elif kind == "touched" and recent:
            recent[-1][2].append(text)
    for kind, fields in records(Raw(0, "\n".join(plain), ""), c.at, head=2, reviewed=1, touched=1):
        if kind == "head":
            heads[fields[0]] = fields[1]
        elif kind == "reviewed":
            reviewed = fields[0]
    if repo.branch not in heads:
        raise Unobservable(f"{repo.url} has no branch {repo.branch}: is repository.branch in the inventory right?")
    line_of_branch = tuple(Commit(sha, subject, tuple(touched)) for sha, subject, touched in recent)
    old_head = heads.get(repo.legacy_branch)
    head = heads[repo.branch]
    return Repository(
        repo.url, repo.branch, head, old_head, reviewed, files, tuple(unmerged), line_of_branch, tuple(mentions)
    )


def _mention(text: str, at: str) -> Mention:
    parts = text.split(":", 3)
    if len(parts) != 4 or not parts[2].isdigit():
        raise Unobservable(f"{at}: a line of git grep cannot be understood: {text[:200]!r}")
    return Mention(parts[1], int(parts[2]), parts[3])


@cache
def checkout_files(folder: str) -> Reading[dict[str, str]]:
    """A reading of the watched files in a checkout on the control machine; `Unobservable` while there is no checkout."""

    def ask(c: Context) -> str:
        names = " ".join(map(shlex.quote, watched_files(c.inv)))
        return (
            f"cd {shlex.quote(folder)} || exit 3\n"
            f"for path in {names}; do\n"
            '  [ -f "$path" ] || continue\n'
            "  printf 'file\\t-\\t%s\\n' \"$path\"; sed 's/^/|/' \"$path\"\n"
            "done"
        )

    def parse(raw: Raw, c: Context) -> dict[str, str]:
        files, _ = split_files(observed(raw, c.at).lines)
        return {path: text for (_, path), text in files.items()}

    return Reading(f"checkout {folder}", "control", ask, parse, changes="control")
