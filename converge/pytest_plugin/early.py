"""A head start: hosts are connected to while pytest still imports and collects.

A plugin of its own, which pytest.ini loads with ``-p``: only such a plugin is asked before the conftests are imported.
What ends the session before its tests are collected (help, a wrong flag, an inventory with a mistake) connects to nothing
and says nothing here: it is said where it always is. What ends it while they are (an id that no statement has) drops the
connection, on which nothing was run, and what this machine began to ask.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from converge.checking.application import Loader
from converge.errors import ConvergeError
from converge.pytest_plugin.options import refuse_foreign
from converge.readings import Reading, errand
from converge.transport import abandon, begin, library, terminal
from converge.transport.route import config_of
from hosts.errors import InventoryError
from hosts.schema import Inventory

SWITCH = 0.0005
"""Seconds after which a thread that imports lets the one that connects go on."""

LOOKING = (
    "help", "version", "collectonly", "markers", "showfixtures", "show_fixtures_per_test", "cacheshow", "numprocesses",
)  # fmt: skip
"""Options with which a session reads no host, or leaves that to other processes."""


LATER = {"--html": 1, "--css": 1, "--self-contained-html": 0}
"""Flags of a plugin that is imported when connecting has begun, and how many words each takes."""

CHOOSING = ("keyword", "markexpr", "id", "deselect", "ignore", "ignore_glob", "lf", "stepwise", "stepwise_skip")
"""Options that may leave statements out."""


class Start(NamedTuple):
    """What a head start must know: the statements' folder, and how an inventory is loaded.

    `prelude` and `readings` are what all statements together ask of the control machine in shell; both import what they
    need when they are called.
    """

    statements: str
    load: Loader
    prelude: Callable[[Inventory], str] = lambda _inv: ""
    readings: Callable[[], Sequence[Reading[Any]]] = tuple


class Hooks:
    """Hooks of a head start."""

    @pytest.hookspec(firstresult=True)
    def pytest_converge_start(self) -> Start:
        """What a head start must know; imports little, or it gains nothing."""
        raise NotImplementedError


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add our hook."""
    pluginmanager.add_hookspecs(Hooks)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Wait for the conftest that knows the application."""
    early_config.pluginmanager.register(HeadStart(early_config, parser, args), "converge-head-start")


def mark(plugins: Sequence[str]) -> None:
    """Tell pytest's import hook of plugins that are to be imported, before any thread imports.

    pytest adds them to a set as it comes to each, and goes through that set at every import, in whichever thread it is: one
    that connected ended with "Set changed size during iteration".
    """
    names = [name for plugin in plugins for name in (plugin, f"_pytest.{plugin}") if name not in sys.modules]
    pytest.register_assert_rewrite(*names)


class HeadStart:
    """Connects as soon as it is known to what."""

    def __init__(self, config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
        self.config, self.parser, self.args = config, parser, list(args)
        self._tried = False

    def pytest_plugin_registered(self, plugin: object, manager: pytest.PytestPluginManager) -> None:
        """The conftest at the top has been imported, none below it has."""
        if not self._tried and hasattr(plugin, "pytest_converge_start"):
            self._tried = True
            mark(getattr(plugin, "pytest_plugins", ()))
            self._begin(manager.hook.pytest_converge_start())

    def _begin(self, start: Start) -> None:
        option, unknown = self.parser.parse_known_and_unknown_args(without(self.args), copy.copy(self.config.option))
        target = only(option.target)
        if unknown or not target or not self._reads(option, start.statements):
            return
        self._hurry()
        try:
            inv = start.load(target)
            config = config_of(inv)[1]
        except (ConvergeError, InventoryError):
            return
        begin(inv, terminal())
        if all_of_it(option, self.config.invocation_params.dir, self.config.rootpath / start.statements):
            # What prevents it prevents the reading too, and is told there.
            with contextlib.suppress(OSError):
                errand.begin(inv, start.prelude(inv), start.readings())
        # In this thread: an import in another one would contend with pytest's for the interpreter.
        library.load(config)

    def _reads(self, option: Any, statements: str) -> bool:
        """Whether the session is going to read hosts."""
        if "PYTEST_XDIST_WORKER" in os.environ or any(getattr(option, name, None) for name in LOOKING):
            return False
        if not inside(option.file_or_dir, self.config.invocation_params.dir, self.config.rootpath / statements):
            return False
        asked = SimpleNamespace(
            option=option, invocation_params=self.config.invocation_params, pluginmanager=self.config.pluginmanager
        )
        try:
            refuse_foreign(asked)  # type: ignore[arg-type]  # what it looks at of a Config, with options parsed beforehand
        except pytest.UsageError:
            return False
        return True

    def _hurry(self) -> None:
        """Spend nothing on garbage, of which imports and collection leave none, and let the connecting thread go on."""
        interval, collecting = sys.getswitchinterval(), gc.isenabled()
        gc.disable()
        sys.setswitchinterval(SWITCH)

        def calm() -> None:
            sys.setswitchinterval(interval)
            if collecting:
                gc.enable()
            abandon()
            errand.abandon()

        self.config.add_cleanup(calm)

    def pytest_collection_finish(self) -> None:
        """All that was imported stays: leave it out of every later collection of garbage."""
        if not gc.isenabled():
            gc.freeze()
            gc.enable()


def only(target: str | list[str] | None) -> str | None:
    """The target, if there is one and it is no pattern: many are connected to in their turn."""
    names = [target] if isinstance(target, str) else target or ["lab"]
    return names[0] if len(names) == 1 and not set("*?[") & set(names[0]) else None


def without(args: Iterable[str]) -> list[str]:
    """The command line without the flags that nobody knows yet."""
    kept, words = [], iter(args)
    for word in words:
        flag, equals, _ = word.partition("=")
        if flag not in LATER:
            kept.append(word)
        elif not equals:
            for _ in range(LATER[flag]):
                next(words, "")
    return kept


def all_of_it(option: Any, cwd: Path, home: Path) -> bool:
    """Whether every statement is asked for, so that what they read is known before they are."""
    chosen = any(getattr(option, name, None) for name in CHOOSING)
    return not chosen and any((cwd / arg).resolve() == home.resolve() for arg in option.file_or_dir)


def inside(args: Iterable[str], cwd: Path, home: Path) -> bool:
    """Whether arguments are given, and all are in the statements' folder and there."""
    paths = [(cwd / arg.split("::")[0]).resolve() for arg in args]
    return bool(paths) and all(path.is_relative_to(home.resolve()) and path.exists() for path in paths)
