"""What the repository's files say: the few lines of Ruby and of unit files that the statements speak of."""

from __future__ import annotations

import re
from dataclasses import dataclass


def without_comments(ruby: str) -> str:
    """Ruby text without the lines that are nothing but a comment."""
    return "\n".join(line for line in ruby.splitlines() if not line.lstrip().startswith("#"))


def setting(ruby: str, name: str) -> str | None:
    """What Capistrano's ``set :name, VALUE`` sets: the value without its quotes, or the expression; None without it."""
    found = re.search(rf"^\s*set\s*\(?\s*:{name}\s*,\s*(.+?)\s*\)?\s*$", without_comments(ruby), re.MULTILINE)
    if not found:
        return None
    quoted = re.match(r"""(['"])(.*?)\1""", found[1])
    return quoted[2] if quoted and "#{" not in quoted[2] else found[1]


def server(ruby: str) -> str | None:
    """The first server that a stage's configuration names."""
    text = without_comments(ruby)
    found = re.search(r"""^\s*server\s*\(?\s*['"]([^'"]+)['"]""", text, re.MULTILINE)
    found = found or re.search(r"""^\s*role\s*\(?\s*:\w+\s*,[^'"\n]*['"]([^'"]+)['"]""", text, re.MULTILINE)
    found = found or re.search(r"""^\s*role\s*\(?\s*:\w+\s*,\s*%w.([^\s\]})]+)""", text, re.MULTILINE)
    return found[1].rsplit("@", 1)[-1] if found else None


def plain_version(text: str | None) -> str | None:
    """``ruby-2.5.1@hkn`` or ``2.5.1p57`` as ``2.5.1``; None if there is no version in it."""
    found = re.search(r"\d+\.\d+(?:\.\d+)?", text or "")
    return found[0] if found else None


def gemfile_ruby(gemfile: str) -> str | None:
    """The Ruby that a Gemfile asks for, as it is written (an operator such as ``~>`` included)."""
    found = re.search(r"""^\s*ruby\s*\(?\s*['"]([^'"]+)['"]""", without_comments(gemfile), re.MULTILINE)
    return found[1] if found else None


def lock_ruby(lock: str) -> str | None:
    """The Ruby in a Gemfile.lock's RUBY VERSION, without its patch level; None if it names none."""
    found = re.search(r"^RUBY VERSION\n\s+ruby (\S+)", lock, re.MULTILINE)
    return plain_version(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class UnicornConfig:
    """The lines of unicorn's configuration that say where it lives."""

    working_directory: str | None
    pid: str | None
    listens: tuple[str, ...]


def unicorn(ruby: str) -> UnicornConfig:
    """Read unicorn's configuration; a simple variable (``root = "..."``) is put in for its name."""
    text = without_comments(ruby)
    variables = dict(re.findall(r"""^\s*([a-z_]\w*)\s*=\s*["']([^"']+)["']\s*$""", text, re.MULTILINE))

    def values(name: str) -> tuple[str, ...]:
        found = re.findall(rf"""^\s*{name}\s*\(?\s*(?:["']([^"'\n]+)["']|([a-z_]\w*))""", text, re.MULTILINE)
        return tuple(_filled(quoted or variables.get(word, word), variables) for quoted, word in found)

    return UnicornConfig(next(iter(values("working_directory")), None), next(iter(values("pid")), None), values("listen"))


def _filled(text: str, variables: dict[str, str]) -> str:
    return re.sub(r"#\{(\w+)\}", lambda found: variables.get(found[1], found[0]), text)


def after_publishing(ruby: str) -> tuple[str, ...]:
    """Names of the tasks that run after a release was published, in their order, without their namespace."""
    found = re.findall(
        r"""^\s*after\s*\(?\s*["':]+(?:deploy:)?publishing["']?\s*,\s*["':]+([\w:]+)""", without_comments(ruby), re.MULTILINE
    )
    return tuple(name.rsplit(":", 1)[-1] for name in found)


def directives(unit: str) -> dict[str, list[str]]:
    """A unit file's directives; an empty assignment clears what came before, as systemd has it."""
    found: dict[str, list[str]] = {}
    for line in unit.splitlines():
        if "=" not in line or line.lstrip().startswith(("#", ";")):
            continue
        name, _, value = line.partition("=")
        values = found.setdefault(name.strip(), [])
        if value.strip():
            values.append(value.strip())
        else:
            values.clear()
    return {name: values for name, values in found.items() if values}


def same_repository(one: str, other: str) -> bool:
    """Whether two addresses name one repository, however they are written (scp form, ssh, https, with or without .git)."""
    return _canonical(one) == _canonical(other)


def _canonical(url: str) -> str:
    text = re.sub(r"^[a-z+]+://", "", url.strip())
    text = re.sub(r"^[^@/]+@", "", text)
    text = re.sub(r"^([^/:]+):(?!\d+/)/?", r"\1/", text)
    return text.removesuffix("/").removesuffix(".git").lower()
