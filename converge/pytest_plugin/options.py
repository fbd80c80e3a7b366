"""What a session on statements refuses before it connects to anything: flags and waivers that make no sense."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from converge.checking.selection import nearest, selected
from converge.checking.session import Session
from converge.checking.statement import REGISTRY, import_statements
from converge.errors import UsageError
from converge.planning import plan_file
from converge.text.durations import duration
from hosts.command_line import command_line

FOREIGN = ("hosts", "ssh_config", "ssh_identity_file", "sudo", "sudo_user", "ansible_inventory", "force_ansible")
"""testinfra's connection flags: our targets are inventories."""

RERUNNERS = (
    *("rerunfailures", "flaky", "pytest-retry"),
    *("pytest_rerunfailures", "flaky.flaky_pytest_plugin", "pytest_retry", "pytest_retry.retry_plugin"),
)
"""Names under which plugins that run failing tests again are known to pytest: where installed, and if loaded with -p."""


def refuse_unused(config: pytest.Config, folder: str) -> None:
    """Refuse our flags where no statement is asked for: pytest would run other tests as if they had not been typed."""
    option = config.option
    if option.help or option.version:
        return  # pytest stops reading the command line there: what follows is not known
    typed = {str(a).partition("=")[0] for a in config.invocation_params.args}
    given = {"--remediate": option.remediate, "--plan": option.plan, "--yes": option.yes, "--id": option.id is not None}
    given |= {"--plan-file": option.plan_file is not None, "--brief": option.brief, "--wait": option.wait is not None}
    for flag, on in {**given, "--target": "--target" in typed}.items():
        if on:
            verb = {"--plan": "plan", "--id": "check", "--target": "check"}.get(flag, "remediate")
            asks = command_line(verb)
            raise pytest.UsageError(f"{flag} works on statements, and none are asked for: name {folder}/, or type `{asks}`")


def refuse_foreign(config: pytest.Config) -> None:
    """Refuse flags that would work around the inventory, or act without having been typed."""
    option = config.option
    for name in FOREIGN:
        if getattr(option, name, None):
            flag = "--" + name.replace("_", "-")
            raise pytest.UsageError(f"{flag}: hosts, logins and keys come from the target's inventory: use --target")
    for name in ("setuponly", "setupplan"):
        if getattr(option, name, False):
            raise pytest.UsageError("--setup-only and --setup-plan judge nothing, and call that a success: leave them out")
    flags = (("--remediate", option.remediate), ("--yes", option.yes), ("--brief", option.brief))
    acts = [flag for flag, on in flags if on]
    typed = [str(a) for a in config.invocation_params.args]
    for flag in acts:
        if flag not in typed:
            raise pytest.UsageError(f"{flag} counts only when it is typed, not from PYTEST_ADDOPTS or an ini file")
    if option.yes and not (option.remediate or option.plan):
        raise pytest.UsageError("--yes answers what --remediate asks: add --remediate, or leave out --yes")
    if option.brief and not (option.remediate or option.plan):
        raise pytest.UsageError("--brief says how --remediate or --plan hands the site over: add one, or leave it out")
    _refuse_strange_values(config)
    if not (option.remediate or option.plan):
        return
    both = "--remediate" if option.remediate else "--plan"
    if option.collectonly:
        raise pytest.UsageError(f"--collect-only connects to nothing: it cannot be combined with {both}")
    if getattr(option, "dist", "no") != "no":
        raise pytest.UsageError(f"-n spreads a check over processes; {both} has one order of acts: leave out -n")
    if option.remediate:
        _refuse_reruns(config)
    option.maxfail = 0  # -x and --lf must not shorten what is looked at after an act
    option.lf = option.failedfirst = option.stepwise = option.stepwise_skip = False


def _refuse_reruns(config: pytest.Config) -> None:
    # It is enough that it is there: a mark in a test, or an ini file, arms it without having been typed.
    if active := [name for name in RERUNNERS if config.pluginmanager.hasplugin(name)]:
        off = " ".join(f"-p no:{name}" for name in active)
        raise pytest.UsageError(
            f"--remediate judges each statement once, on a fresh reading, and a plugin that runs tests again is active "
            f"({', '.join(active)}): switch it off with {off}"
        )


def _refuse_strange_values(config: pytest.Config) -> None:
    option = config.option
    if option.plan_file is not None and (option.plan or not option.remediate):
        raise pytest.UsageError("--plan-file names a plan to carry out: it goes with --remediate alone")
    if option.plan_file is not None:
        try:
            plan_file.read(Path(option.plan_file))
        except UsageError as problem:
            raise pytest.UsageError(str(problem)) from None
    if option.wait is not None:
        if not (option.remediate or option.plan):
            raise pytest.UsageError("--wait says how long --remediate waits for a person: add --remediate, or leave it out")
        try:
            duration(option.wait)
        except UsageError as problem:
            raise pytest.UsageError(str(problem)) from None
    if option.id is not None and not ids(config):
        raise pytest.UsageError("--id: no id was given; leave it out for all statements, or name some (--id UNIT-1,UNIT-3)")


def refuse_other_plan(option: Any, session: Session) -> None:
    """Refuse a plan that is for another target or version, before anything is connected to for it."""
    if option.plan_file is None:
        return
    try:
        plan_file.load(Path(option.plan_file), target=session.inv.name, version=session.app.version)
    except UsageError as problem:
        raise pytest.UsageError(str(problem)) from None


def refuse_unwritable(option: Any) -> None:
    """Refuse --html and --junitxml where nothing can be written; they are written when all is over. Makes their folders.

    Whoever blocks the plugin that writes JUnit has no such flag.
    """
    for flag, typed in (("--html", option.htmlpath), ("--junitxml", getattr(option, "xmlpath", None))):
        if not typed:
            continue
        file = Path(os.path.expandvars(typed)).expanduser()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
                raise pytest.UsageError(f"{flag}: {file} cannot be written: name a file in a folder of yours")
        except (OSError, RuntimeError) as problem:
            why = problem.strerror if isinstance(problem, OSError) else problem
            raise pytest.UsageError(f"{flag}: {file} cannot be written ({why}): name a file in a folder of yours") from None


def refuse_several(config: pytest.Config, targets: Sequence[str]) -> None:
    """Refuse to act on more than one target."""
    option = config.option
    if len(targets) > 1 and (option.remediate or option.plan):
        flag = "--remediate" if option.remediate else "--plan"
        raise pytest.UsageError(f"{flag} is for one live site at a time: name one of these targets: {', '.join(targets)}")


def ids(config: pytest.Config) -> list[str]:
    """What --id names, as typed."""
    return [part.strip() for part in (config.option.id or "").split(",") if part.strip()]


def wanted_ids(config: pytest.Config, statements: str) -> list[str]:
    """The ids that --id means; refuses those that no statement has, with what may have been meant.

    `statements` is their package: of its files, --lf and --ignore leave some out.
    """
    if ids(config):
        import_statements(statements)
    try:
        return selected(ids(config), REGISTRY)
    except UsageError as problem:
        raise pytest.UsageError(f"{problem} (`{command_line('explain')}` lists them)") from None


def refuse_strange_waivers(session: Session) -> None:
    """Refuse a waiver that waives nothing: it would look like a promise and be none."""
    if not session.inv.waivers:
        return
    import_statements(session.app.statements)
    for waiver in session.inv.waivers:
        if waiver.id not in REGISTRY:
            hint = nearest(waiver.id, REGISTRY)
            raise pytest.UsageError(f"{session.inv.file}: waivers: no statement has the id {waiver.id}{hint}")
