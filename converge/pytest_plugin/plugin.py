"""pytest glue: options, which sessions are asked for, and what of the engine is put to work.

The engine is at work only when tests of the statements' folder are asked for; other tests of the project are pytest's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from converge.checking.application import Application
from converge.checking.session import Session, new_id
from converge.errors import ConvergeError
from converge.pytest_plugin.fixtures import SESSIONS, session_of
from converge.pytest_plugin.hooks import Engine
from converge.pytest_plugin.items import instance_host
from converge.pytest_plugin.options import (
    refuse_foreign,
    refuse_other_plan,
    refuse_several,
    refuse_unused,
    refuse_unwritable,
    wanted_ids,
)
from converge.pytest_plugin.targets import is_worker
from converge.report.html import HtmlReport
from hosts.errors import InventoryError


class Hooks:
    """Hooks that the engine adds."""

    @pytest.hookspec(firstresult=True)
    def pytest_converge_application(self) -> Application:
        """The application that the engine looks after."""
        raise NotImplementedError


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add our hooks."""
    pluginmanager.add_hookspecs(Hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("converge", "health check and remediation of a target")
    group.addoption(
        "--target",
        action="append",
        metavar="NAME|FILE",
        help="inventory to check (default: lab); several, or a pattern of files in quotes, are checked at the same time",
    )
    group.addoption("--id", default=None, metavar="ID,ID", help="only these statements: UNIT-3, or UNIT for all of UNIT-*")
    group.addoption("--remediate", action="store_true", help="mend what fails, then prove it (asks first)")
    group.addoption("--plan", action="store_true", help="show what --remediate would do, and do nothing")
    group.addoption("--plan-file", metavar="FILE", help="with --remediate: carry out this plan, and nothing else")
    group.addoption("--brief", action="store_true", help="stop the old application before the new one starts")
    group.addoption("--yes", action="store_true", help="with --remediate: do not ask")
    group.addoption(
        "--wait",
        metavar="TIME",
        help="how long to wait for each step that is a person's: 90s, 30m, 2h (default: 12h at a terminal, else 0)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start the engine if statements are asked for, and refuse what makes no sense."""
    for line in (
        "statement(id): the statement that a test states",
        "blocker: the site is down or wrong without it",
        "major: a defect that will bite",
        "minor: advice unless --strict",
    ):
        config.addinivalue_line("markers", line)
    app: Application = config.hook.pytest_converge_application()
    option = config.option
    if not asks_for(config, app.statements):
        refuse_unused(config, app.statements)
        return
    refuse_foreign(config)
    sessions = sessions_of(config, app)
    refuse_other_plan(option, next(iter(sessions.values())))
    engine = Engine(config, app, sessions)
    config.stash[SESSIONS] = engine.session_at
    config.pluginmanager.register(engine, "converge-engine")
    if engine.surveying:
        config.pluginmanager.register(engine.surveying, "converge-survey")
    if not option.collectonly and not is_worker(config):
        refuse_unwritable(option)
        make_folder(engine.session.folder)
        config.pluginmanager.register(HtmlReport(lambda: engine.result, engine.session.folder), "converge-html")
        if not option.htmlpath:
            option.htmlpath = str(engine.session.folder / "report.html")
        option.self_contained_html = True


def sessions_of(config: pytest.Config, app: Application) -> dict[str, Session]:
    """A session for each target that is asked for, by its name; all have one id."""
    option = config.option
    try:
        targets, again = app.expand(option.target or ["lab"])
        refuse_several(config, targets)
        invs = [app.load(target, offline=bool(option.collectonly)) for target in targets]
    except (ConvergeError, InventoryError) as problem:
        wanted_ids(config, app.statements)  # a mistyped id is the nearer mistake
        raise pytest.UsageError(str(problem)) from None
    known = [inv.name for inv in invs]
    id, made = new_id(), dict[str, Session]()
    for target, inv in zip(targets, invs, strict=True):
        # Files of one name in several folders are told apart by what was typed.
        name = inv.name if known.count(inv.name) == 1 else target
        named = inv.changed({"name": name})
        made[name] = Session(app, named, config.rootpath / "reports", strict=is_strict(config), id=id)
    for target in again:
        made[name].record.notes.append(f"--target {target}: this target was named more than once, and is read once")
    return made


def make_folder(folder: Path) -> None:
    """Make the folder of a report of this session, before anything is connected to or done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise pytest.UsageError(f"{folder}: reports cannot be written there ({problem.strerror})") from None


def is_strict(config: pytest.Config) -> bool:
    """Whether pytest's own --strict is on, which for statements means that advice is a failure too."""
    return bool(config.getini("strict"))


def asks_for(config: pytest.Config, folder: str) -> bool:
    """Whether the arguments of the session are in the statements' folder; refuses those of which some are."""
    home = (config.rootpath / folder).resolve()
    paths = {arg: (config.invocation_params.dir / arg.split("::")[0]).resolve() for arg in config.args}
    around = [arg for arg, path in paths.items() if path in home.parents]
    others = [arg for arg, path in paths.items() if not path.is_relative_to(home)]
    if around or 0 < len(others) < len(paths):
        first = [*around, *others][0]
        raise pytest.UsageError(f"{first}: statements and other tests are run apart: name {folder}/ or the tests you want")
    return bool(paths) and not others


@pytest.fixture
def inv(request: pytest.FixtureRequest) -> Any:
    """The target's inventory."""
    return session_of(request).inv


@pytest.fixture
def at(request: pytest.FixtureRequest) -> str:
    """The name of the instance's host; the app host's for a statement about the whole target."""
    return instance_host(request.node) or session_of(request).inv.app_host.name
