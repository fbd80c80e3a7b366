"""From a step to one POSIX sh script that checks its conditions and guards itself; and to the words that people read."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from converge.checking.record import StepRecord
from converge.runs.preflight import NotAllowed
from converge.shell.library import LIBRARY, UNDO_LIBRARY, Rc
from converge.steps import Act, Aside, Link, Mode, Needless, Run, Signal, Step, Supplant, Unit, Write
from converge.steps.lint import lint

GUARDED = re.compile(r"(?:^|[\s;&|(!])(?:put|relink|supplant|aside|chmode|unit)\s", re.MULTILINE)

ASIDE = re.compile(r"(?:^|[\s;&|(!])(?:aside|supplant)\s+['/~]", re.MULTILINE)
"""Of a program that moves a path aside that it names outright."""

RUNTIME = "$XDG_RUNTIME_DIR"
"""May begin a path: the account's runtime directory on the step's host."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What a step may touch on its host.

    Paths resolve to something below one of `roots`, and are no `protected` path nor hold one; only `units` are started,
    stopped and enabled; programs do not even name what is of `bystanders`. `hostname` and `account` are what the host
    must say of itself (None: not asked, on this machine). What is moved aside goes below `attic`, in the folder of the run.
    """

    roots: tuple[str, ...]
    attic: str
    run_id: str
    protected: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    hostname: str | None = None
    account: str | None = None
    bystanders: tuple[str, ...] = ()


def compile_step(step: Step, prelude: str, fence: Fence, key: str) -> str:
    """The script that performs `step`; `key` is its folder's name below the run's attic. Ends with one of ``shell.Rc``.

    Raises:
        NotAllowed: an act, or a condition, does what no step may do.
    """
    _judge(step, step.acts, prelude, fence)
    for condition in step.when:
        lint(condition.test, f"{step.id}, which finds out whether {condition.sentence},", prelude, fence.units)
    parts = [_settings(prelude, fence, key), LIBRARY, _identity(fence)]
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
    guarded = f"( cv_undo ) </dev/null; {_verdict('the undo')}"
    return "\n".join([_settings(prelude, fence, key), UNDO_LIBRARY, _identity(fence), guarded, "exit 0\n"])


def _settings(prelude: str, fence: Fence, key: str) -> str:
    if any(root.strip("/") == "" for root in fence.roots):
        raise NotAllowed(f"the roots {fence.roots} hold the whole file system: name the folders that steps may change")
    runtime = ': "${XDG_RUNTIME_DIR:=/run/user/$(id -u)}"; export XDG_RUNTIME_DIR'
    return "\n".join(
        [
            prelude,
            runtime,
            f"CV_ROOTS={_paths(fence.roots)}",
            f"CV_PROTECTED={_paths(fence.protected)}",
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
    return f"(\n{_act(act, fence)}\n) </dev/null; {_verdict(f'act {number}')}"


def _verdict(what: str) -> str:
    ended = '[ ! -s "$CV_STEP/ended" ] || exit "$(cat "$CV_STEP/ended")"'
    ended += f'; [ -z "$CV_LATE" ] || {{ cv_say late "it was told to end at {what}"; exit {Rc.FAILED.value}; }}'
    failed = f'cv_say failed "{what} ended with status $cv_rc"; exit {Rc.FAILED.value}'
    return f'cv_rc=$?; {ended}; [ "$cv_rc" = 0 ] || {{ {failed}; }}'


def _act(act: Act, fence: Fence) -> str:
    match act:
        case Write(path, content, mode):
            return f"printf %s {shlex.quote(content)} | put {_path(path)} {mode:o}"
        case Link(path, target):
            return f"relink {_path(path)} {_path(target)}"
        case Supplant(path, target):
            return f"supplant {_path(path)} {_path(target)}"
        case Aside(path):
            return f"aside {_path(path)}"
        case Mode(path, mode):
            return f"chmode {_path(path)} {mode:o}"
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


def _path(path: str) -> str:
    """A path as one shell word; only the runtime directory is expanded."""
    if "\n" in path or "\0" in path:
        raise NotAllowed(f"path {path!r} has a line break in it: not touched")
    if path.startswith(RUNTIME):
        return f'"{RUNTIME}"' + (shlex.quote(path.removeprefix(RUNTIME)) if path != RUNTIME else "")
    return shlex.quote(path)


def _paths(paths: Sequence[str]) -> str:
    return '"\n"'.join(_path(path) for path in paths) or "''"


def described(act: Act) -> str:
    """The act as a person would type it."""
    match act:
        case Write(path, content, mode):
            body = content if content.endswith("\n") else content + "\n"
            # A folder of the runtime directory is gone after each boot.
            first = f"mkdir -p {_path(path.rsplit('/', 1)[0])}\n" if path.startswith(RUNTIME) else ""
            return f"{first}cat >{_path(path)} <<'END'\n{body}END\nchmod {mode:o} {_path(path)}"
        case Link(path, target):
            return f"ln -s {_path(target)} {_path(path + '.new')} && mv -T {_path(path + '.new')} {_path(path)}"
        case Supplant(path, target):
            new, kept = _path(path + ".new"), shlex.quote(path.rsplit("/", 1)[-1])
            return f'ln -s {_path(target)} {new} && mv -nT {_path(path)} "$ATTIC"/{kept} && mv -nT {new} {_path(path)}'
        case Aside(path):
            return f'mv -nT {_path(path)} "$ATTIC"/{shlex.quote(path.rsplit("/", 1)[-1])}'
        case Mode(path, mode):
            return f"chmod {mode:o} {_path(path)}"
        case Unit(verb, unit):
            return f"systemctl --user {verb} {shlex.quote(unit)}" if unit else f"systemctl --user {verb}"
        case Signal(pid, signal, _, cmdline):
            return f"kill -s {signal} {pid}    # only while it is the process that runs: {cmdline}"
        case Run(script):
            return textwrap.dedent(script).strip()


def moves_aside(step: Step) -> bool:
    """Whether the step may put something large into the attic: what programs of a cutover move aside are names and PIDs."""
    return any(isinstance(act, Aside | Supplant) or (isinstance(act, Run) and ASIDE.search(act.script)) for act in step.acts)


def _in_words(act: Act) -> str:
    """The act as it is described; of a program that begins with a comment, the comment."""
    text = described(act)
    return text.partition("\n")[0].removeprefix("# ") if isinstance(act, Run) and text.startswith("# ") else text


def undo_described(step: Step) -> str:
    """How the step is taken back, in words or as commands."""
    if isinstance(step.undo, str):
        return f"{'none needed' if isinstance(step.undo, Needless) else 'none'}: {step.undo}"
    if step.undo is not None:
        return "\n".join(_in_words(act) for act in step.undo)
    ways = {
        Write: "what {0.path} was before is put back (or, if it was not there, the new one is moved aside)",
        Link: "{0.path} points again to where it pointed before",
        Supplant: "{0.path} is the folder again that gave way to a link",
        Aside: "{0.path} is moved back, if its place is free",
        Mode: "{0.path} gets its former mode",
    }
    lines = [ways[type(act)].format(act) for act in reversed(step.acts) if type(act) in ways]
    lines += [
        f"{act.unit} is put back to how it was before {act.verb}"
        for act in reversed(step.acts)
        if isinstance(act, Unit) and act.verb in {"start", "stop", "enable", "disable"}
    ]
    programs = [act.script for act in step.acts if isinstance(act, Run)]
    if any(GUARDED.search(script) for script in programs):
        lines.append("what its program moved, wrote, linked, started or stopped by the guarded functions is put back")
    elif programs or any(isinstance(act, Signal) for act in step.acts):
        lines.append("what a program or a signal did itself is not taken back")
    return "\n".join(lines) or "nothing to take back"


def render(step: Step, remedy: str, statements: Sequence[str]) -> StepRecord:
    """The step's record, as planned."""
    return StepRecord(
        id=step.id,
        remedy=remedy,
        statements=list(statements),
        host=step.host,
        sentence=step.sentence + (f" ({step.after})" if step.after else ""),
        commands="\n".join(described(act) for act in step.acts),
        preconditions=[condition.sentence for condition in step.when],
        undo=undo_described(step),
        interrupts=step.interrupts,
        confirm=step.confirm,
        search_gap=step.search_gap,
        serves=step.serves,
    )
