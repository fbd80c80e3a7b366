"""Whether a target's hosts can be reached and are what the inventory says. Nothing of the application is judged here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from converge.errors import ConvergeError
from converge.transport import Ask, Completed, SshLink, Unreached, connect
from hosts.schema import Host, Inventory

Mark = Literal["ok", "fails", "note", "not reached"]
LIMIT = 30.0
STAGES = ("configuration", "name", "route", "banner", "host key", "login", "session")
"""In the order in which a connection passes them."""

WORKING_MANAGER = {"running", "degraded", "starting", "maintenance"}
TOOLS = ("systemctl", "curl", "ss", "git")

# Plain sh, and nothing that a host of 2015 lacks. One "key=value" a line; a value may be empty.
QUESTIONS = r"""
export LC_ALL=C XDG_RUNTIME_DIR="/run/user/$(id -u)" PATH="$PATH:/usr/sbin:/sbin"
say() { printf '%s=%s\n' "$1" "$2"; }
say hostname "$(hostname)"
say user "$(id -un)"
say uid "$(id -u)"
say groups "$(id -nG)"
say home "$HOME"
say release "$(. /etc/os-release; printf '%s' "$VERSION_ID")"
say system "$(. /etc/os-release; printf '%s' "$PRETTY_NAME")"
say systemctl "$(systemctl --version 2>/dev/null | head -n 1)"
say curl "$(curl --version 2>/dev/null | head -n 1 | cut -d' ' -f1,2)"
say ss "$(ss -V 2>/dev/null | head -n 1)"
say git "$(git --version 2>/dev/null)"
say manager "$(systemctl --user is-system-running 2>&1 | head -n 1)"
if [ -e "/var/lib/systemd/linger/$(id -un)" ]; then say linger yes; else say linger no; fi
"""


@dataclass(frozen=True)
class Finding:
    """One line of the table: what was asked, what was seen, and the one mend if it is wrong."""

    host: str
    what: str
    mark: Mark
    seen: str
    mend: str = ""


@dataclass
class Checked:
    """All findings of a target's hosts."""

    findings: list[Finding] = field(default_factory=list)

    @property
    def unreachable(self) -> bool:
        """Whether some host could not be asked at all."""
        return any(f.mark == "fails" and f.what in STAGES for f in self.findings)

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return all(f.mark in {"ok", "note"} for f in self.findings)


def check_host(inv: Inventory, host: Host, ask: Ask | None) -> Iterator[Finding]:
    """Reach one host and ask what it is. Raises nothing foreseeable: every failure is a finding."""
    try:
        link = connect(inv, host, ask=ask)
    except Unreached as problem:
        yield from _not_reached(host, problem)
        return
    try:
        yield from _reached(host, link)
        done = link.exec(QUESTIONS + _ruby_question(inv), limit=LIMIT)
        yield from judged(inv, host, answers(done))
    except ConvergeError as problem:
        yield Finding(host.name, "session", "fails", str(problem), "Run the check again.")
    finally:
        link.close()


def answers(done: Completed) -> dict[str, str]:
    """What the host said, by question."""
    pairs = (line.partition("=") for line in done.out.decode("utf-8", "replace").splitlines())
    return {key: value.strip() for key, equals, value in pairs if equals}


def judged(inv: Inventory, host: Host, said: Mapping[str, str]) -> Iterator[Finding]:
    """The host's answers against the inventory."""
    elsewhere = f"Look where {host.address} leads, or correct hosts.{host.name}.hostname."
    yield _equal(host, "hostname", said, host.hostname, elsewhere)
    yield _equal(host, "user", said, inv.account.user, "Log in as that account: connect.user, or User in ssh_config.")
    uid = "" if inv.account.uid is None else str(inv.account.uid)
    yield _equal(host, "uid", said, uid, "Correct account.uid.")
    yield _equal(host, "home", said, inv.account.home, "Correct account.home, or ask those who run the host.")
    yield _release(host, said)
    yield from _services(inv, host, said)
    for tool in TOOLS:
        seen = said.get(tool, "")
        yield Finding(host.name, tool, "ok" if seen else "fails", seen or "not found", "" if seen else _missing(inv, tool))
    yield _ruby(inv, host, said)


def _reached(host: Host, link: SshLink) -> Iterator[Finding]:
    yield Finding(host.name, "name", "ok", link.way.address)
    through = f" through {', '.join(link.way.jumps)}" if link.way.jumps else ""
    yield Finding(host.name, "route", "ok", link.way.at + through)
    yield Finding(host.name, "host key", "ok", link.fingerprint)
    yield Finding(host.name, "login", "ok", f"{link.way.user} by {link.login}")


def _not_reached(host: Host, problem: Unreached) -> Iterator[Finding]:
    failed = STAGES.index(problem.stage)
    shown = ("name", "route", "host key", "login")
    for stage in shown:
        if STAGES.index(stage) < failed:
            yield Finding(host.name, stage, "ok", "")
    yield Finding(host.name, problem.stage, "fails", problem.seen, problem.mend)
    for stage in shown:
        if STAGES.index(stage) > failed:
            yield Finding(host.name, stage, "not reached", "")


def _equal(host: Host, what: str, said: Mapping[str, str], expected: str, mend: str) -> Finding:
    seen = said.get(what, "")
    if not expected:
        return Finding(host.name, what, "note", seen)
    if seen == expected:
        return Finding(host.name, what, "ok", seen)
    return Finding(host.name, what, "fails", f"{seen or 'no answer'}, expected {expected}", mend)


def _release(host: Host, said: Mapping[str, str]) -> Finding:
    seen = f"{said.get('release', '')} ({said.get('system', 'unknown system')})"
    if host.release == "auto":
        return Finding(host.name, "release", "note", seen)
    if said.get("release") == host.release:
        return Finding(host.name, "release", "ok", seen)
    mend = f"The inventory is probably stale: correct hosts.{host.name}.release."
    return Finding(host.name, "release", "fails", f"{seen}, expected {host.release}", mend)


def _services(inv: Inventory, host: Host, said: Mapping[str, str]) -> Iterator[Finding]:
    group = inv.account.group
    if group in said.get("groups", "").split():
        yield Finding(host.name, "group", "ok", group)
    else:
        mend = f"Ask {inv.connect.contact} to put {inv.account.user} into the group {group}."
        yield Finding(host.name, "group", "fails", f"not in {group}", mend)
    manager = said.get("manager", "")
    if manager in WORKING_MANAGER:
        yield Finding(host.name, "user manager", "ok", manager)
    else:
        mend = f"Ask {inv.connect.contact} to start user@{said.get('uid', 'UID')}.service (lingering does it at boot)."
        yield Finding(host.name, "user manager", "fails", manager or "no answer", mend)
    if said.get("linger") == "yes":
        yield Finding(host.name, "linger", "ok", "yes")
    else:
        mend = f"Ask {inv.connect.contact} to enable lingering for {inv.account.user}: services end with the last login."
        yield Finding(host.name, "linger", "fails", "no", mend)


def _missing(inv: Inventory, tool: str) -> str:
    return f"Ask {inv.connect.contact} to install {tool}; the checks need it."


def _ruby_question(inv: Inventory) -> str:
    # The versions are what the directory holds; none of them is run, as one built elsewhere may not even start.
    pattern = inv.ruby.executable.replace("{version}", "*")
    before, _, after = inv.ruby.executable.partition("{version}")
    return (
        f"rubies=; for r in {pattern}; do [ -e \"$r\" ] || continue; r=${{r#'{before}'}}; "
        f"rubies=\"$rubies ${{r%'{after}'}}\"; done; say rubies \"$rubies\"\n"
    )


def _ruby(inv: Inventory, host: Host, said: Mapping[str, str]) -> Finding:
    found, wanted = said.get("rubies", "").split(), inv.ruby.version
    seen = ", ".join(found) or "none"
    if host.role != "app" or (wanted == "auto" and found):
        return Finding(host.name, "ruby", "note", seen)
    if wanted in found:
        return Finding(host.name, "ruby", "ok", f"{wanted} (installed: {seen})")
    version = "a Ruby" if wanted == "auto" else f"Ruby {wanted}"
    mend = f"Install {version} as {inv.ruby.executable}, or correct [ruby] in the inventory."
    return Finding(host.name, "ruby", "fails", f"installed: {seen}; expected {wanted}", mend)
