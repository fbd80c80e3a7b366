"""The middle of a session with ``--remediate`` or ``--plan``: judge, plan, show, ask, act, prove; then read all anew."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from converge.acting.confirmation import second_logins
from converge.acting.manual_wait import PATIENCE
from converge.checking.judge import Instance
from converge.checking.record import Verdict
from converge.checking.session import Chosen, Session, person
from converge.checking.statement import REGISTRY, Outcome, import_statements
from converge.errors import ConvergeError, Declined, Exit, UsageError, comes_before
from converge.planning import plan_file
from converge.planning.plan import Failing, Plan, blocked_text
from converge.planning.plan_view import confirmed, show
from converge.probe.unannounced import weighed
from converge.runs.run import Runner
from converge.steps import Remedy
from converge.text.durations import duration
from converge.text.masking import mask
from hosts.command_line import command_line, path_from_here, target_of

MENDABLE = {Outcome.FAILS, Outcome.ADVICE, Outcome.MANUAL}
"""Outcomes for which a statement's remedy is asked; of one that is left to a person it may still do a part."""
Say = Callable[[str], None]


def remediate(session: Session, chosen: Chosen, option: Any, say: Say) -> tuple[Exit, str] | None:
    """Bring the chosen statements to hold; the exit code and reason that the session must end with, None for pytest's own.

    When it returns, the store holds answers that are newer than the last act: pytest's own loop judges on them.
    """
    import_statements(session.app.statements)
    everything = session.everything()
    saved = saved_plan(session, option)
    session.read_until_stable(everything, say, unmoved=True)
    if session.situation.refuse:
        return Exit.FAILS, refused(session, say)
    before = session.judge_all(everything)
    session.record.before = before
    session.record.kind = "plan" if option.plan else "run"
    runner = make_runner(session, say, option)
    plan = make_plan(runner, before, chosen)
    session.record.steps = plan.steps
    # Who said yes beforehand reads the commands in the report; who is asked, or wants the plan, reads them here.
    show(plan, say, brief=bool(option.yes))
    warn(session, plan, say)
    if option.plan:
        file = plan_file.write(plan, session.folder, **identity(session), run=session.id, at=session.record.started)
        session.record.commands["remediate"] = carrying_out(file, session, chosen, option)
        say(f"\nthis plan, and nothing else, is carried out by: {session.record.commands['remediate']}")
    if saved:
        only(saved, session, runner, plan)
    if plan.is_empty:
        if not option.plan:
            session.record.kind = "check"
        say("nothing to do" if not plan.manual and not plan.tasks else "nothing that this tool may do is left to do")
        session.policy.manual.update(plan.manual)
        if not option.plan:
            session.policy.blocked = not_attempted(plan)
            if runner.look_back():
                # A step of such a run may have ended since all was read.
                session.read_until_stable(everything, say)
        return None
    if option.plan:
        return None
    if not option.yes:
        plan = ask_and_look_again(session, runner, plan, chosen, say)
        if saved:
            only(saved, session, runner, plan)
    return act(session, runner, plan, chosen, say)


def carrying_out(file: Path, session: Session, chosen: Chosen, option: Any) -> str:
    """The command line that carries out a saved plan for the chosen statements, from here."""
    ids = dict.fromkeys(s.id for s, _ in chosen) if len(chosen) < len(session.everything()) else ()
    flags = ("--brief",) if option.brief else ()
    words = ("remediate", *ids, *flags, "--plan-file", path_from_here(file))
    return command_line(*words, target=target_of(session.inv))


def refused(session: Session, say: Say) -> str:
    """Say why nothing is done in a situation that nobody foresaw: what follows is a check, and its report says so too."""
    text = "; ".join(session.situation.detail) or session.situation.name
    reason = mask(f"remediation refused, this is like no situation it knows: {text}")
    session.record.notes.append(reason)
    say(f"\n{reason}")
    return reason


def saved_plan(session: Session, option: Any) -> plan_file.SavedPlan | None:
    """The plan that ``--plan-file`` names, if any.

    Raises:
        PlanFileError: it cannot be read, or is for another target or version.
    """
    name = getattr(option, "plan_file", None)
    return plan_file.load(Path(name), **identity(session)) if name else None


def identity(session: Session) -> dict[str, str]:
    """What a plan is bound to."""
    return {"target": session.inv.name, "version": session.app.version}


def only(saved: plan_file.SavedPlan, session: Session, runner: Runner, plan: Plan) -> None:
    """Carry out what the file plans, and nothing else.

    Raises:
        PlanMoved: something else would be done now.
    """
    kind, session.record.kind = session.record.kind, "plan"
    plan_file.refuse_if_moved(saved, plan, session.id, str(session.folder))
    session.record.kind = kind
    runner.mender.only_planned = True
    note = f"carries out the plan of {saved.run} ({saved.file})"
    if note not in session.record.notes:
        session.record.notes.append(note)


def act(session: Session, runner: Runner, plan: Plan, chosen: Chosen, say: Say) -> tuple[Exit, str] | None:
    """Run the plan, then read and judge the whole target."""
    ended: tuple[Exit, str] | None = None
    reason = "interrupted"
    code = int(Exit.INTERRUPTED)
    runner.start(plan)
    try:
        demanded = runner.execute(plan)
        session.policy.manual.update(plan.manual)
        session.policy.blocked = not_attempted(plan)
        everything = session.everything()
        session.read_until_stable(everything, say)
        ended = weighed(verdict_of_run(session, everything, chosen, demanded), runner.measure())
        code, reason = (int(ended[0]), ended[1]) if ended else (0, "")
    except ConvergeError as problem:
        code, reason = int(problem.exit_code), str(problem)
        raise
    except Exception as problem:  # the journal must not call a defect an interruption
        code, reason = int(Exit.INTERNAL), f"{type(problem).__name__}: {problem}"
        raise
    finally:
        trouble = runner.finish(code, reason)
    # What could not be read for want of a connection fails, too: that is not what this run has to say.
    return (Exit.UNKNOWN, trouble) if trouble and comes_before(Exit.UNKNOWN, ended[0] if ended else Exit.FAILS) else ended


def not_attempted(plan: Plan) -> dict[Instance, str]:
    """The instances whose remedies were not called because of what they need, with the reason; of a run that is over,
    or of a plan of which nothing can be carried out.
    """
    found: dict[Instance, str] = {}
    for task in plan.tasks:
        waits = task.state == "planned" and task.blocked_by
        if why := blocked_text(task.blocked_by) if waits else task.note if task.state == "blocked" else "":
            found |= {Instance(id, task.host or None): why for id in task.statements}
    return found


def verdict_of_run(session: Session, everything: Chosen, chosen: Chosen, demanded: Exit | None) -> tuple[Exit, str] | None:
    """What the whole target says of the run: what held before must still hold, whatever was selected.

    That comes before what a step's refusal demands, and after that a step was put back, or nobody knows what became of it.
    """
    after = session.judge_all(everything)
    held = {Instance(v.id, v.host or None) for v in session.record.before if v.outcome is Outcome.HOLDS}
    lost = {o for o in Outcome if not o.is_well} | {Outcome.ADVICE}
    broken = [v for v in after if v.outcome in lost and Instance(v.id, v.host or None) in held]
    names = ""
    if broken:
        names = ", ".join(sorted({v.id for v in broken}))
        session.record.notes.append(f"held before the run and does not hold now: {names}")
        mine = {s.id for s, _ in chosen}
        for verdict in broken:
            if verdict.id not in mine:
                session.record.notes.append(f"{verdict.id} {verdict.sentence}\n{verdict.message}")
    if demanded is Exit.INTERRUPTED:
        return demanded, "interrupted: it stopped after the step that was going on"
    lost_text = f"held before the run and does not hold now: {names}"
    unknown = [f"{s.id} at {s.host}: {s.reason}" for s in session.record.steps if s.result == "unknown"]
    why = "; ".join(dict.fromkeys(unknown)) if demanded is Exit.UNKNOWN and unknown else "see the steps of the run"
    if demanded and comes_before(demanded, Exit.STATE_MOVED):
        return demanded, why + (f"; {lost_text}" if names else "")
    if names:
        return Exit.FAILS, lost_text
    if demanded is not None:
        return demanded, "a guard of the run does not hold" if demanded is Exit.FAILS else "see the steps of the run"
    return None


def make_plan(runner: Runner, before: list[Verdict], chosen: Chosen) -> Plan:
    """The plan for the chosen instances that fail."""
    mine = {(s.id, at or "") for s, at in chosen}
    failing = [Failing(v.id, v.host) for v in before if v.outcome in MENDABLE and (v.id, v.host) in mine]
    failing = [f for f in failing if REGISTRY[f.id].remedy]
    unproven = {v.id for v in before if v.outcome is not Outcome.HOLDS}  # waived or due is not proven
    standing = [Failing(v.id, v.host) for v in before if v.outcome is Outcome.HOLDS and (v.id, v.host) in mine]
    return runner.plan(failing, unproven, {}, standing)


def make_runner(session: Session, say: Say, option: Any) -> Runner:
    """The runner for this session."""
    return Runner(
        inv=session.inv,
        links=session.links,
        prelude=session.app.prelude(session.inv),
        record=session.record,
        folder=str(session.folder),
        statements=REGISTRY,
        find=finder(session.app.remedies),
        read=session.store,
        void=session.store.void,
        renew=session.store.renew,
        sent=session.store.sent,
        prefetch=session.store.prefetch,
        wanted=session.wanted,
        prove=session.prove,
        who=person(),
        say=say,
        flags=frozenset(name for name in ("strict", "yes", "brief") if getattr(option, name, False)),
        wait=wait_of(option),
        asked=session.app.preflight,
    )


def wait_of(option: Any) -> float:
    """Seconds that the run waits for each step of a person: as typed, else long if somebody is at the terminal."""
    typed = getattr(option, "wait", None)
    return duration(typed) if typed is not None else PATIENCE if getattr(option, "attended", False) else 0.0


def finder(package: str) -> Callable[[str], Remedy]:
    """Finds ``module.function`` in the remedies' package."""

    def find(name: str) -> Remedy:
        module, _, function = name.rpartition(".")
        try:
            found: Remedy = getattr(importlib.import_module(f"{package}.{module}"), function)
        except (ImportError, AttributeError) as problem:
            raise UsageError(f"remedy {name} is not in {package}/{module.replace('.', '/')}.py: {problem}") from None
        return found

    return find


def warn(session: Session, plan: Plan, say: Say) -> None:
    """Say what a person must be ready for, before the plan is agreed to; the record has it once, however often said."""
    confirmed = [step.host for step in plan.steps if step.confirm and step.result in {"planned", "manual"}]
    for text in second_logins(session.links, confirmed):
        if text not in session.record.notes:
            session.record.notes.append(text)
        say(f"\n{text}")


def ask_and_look_again(session: Session, runner: Runner, plan: Plan, chosen: Chosen, say: Say) -> Plan:
    """Ask the person at the terminal (default: no); then read again, and show and ask anew if the plan changed.

    Raises:
        UsageError: there is no terminal to ask at.
        Declined: the answer was not yes.
    """
    while True:
        if not confirmed("Do this? [y/N] "):
            raise Declined("declined: nothing was done")
        everything = session.everything()
        session.read_until_stable(everything, say)
        session.record.before = session.judge_all(everything)
        again = make_plan(runner, session.record.before, chosen)
        same = [(s.id, s.host, s.commands) for s in again.steps] == [(s.id, s.host, s.commands) for s in plan.steps]
        plan = again
        session.record.steps = plan.steps
        if same:
            return plan
        say("\nthe hosts changed while you were asked; this is the plan now:")
        show(plan, say)
        warn(session, plan, say)
