"""Ruby on the app host: the installed rubies, the running one, and the gems of the current release."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from converge.errors import Unobservable
from converge.readings import Context, Raw, reading
from facts.parsing import number, observed, pairs, records, within_entries
from facts.repo.config_files import gemfile_ruby, plain_version
from facts.repo.git import Repository
from hosts.schema import Inventory


def wanted_ruby(inv: Inventory, repository: Repository) -> str:
    """The Ruby that must run the application: the inventory's, or the one that the branch's Gemfile asks for.

    Raises:
        Unobservable: the inventory leaves it to the Gemfile, which names none.
    """
    if inv.ruby.version != "auto":
        return inv.ruby.version
    version = plain_version(gemfile_ruby(repository.file("Gemfile") or ""))
    if not version:
        raise Unobservable(f"the Gemfile on {repository.branch} names no Ruby, and the inventory says ruby.version = auto")
    return version


@dataclass(frozen=True, slots=True)
class Ruby:
    """One installed Ruby: what ``ruby -v`` left with and printed, and the libraries that it does not find on this host."""

    path: str
    version: str
    rc: int
    words: str
    missing: tuple[str, ...]

    @property
    def runs(self) -> bool:
        """Whether it starts, and is the version that its folder is named after."""
        return self.rc == 0 and not self.missing and self.words.startswith(f"ruby {self.version}")


_EACH_RUBY = r"""
for r in %s; do
  [ -e "$r" ] || continue
  words=$("$r" -v 2>&1); rc=$?
  printf 'ruby\t%%s\t%%s\t%%s\t%%s\n' "$r" "$rc" "$(printf %%s "$words" | head -n 1 | tr '\t' ' ')" \
    "$(ldd "$r" 2>/dev/null | awk '/not found/ { print $1 }' | sort -u | tr '\n' ' ')"
done
echo end
"""


@reading(lambda c: _EACH_RUBY % '"*"'.join(map(shlex.quote, c.inv.ruby.executable.split("{version}"))).replace('"*"', "*"))
def rubies(raw: Raw, c: Context) -> Mapping[str, Ruby]:
    """The rubies that are installed for the account, by version."""
    pattern = re.escape(c.inv.ruby.executable).replace(re.escape("{version}"), "(.+)")
    found: dict[str, Ruby] = {}
    lines = observed(raw, c.at).lines
    if not lines or lines[-1] != "end":
        raise Unobservable(f"{c.at}: the list of rubies is cut off")
    for _, (path, rc, words, missing) in records(Raw(0, "\n".join(lines[:-1]), ""), c.at, ruby=4):
        named = re.fullmatch(pattern, path)
        if named:
            status = number(rc, f"the status of {path}", c.at)
            found[named[1]] = Ruby(path, named[1], status, words, tuple(missing.split()))
    return found


@dataclass(frozen=True, slots=True)
class Broken:
    """A compiled extension that does not find a library on this host."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """The gems of the current release. `path` is where Bundler looks, resolved (empty: no bundle); `configured` as written.

    `abis` are the folders below ``ruby/``, `built_by` the versions of Ruby that built its extensions, where that was logged.
    """

    configured: str
    path: str
    ruby: str
    abis: tuple[str, ...]
    extensions: int
    broken: tuple[Broken, ...]
    built_by: tuple[str, ...]


# What lies elsewhere than where Ruby loads from, a gem's own test data for one, need not be a library at all.
# /bin/sh goes along so that ldd always prints the name above each file's libraries.
_BUNDLE = r"""
command -v ldd >/dev/null || { echo "ldd is not installed" >&2; exit 69; }
configured=$(sed -n 's/^BUNDLE_PATH: *//p' "$CURRENT/.bundle/config" 2>/dev/null | tr -d "\"'")
case $configured in "") path= ;; /*) path=$configured ;; *) path=$CURRENT/$configured ;; esac
[ -z "$path" ] || path=$(readlink -e "$path")
printf 'configured\t%s\npath\t%s\n' "$configured" "$path"
printf 'ruby\t%s\n' "$(sed -n "s/^ *ruby[ (]*['\"]\([^'\"]*\).*/\1/p" "$CURRENT/Gemfile" 2>/dev/null | head -n 1)"
if [ -n "$path" ] && [ -d "$path/ruby" ]; then
  ls "$path/ruby" | awk '{ print "abi\t" $0 }'
  walked=$(find "$path/ruby" -name '*.so' -print -o -printf '\n' 2>&1 | head -n "$((most + 1))" | awk -v most="$most" '
    /^find: / { gsub(/\t/, " "); print "unread\t" $0; next }
    /./ { print "so\t" $0 }
    END { if (NR > most) print "over\t" most }')
  printf '%s\n' "$walked" | awk '/^(unread|over)\t/'
  case $walked in *over"$(printf '\t')$most") exit 0 ;; esac
  printf '%s\n' "$walked" | awk 'sub(/^so\t/, "")' | tr '\n' '\0' | xargs -0 -r ldd /bin/sh 2>&1 | awk '
    /^[^ \t].*:$/ { f = substr($0, 1, length($0) - 1); if (f ~ /\.so$/) n++; next }
    /not a dynamic executable/ {
      if (f ~ /\/(extensions|gems\/[^\/]+\/lib)\/.*\.so$/) print "unread\t" f " is nothing that ldd can read here"
      next
    }
    /not found/ { sub(/^[ \t]+/, ""); gsub(/\t/, " "); print "broken\t" f "\t" $0 }
    END { print "extensions\t" n + 0 }'
  grep -rhoE --include=gem_make.out --include=mkmf.log 'rubies/ruby-[0-9][0-9A-Za-z.-]*' \
    "$path"/ruby/*/extensions 2>/dev/null | sort -u | awk '{ sub(/.*ruby-/, ""); print "builder\t" $0 }'
fi
printf 'end\tend\n'
"""


@reading(lambda c: f"most={c.inv.limits.entries}\n{_BUNDLE}", limit=90.0)
def bundle(raw: Raw, c: Context) -> Bundle:
    """The current release's gems, and whether what is compiled in them links on this host."""
    single = {"configured": "", "path": "", "ruby": "", "extensions": "0"}
    several: dict[str, list[str]] = {"abi": [], "builder": []}
    broken: dict[str, str] = {}
    ended = False
    widths = dict.fromkeys([*single, *several, "unread", "over", "end"], 1)
    rows = records(observed(raw, c.at), c.at, broken=2, **widths)
    for kind, fields in rows:
        if kind in single:
            single[kind] = fields[0]
        elif kind in several:
            several[kind].append(fields[0])
        elif kind == "over":
            within_entries(True, f"the bundle {single['path']}", c)
        elif kind == "unread":
            raise Unobservable(f"{c.at}: {fields[0]}")
        elif kind == "broken":
            broken.setdefault(fields[0], fields[1])
        ended = kind == "end"
    if not ended:
        raise Unobservable(f"{c.at}: the reading of the bundle is cut off")
    return Bundle(
        single["configured"],
        single["path"],
        plain_version(single["ruby"]) or "",
        tuple(several["abi"]),
        number(single["extensions"], "the number of extensions", c.at),
        tuple(Broken(path, why) for path, why in sorted(broken.items())),
        tuple(several["builder"]),
    )


@dataclass(frozen=True, slots=True)
class BundleCheck:
    """What ``bundle check`` says in the current release: its exit status and its words."""

    rc: int
    words: str

    @property
    def is_complete(self) -> bool:
        """Whether every gem is there."""
        return self.rc == 0


# Without --dry-run Bundler may write the lock file anew.
_CHECK = r"""
cd "$CURRENT" 2>/dev/null || { printf 'rc=127\nwords=%%s is not there\n' "$CURRENT"; exit 0; }
version=$(sed -n "s/^ *ruby[ (]*['\"][^0-9]*\([0-9.]*\).*/\1/p" Gemfile 2>/dev/null | head -n 1)
exe=$(printf '%%s' %s | sed "s/{version}/$version/")
rvm=${exe%%/rubies/*}/bin/rvm
if [ -x "$rvm" ]; then words=$("$rvm" "$version" do bundle check --dry-run 2>&1); rc=$?
else words=$(PATH=$(dirname "$exe"):$PATH; bundle check --dry-run 2>&1); rc=$?; fi
printf 'rc=%%s\nwords=%%s\n' "$rc" "$(printf '%%s' "$words" | tr '\n' ' ' | cut -c 1-600)"
"""


@reading(lambda c: _CHECK % shlex.quote(c.inv.ruby.executable), limit=60.0)
def bundle_check(raw: Raw, c: Context) -> BundleCheck:
    """Whether Bundler finds every gem of the current release, asked with the release's own Ruby."""
    seen = pairs(observed(raw, c.at).lines)
    return BundleCheck(number(seen.get("rc", ""), "the status of bundle check", c.at), seen.get("words", "").strip())


@dataclass(frozen=True, slots=True)
class BundleDir:
    """A folder of gems in the shared folder, with the processes of the account that use it."""

    path: str
    pids: tuple[int, ...]


def old_bundles(dirs: Iterable[BundleDir], current: Bundle, wanted: str) -> list[BundleDir]:
    """The folders of gems that nothing needs once the wanted Ruby runs: all but the current release's, and that one too
    while the current release is still one for another Ruby."""
    return [found for found in dirs if found.path != current.path or current.ruby != wanted]


@reading(
    r"""
for d in "$SHARED"/bundle*; do
  [ -d "$d" ] || continue
  pids=$({ grep -lF " $d/" /proc/[0-9]*/maps 2>/dev/null | cut -d/ -f3
    ls -l /proc/[0-9]*/cwd 2>/dev/null | grep -F -e "-> $d/" | sed 's|.*/proc/\([0-9]*\)/.*|\1|'; } | sort -un | tr '\n' ' ')
  printf 'dir\t%s\t%s\n' "$d" "$pids"
done
printf 'end\tend\n'
""",
    limit=60.0,
)
def bundle_dirs(raw: Raw, c: Context) -> tuple[BundleDir, ...]:
    """Every folder of gems beside the releases, the current one's included."""
    rows = list(records(observed(raw, c.at), c.at, dir=2, end=1))
    if not rows or rows[-1][0] != "end":
        raise Unobservable(f"{c.at}: the list of bundles is cut off")
    return tuple(
        BundleDir(path, tuple(number(pid, "a process", c.at) for pid in pids.split())) for _, (path, pids) in rows[:-1]
    )


# Whole folders of gems only: single gems that were moved aside to be built anew are no older bundle, and the application
# may go on with what it had loaded of them until it restarts.
_ASIDE = r"""
{ grep -F " $ATTIC/" /proc/[0-9]*/maps /dev/null 2>/dev/null
  ls -l /proc/[0-9]*/cwd 2>/dev/null | sed -n 's|.* \(/proc/[0-9]*/cwd\) -> \(.*\)|\1 \2/|p'
} | awk -v attic=" $ATTIC/" '
  (at = index($0, attic)) && match(path = substr($0, at + 1), /\/ruby\/[0-9.]+\/(gems|extensions|bundler)\//) {
    split($0, words, "/"); print "used\t" substr(path, 1, RSTART - 1) "\t" words[3]
  }' | sort -u
printf 'end\tend\t\n'
"""


@reading(_ASIDE, limit=60.0)
def bundles_aside(raw: Raw, c: Context) -> tuple[BundleDir, ...]:
    """Folders of gems in the attic that a process of the account still uses."""
    rows = list(records(observed(raw, c.at), c.at, used=2, end=2))
    if not rows or rows[-1][0] != "end":
        raise Unobservable(f"{c.at}: the list of bundles in the attic is cut off")
    pids: dict[str, list[int]] = {}
    for _, (path, pid) in rows[:-1]:
        pids.setdefault(path, []).append(number(pid, "a process", c.at))
    return tuple(BundleDir(path, tuple(sorted(found))) for path, found in pids.items())
