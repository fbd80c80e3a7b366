"""Patches of the repository's files: pure functions from texts to the texts that change.

They keep everything that they do not mean: comments, order, options of a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from facts.repo.config_files import gemfile_ruby, lock_ruby, plain_version, setting, unicorn
from facts.repo.git import stage_config, unicorn_config, unit_file
from hosts.schema import Inventory

Files = Mapping[str, str]
Patch = Callable[[Files, Inventory, str], dict[str, str]]
"""From files by path, the inventory and the wanted Ruby to the files that become other ones. A file that is not there is
not made."""

DRIVES = re.compile(r"""(systemctl\b[^\n]*?\b(start|stop|restart)\b['",\s]+(?:--user['",\s]+)?)([\w@.-]+\.service)""")
ORDER = ("restart_solr", "reindex_sunspot", "restart_unicorn")
BUNDLE_PATH = '-> { shared_path.join("bundle-#{fetch(:rvm_ruby_version)}") }'


def with_setting(ruby: str, name: str, value: str) -> str:
    """Let ``set :name`` set `value`, a Ruby expression; appended if it is not set yet."""
    line = f"set :{name}, {value}"
    pattern = re.compile(rf"^(\s*)set\s*\(?\s*:{name}\s*,.*$", re.MULTILINE)
    if pattern.search(ruby):
        return pattern.sub(lambda found: found[1] + line, ruby, count=1)
    return ruby.rstrip("\n") + f"\n{line}\n"


def with_call(ruby: str, name: str, value: str) -> str:
    """Let the configuration call ``name 'value'`` once, with the options that the first such line has."""
    kept: list[str] = []
    done = False
    for line in ruby.splitlines():
        found = re.match(rf"""^(\s*{name}\s*\(?\s*)(?:["'][^"']*["']|[a-z_]\w*)(.*)$""", line)
        if not found:
            kept.append(line)
        elif not done:
            kept.append(f"{found[1]}'{value}'{found[2]}")
            done = True
    if not done:
        kept.append(f"{name} '{value}'")
    return "\n".join(kept) + "\n"


def with_directive(unit: str, section: str, name: str, value: str) -> str:
    """Let a unit file say ``name=value`` once, in its section; `section` must exist."""
    kept: list[str] = []
    place: int | None = None
    inside = False
    for line in unit.splitlines():
        if re.match(rf"^\s*{name}\s*=", line):
            if inside and place is None:
                place = len(kept)
            continue
        kept.append(line)
        if line.strip().startswith("["):
            inside = line.strip() == f"[{section}]"
    kept.insert(_end_of(kept, section) if place is None else place, f"{name}={value}")
    return "\n".join(kept) + "\n"


def _end_of(lines: list[str], section: str) -> int:
    start = next((n for n, line in enumerate(lines) if line.strip() == f"[{section}]"), len(lines) - 1)
    end = start + 1
    for number in range(start + 1, len(lines)):
        if lines[number].strip().startswith("["):
            break
        if lines[number].strip():
            end = number + 1
    return end


def without_directive(unit: str, name: str) -> str:
    """A unit file without a directive."""
    return "".join(line for line in unit.splitlines(keepends=True) if not re.match(rf"^\s*{name}\s*=", line))


def _changed(files: Files, path: str, change: Callable[[str], str]) -> dict[str, str]:
    text = files.get(path)
    if text is None:
        return {}
    new = change(text)
    return {path: new} if new != text else {}


def _to_target_stage(text: str, inv: Inventory) -> str:
    for old in inv.legacy_stages:
        text = re.sub(rf"{re.escape(old)}(?![\w-])", inv.stage, text)
    return text


def deploy_tasks(files: Files, inv: Inventory, _ruby: str) -> dict[str, str]:
    """deploy.rb drives the app's unit instead of the legacy ones."""
    stem = inv.app.unit.removesuffix(".service")

    def change(text: str) -> str:
        for unit in inv.app.legacy_units:
            text = re.sub(rf"(?<![\w-]){re.escape(unit.removesuffix('.service'))}(?![\w-])", stem, text)
        # A verb that drives another unit only is the app's; beside the app's own line it is somebody's intention.
        driven = {verb for _, verb, unit in DRIVES.findall(text) if unit == inv.app.unit}
        return DRIVES.sub(lambda found: found[0] if found[2] in driven else found[1] + inv.app.unit, text)

    return _changed(files, "config/deploy.rb", change)


def stage(files: Files, inv: Inventory, _ruby: str) -> dict[str, str]:
    """The target stage's server, tree and branch."""

    def change(text: str) -> str:
        server = re.compile(r"""^(\s*server\s*\(?\s*["'])(?:[^"'@]*@)?[^"']*""", re.MULTILINE)
        text = server.sub(rf"\g<1>{inv.stages.server}", text, count=1)
        for name, value in (("deploy_to", inv.stage), ("branch", inv.repository.branch)):
            if setting(text, name) != value:
                text = with_setting(text, name, f"'{value}'")
        return text

    return _changed(files, stage_config(inv), change)


def ruby(files: Files, inv: Inventory, wanted: str) -> dict[str, str]:
    """One Ruby in Gemfile, lock and stage, and a folder of gems for it alone."""

    def gemfile(text: str) -> str:
        if gemfile_ruby(text) == wanted:
            return text
        return re.sub(r"""^(\s*ruby\s*\(?\s*["'])[^"']*""", rf"\g<1>{wanted}", text, count=1, flags=re.MULTILINE)

    def lock(text: str) -> str:
        if lock_ruby(text) == wanted:
            return text
        return re.sub(r"^(RUBY VERSION\n\s+ruby )\S+", rf"\g<1>{wanted}", text, flags=re.MULTILINE)

    def rvm(text: str) -> str:
        same = plain_version(setting(text, "rvm_ruby_version")) == wanted
        return text if same else with_setting(text, "rvm_ruby_version", f"'{wanted}'")

    def bundle_path(text: str) -> str:
        value = setting(text, "bundle_path") or ""
        return text if "rvm_ruby_version" in value or wanted in value else with_setting(text, "bundle_path", BUNDLE_PATH)

    def pin(text: str) -> str:
        return text if plain_version(text) == wanted else f"{wanted}\n"

    return {
        **_changed(files, "Gemfile", gemfile),
        **_changed(files, "Gemfile.lock", lock),
        **_changed(files, ".ruby-version", pin),
        **_changed(files, stage_config(inv), rvm),
        **_changed(files, "config/deploy.rb", bundle_path),
    }


def unicorn_home(files: Files, inv: Inventory, _ruby: str) -> dict[str, str]:
    """unicorn's working directory, pid file and socket."""

    def change(text: str) -> str:
        text = _to_target_stage(text, inv)
        seen = unicorn(text)
        if seen.working_directory != inv.current:
            text = with_call(text, "working_directory", inv.current)
        if not (seen.pid or "").removeprefix(f"{inv.current}/").startswith("tmp/pids/"):
            text = with_call(text, "pid", "tmp/pids/unicorn.pid")
        if seen.listens != (inv.web.listen,):
            text = with_call(text, "listen", inv.web.listen)
        return text

    return _changed(files, unicorn_config(inv), change)


def units(files: Files, inv: Inventory, _ruby: str) -> dict[str, str]:
    """The unit files: host, paths, what log rotation acts on, a stop that lets requests finish."""
    host = inv.app_host.hostname

    def common(text: str) -> str:
        return with_directive(_to_target_stage(text, inv), "Unit", "ConditionHost", host)

    def app(text: str) -> str:
        text = without_directive(without_directive(common(text), "ExecStop"), "PIDFile")
        graceful = {"KillSignal": "SIGQUIT", "KillMode": "mixed", "TimeoutStopSec": str(max(70, inv.app.stop_timeout))}
        for name, value in graceful.items():
            text = with_directive(text, "Service", name, value)
        return text

    def logrotate(text: str) -> str:
        text = common(text)
        for unit in inv.app.legacy_units:
            text = text.replace(unit, inv.app.unit)
        if inv.app.unit not in text:
            text = with_directive(text, "Service", "ExecStartPost", f"/bin/systemctl restart --user {inv.app.unit}")
        return text

    return {
        **_changed(files, unit_file(inv.app.unit), app),
        **_changed(files, unit_file(inv.app.logrotate_unit), logrotate),
    }


def source(files: Files, inv: Inventory, _ruby: str) -> dict[str, str]:
    """deploy.rb fetches from the inventory's repository."""
    return _changed(files, "config/deploy.rb", lambda text: with_setting(text, "repo_url", f"'{inv.repository.url}'"))


def hooks(files: Files, _inv: Inventory, _ruby: str) -> dict[str, str]:
    """Solr and its index before the app: the hooks' lines change places, each stays as it is."""
    pattern = re.compile(r"""^\s*after\s*\(?\s*["':]+(?:deploy:)?publishing["']?\s*,\s*["':]+(?:\w+:)*(\w+)""")

    def change(text: str) -> str:
        lines = text.splitlines()
        found = {match[1]: number for number, line in enumerate(lines) if (match := pattern.match(line))}
        mine = {name: found[name] for name in ORDER if name in found}
        moved = [lines[number] for number in mine.values()]
        for place, line in zip(sorted(mine.values()), moved, strict=True):
            lines[place] = line
        return "\n".join(lines) + "\n"

    return _changed(files, "config/deploy.rb", change)


def leftovers(files: Files, inv: Inventory, _ruby: str) -> dict[str, str]:
    """No comment names what was retired. (The legacy stages' own files are taken away by the remedy.)"""
    words = [unit.removesuffix(".service") for unit in inv.app.legacy_units]
    words += [f"{inv.stages.root.rsplit('/', 1)[-1]}/{name}" for name in inv.stages.legacy]

    def change(text: str) -> str:
        lines = text.splitlines(keepends=True)
        return "".join(line for line in lines if not (line.lstrip().startswith("#") and any(word in line for word in words)))

    changed: dict[str, str] = {}
    for path in files:
        if path.endswith((".rb", ".service", ".timer")):
            changed |= _changed(files, path, change)
    return changed


PATCHES: Mapping[str, Patch] = {
    "REPO-1": deploy_tasks,
    "REPO-2": stage,
    "REPO-3": ruby,
    "REPO-4": unicorn_home,
    "REPO-5": units,
    "REPO-7": source,
    "REPO-8": leftovers,
    "REPO-9": hooks,
}
"""The patch of each statement about the repository's files."""

AFTER_MERGE = ("REPO-1", "REPO-2", "REPO-3", "REPO-4", "REPO-5", "REPO-9")
"""What a merge of the legacy branch brings with it and must be set right before anyone deploys it."""


def patched(files: Files, ids: Iterable[str], inv: Inventory, wanted: str) -> dict[str, str]:
    """The files that the patches of these statements change, one patch upon the other."""
    texts = dict(files)
    for id in ids:
        texts |= PATCHES[id](texts, inv, wanted)
    return {path: text for path, text in texts.items() if text != files.get(path)}
