"""Taking a run back: the recorded ways back of its steps, in reverse, each under the same guards as the steps were."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from converge.acting import confirmation
from converge.acting.executor import Executor
from converge.checking.application import Preflight, nothing_asked
from converge.checking.record import StepRecord
from converge.errors import RANK, Exit, UsageError
from converge.journal.history import Story
from converge.journal.journal import Journal, stories
from converge.journal.lock import Lock
from converge.journal.ownership import is_apart, owner, refuse_other
from converge.probe.prober import Prober
from converge.probe.unannounced import losses, overran, told
from converge.report.summary import downtime, led, led_text
from converge.runs import preflight
from converge.runs.interrupts import first_interrupt
from converge.runs.recovery import close_open_runs, without_result
from converge.runs.undo_plan import Back, leave_later_runs, leave_the_site, ways_back
from converge.shell.library import Rc
from converge.transport import Link
from hosts.command_line import command_line, target_of
from hosts.schema import Inventory

Trouble = tuple[Exit, str]
"""What keeps a rollback from being a success: the exit code that it demands, and the reason."""

DEMANDED = {"refused": Exit.STATE_MOVED, "rolled back": Exit.ROLLED_BACK, "unknown": Exit.UNKNOWN}
"""What became of a way back that was not done, and the exit code for it, if it is no plain failure."""


def find_story(link: Link, run: str) -> Story:
    """The run of this id in the app host's journal.

    Raises:
        UsageError: there is none; names those that are there.
    """
    known = stories(link)
    for story in known:
        if story.id == run:
            return story
    names = ", ".join(story.id for story in known[-5:]) or "none"
    raise UsageError(f"{link.name} has no journal of a run {run}; its last ones are: {names}")


def leave_what_stands(
    inv: Inventory, links: Mapping[str, Link], story: Story, backs: Sequence[Back], by_hand: Collection[int]
) -> None:
    """Refuse to take a run back beneath what serves the site, by this run or by a later one.

    Raises:
        LaterRunStands, JournalDamaged, SiteRestsOnIt: it would be; nothing was done.
    """
    app = links[inv.app_host.name]
    known = [each for each in stories(app) if not is_apart(each, inv)]
    # Before a person is sent to take a step back by hand, which would be done beneath the later run.
    leave_later_runs(links, app.name, known, story, backs, by_hand, target_of(inv))
    leave_the_site(story, backs, by_hand, target_of(inv))


def roll_back(
    inv: Inventory,
    links: Mapping[str, Link],
    run: str,
    mine: str,
    who: str,
    say: Callable[[str], None],
    reports: Path,
    dial: Callable[[Inventory, str], Link] = confirmation.dial,
    by_hand: Collection[int] = (),
    asked: Preflight = nothing_asked,
) -> tuple[Exit, list[StepRecord]]:
    """Take the run's steps back, last first, as a run `mine` of its own, under the same guards and eyes as a run.

    What this machine keeps of it is in its folder of `reports`. What somebody changed since is left as it is and reported;
    a way back that fails ends it, and so does one that is left as it is and on which the site rests. A person took those
    back that are `by_hand`; `asked` is the application's preflight. It ends with 0 only if nothing stays but what does no
    harm. Ctrl-C ends it after the step that is going on; pressed twice it leaves that one alone.

    Raises:
        JournalDamaged: what the run did is not all known; nothing was done.
        SiteRestsOnIt, LaterRunStands: what serves the site rests on a step that will stay; nothing was done.
        OtherTarget: the run is of another target; nothing was done.
        UsageError: the run has no step that is called `by_hand`.
        LockHeld, StateMoved: another run is going on, or a step of one, or a deploy.
        JournalError: the journal, or this machine's folder of the run, cannot be written.
        ConnectionLost: what became of the step that acted is not known.
        RolledBack: the connection was lost, and the host put back by itself what the step had done.
        KeyboardInterrupt: the person would not wait for the end of the step.
    """
    app, here = links[inv.app_host.name], reports / mine
    lock = Lock(app)
    lock.acquire(who, mine)
    prober = Prober(inv, here / "requests.jsonl")
    try:
        past = close_open_runs(links, app, mine)
        for note in past.notes:
            say(note)
        preflight.refuse(asked(app, inv), app.name)
        backs = _checked(inv, links, run, by_hand)
        before = preflight.tree_if_readable(app, inv)
        journal = Journal(mine, app)
        journal.make(here)
        executor = Executor(inv, links, "", journal, lock, here, partial(dial, inv), partial(confirmation.look, prober))
        journal.write("plan", seq=past.seq, **owner(inv, who), rollback=run, steps=[b.step for b in backs])
        for n in by_hand:
            Journal(run, app).write("undone", n=n, by=f"{who}, by hand")
        return _closed(executor, say, *_watched(executor, run, backs, say, prober, before))
    finally:
        lock.release()


def _closed(
    executor: Executor, say: Callable[[str], None], code: Exit, reason: str, records: list[StepRecord]
) -> tuple[Exit, list[StepRecord]]:
    """How it ended, with its journal closed, unless a step left no result: then the next run looks what became of that."""
    if executor.lost:
        say(without_result(executor.lost))
    else:
        executor.journal.write("end", exit_code=int(code), reason=reason)
    return code, records


def _checked(inv: Inventory, links: Mapping[str, Link], run: str, by_hand: Collection[int]) -> list[Back]:
    """The steps to take back, once it is sure that nothing goes from under the site, and that it is this one."""
    app = links[inv.app_host.name]
    story = refuse_other(find_story(app, run), inv)
    backs = ways_back(links, app.name, story, by_hand)
    leave_what_stands(inv, links, story, backs, by_hand)
    return backs


def _watched(
    executor: Executor,
    run: str,
    backs: Sequence[Back],
    say: Callable[[str], None],
    prober: Prober,
    before: preflight.Tree | None,
) -> tuple[Exit, str, list[StepRecord]]:
    """Take back one after the other while the site is asked; then look whether the shared data is as it was `before`."""
    if trouble := prober.start():
        say(trouble)
    try:
        troubles, records = _each(executor, run, backs, say)
    finally:
        say(downtime(probe := prober.stop()))
    if text := led_text(led(records)):
        say(text)
    kept = preflight.tree_kept(before, preflight.tree_if_readable(executor.journal.link, executor.inv))
    say(kept.text)
    if before is not None and not kept.holds:
        troubles.append((Exit.FAILS, kept.text))
    found = losses(probe, records)
    if text := overran(found):
        say(text)
    if text := told(found):
        say(text)
        troubles.append((Exit.FAILS, text))
    troubles.sort(key=lambda trouble: RANK.index(trouble[0]))
    code = troubles[0][0] if troubles else Exit.HOLDS
    return code, "; ".join(text for _, text in troubles) or f"run {run} was taken back", records


def _each(
    executor: Executor, run: str, backs: Sequence[Back], say: Callable[[str], None]
) -> tuple[list[Trouble], list[StepRecord]]:
    """Take back one after the other; what kept it from being all of the run, and what became of each."""
    stop, troubles, records = threading.Event(), list[Trouble](), list[StepRecord]()

    def soon() -> None:
        stop.set()
        say("stopping after this step; press Ctrl-C again to stop now")

    with first_interrupt(soon):
        for back in backs:
            if stop.is_set():
                return [*troubles, (Exit.INTERRUPTED, f"it was interrupted before step {back.n}")], records
            if back.stays:
                say(f"step {back.n}, {back.sentence}: {'' if back.needless else 'stays: '}{back.stays}")
                if not back.needless:
                    troubles.append((Exit.FAILS, f"step {back.n} stays: {back.stays}"))
                continue
            record = _take(executor, run, back, say)
            records.append(record)
            if record.result == "done":
                continue
            demanded = DEMANDED.get(record.result, Exit.FAILS)
            if record.result != "refused" or back.carries:
                return [*troubles, (demanded, _stopped(back, record.reason, backs, target_of(executor.inv)))], records
            troubles.append((demanded, f"step {back.n} stays: {record.reason}"))
    if stop.is_set():
        troubles.append((Exit.INTERRUPTED, "it was interrupted in its last step, which was finished"))
    return troubles, records


def _take(executor: Executor, run: str, back: Back, say: Callable[[str], None]) -> StepRecord:
    """Take one step back, and write down in the journal of its run that it was, or that it was changed since."""
    label = f"take back step {back.n} of run {run}: {back.sentence}"
    nature = {"confirm": back.confirm, "puts_back": back.puts_back}
    record = executor.run_undo(back.n, back.host, back.script, label, back.limit, interrupts=back.interrupts, **nature)
    say(f"step {back.n}, {back.sentence}: {'taken back' if record.result == 'done' else record.reason}")
    theirs = Journal(run, executor.journal.link, begun=True)
    if record.result == "done":
        theirs.write("undone", n=back.n, by=executor.journal.run)
    elif record.rc in {Rc.MOVED, Rc.REFUSED}:
        theirs.write("left", n=back.n, by=executor.journal.run, reason=record.reason)
    return record


def _stopped(at: Back, why: str, backs: Sequence[Back], target: str) -> str:
    """Why nothing more is taken back than what came after the step `at`."""
    text = f"stopped at step {at.n}: {why}"
    if not at.carries:
        return text
    text += "; what came before it stays, as what serves the site rests on that"
    later = [str(back.n) for back in backs if back.n > at.n and not back.stays]
    if later:
        text += (
            f". What came after it was taken back (step {', '.join(later)}), and the site wants it: "
            f"`{command_line('remediate', target=target)}` does it again"
        )
    return text


def describe(story: Story) -> dict[str, Any]:
    """A run in a few words, for lists."""
    plan, end = story.plan, story.end
    results, waiting = story.results(), story.waiting
    still = "open"
    if waiting:
        still += f": waits for a person to do {waiting['step']}, {waiting['where']}: {waiting['typed']}"
    return {
        "id": story.id,
        "who": plan.get("who", ""),
        "target": plan.get("target", ""),
        "of": "rollback" if plan.get("rollback") else "purge" if "purge" in plan else "remediation",
        "takes back": plan.get("rollback", ""),
        "steps": len(story.intents()),
        "done": sum(r.get("rc") == 0 for r in results.values()),
        "undone": len(story.undone()),
        "journal": f"DAMAGED: {story.damage}" if story.damage else "",
        "end": still if end is None else f"{end.get('exit_code')}: {end.get('reason') or 'all well'}",
    }
