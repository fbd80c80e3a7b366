"""From a step to one POSIX sh script that checks its conditions and guards itself."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from converge.errors import NotAllowed
from converge.shell.library import LIBRARY, Rc
from converge.steps.fence import Fence
from converge.steps.lint import lint
from converge.steps.quoting import quoted_path, quoted_paths
from converge.steps.step import Act, Aside, Link, Mode, Run, Signal, Step, Supplant, Unit, Write


def compile_step(step: Step, prelude: str, fence: Fence, key: str) -> str:
    """The script that performs `step`; `key` is its folder's name below the run's attic. Ends with one of ``shell.Rc``.

    Where an act fails or is refused, what the acts before it have done is put back by the same script.

    Raises:
        NotAllowed: an act, or a condition, does what no step may do.
    """
    _judge(step, step.acts, prelude, fence)
    for condition in step.when:
        lint(condition.test, f"{step.id}, which finds out whether {condition.sentence},", prelude, fence.units)
    # A program in a unit of its own puts back what its phase says, whatever ends it; and what needs no way back gets none.
    gives_back = "CV_GIVES_BACK=yes" if step.undo is None and not step.in_unit else ""
    parts = [_settings(prelude, fence, key), LIBRARY, gives_back, _identity(fence)]
    for condition in step.when:
        refusal = shlex.quote(f"not so any more: {condition.sentence}")
        # A step that is run again after it was killed only puts back, whatever moved meanwhile.
        again = '[ -n "${CV_AFTER:-}" ] || ' if step.in_unit else ""
        parts.append(f"{again}(\n{condition.test}\n) >/dev/null 2>&1 </dev/null || cv_moved {refusal}")
    parts += [_guarded(number, act, fence) for number, act in enumerate(step.acts, 1)]
    return "\n".join([*parts, "exit 0\n"])


def compile_undo(step: Step, prelude: str, fence: Fence, key: str) -> str | None:
    """The script that takes `step` back as far as it got; None where there is no way back.

    Raises:
        NotAllowed: an act of the undo does what no step may do.
    """
    if isinstance(step.undo, str):
        return None
    if step.undo is not None:
        _judge(step, step.undo, prelude, fence)
        acts = [_guarded(number, act, fence) for number, act in enumerate(step.undo, 1)]
        return "\n".join([_settings(prelude, fence, f"{key}-undo"), LIBRARY, _identity(fence), *acts, "exit 0\n"])
    guarded = "( cv_undo ) </dev/null; cv_judge 'the undo'"
    return "\n".join([_settings(prelude, fence, key), LIBRARY, _identity(fence), guarded, "exit 0\n"])


def _settings(prelude: str, fence: Fence, key: str) -> str:
    if any(root.strip("/") == "" for root in fence.roots):
        raise NotAllowed(f"the roots {fence.roots} hold the whole file system: name the folders that steps may change")
    runtime = ': "${XDG_RUNTIME_DIR:=/run/user/$(id -u)}"; export XDG_RUNTIME_DIR'
    return "\n".join(
        [
            prelude,
            runtime,
            f"CV_ROOTS={quoted_paths(fence.roots)}",
            f"CV_PROTECTED={quoted_paths(fence.protected)}",
            f"CV_UNITS={shlex.quote(chr(10).join(fence.units))}",
            f"CV_RUN={shlex.quote(fence.run_id)} CV_KEY={shlex.quote(key)}",
            f"CV_STEP={shlex.quote(f'{fence.attic}/{fence.run_id}/{key}')}",
            '(umask 077 && mkdir -p -- "$CV_STEP" && : >>"$CV_STEP/log") || exit 70',
        ]
    )


def _identity(fence: Fence) -> str:
    checks = []
    names = ((fence.hostname, "uname -n", "this host is"), (fence.account, "id -un", "the account here is"))
    for wanted, command, what in names:
        if wanted is None:
            continue
        if not wanted:
            raise NotAllowed(f"a step must know what `{command}` prints where it acts, not nothing: correct the inventory")
        checks.append(
            f'[ "$({command})" = {shlex.quote(wanted)} ] || '
            f'cv_end wrong-host "{what} $({command}), not "{shlex.quote(wanted)} {Rc.WRONG_HOST.value}'
        )
    return "\n".join(checks)


def _guarded(number: int, act: Act, fence: Fence) -> str:
    return f"(\n{_act(act, fence)}\n) </dev/null; cv_judge 'act {number}'"


def _act(act: Act, fence: Fence) -> str:
    match act:
        case Write(path, content, mode):
            return f"printf %s {shlex.quote(content)} | put {quoted_path(path)} {mode:o}"
        case Link(path, target):
            return f"relink {quoted_path(path)} {quoted_path(target)}"
        case Supplant(path, target):
            return f"supplant {quoted_path(path)} {quoted_path(target)}"
        case Aside(path):
            return f"aside {quoted_path(path)}"
        case Mode(path, mode):
            return f"chmode {quoted_path(path)} {mode:o}"
        case Unit(verb, unit):
            return f"unit {verb} {shlex.quote(_unit(verb, unit, fence))}"
        case Signal():
            return _signal(act)
        case Run(script):
            return script


def _judge(step: Step, acts: Sequence[Act], prelude: str, fence: Fence) -> None:
    for act in acts:
        if isinstance(act, Run):
            _leave_bystanders(act.script, fence)
            lint(act.script, step.id, prelude, fence.units)


def _leave_bystanders(script: str, fence: Fence) -> None:
    for path in fence.bystanders:
        name = path.rsplit("/", 1)[-1]
        if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", script):
            raise NotAllowed(f"a step's program names {name}: {path} is another application's, and not touched")


def _unit(verb: str, unit: str, fence: Fence) -> str:
    if verb != "daemon-reload" and unit not in fence.units:
        known = ", ".join(fence.units) or "none"
        raise NotAllowed(f"systemctl --user {verb} {unit or '(no unit)'}: not a unit of this target; its units are {known}")
    return unit


def _signal(act: Signal) -> str:
    if act.pid <= 1 or act.started <= 0 or not act.cmdline.strip():
        raise NotAllowed(f"signal {act.signal} to process {act.pid}: its start time and command line must be known")
    words = [str(act.pid), act.signal, str(act.started), act.cmdline, act.cwd, act.cgroup]
    return "cv_signal " + " ".join(shlex.quote(word) for word in words)
