"""Taking a run back: the recorded ways back of its steps, in reverse, each under the same guards as the steps were."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from converge import guards, outside
from converge.errors import ConvergeError, Exit, StateMoved, Unobservable, UsageError
from converge.executor import Executor
from converge.interrupts import first_interrupt
from converge.journal import Journal, Story, folder, stories
from converge.lock import Lock
from converge.prober import Prober
from converge.record import StepRecord
from converge.recovery import close_open_runs
from converge.report.summary import downtime, led, led_text
from converge.shell import Rc
from converge.transport import Link
from hosts.schema import Inventory

NOTHING_DONE = {int(Rc.BUSY), int(Rc.WRONG_HOST), int(Rc.REPEATED), int(Rc.UNLOCKED), int(Rc.ROLLED_BACK)}


LIMIT = 300.0
"""Seconds that a way back has at least: graceful stops and boots may be in it that were no part of the step."""


@dataclass(frozen=True, slots=True)
class Back:
    """One step to take back, or the reason why it stays as it is.

    Its way back has `limit` seconds, and is confirmed from outside if the step was (`confirm`): the way back of a cutover is
    a cutover.
    """

    n: int
    step: str
    host: str
    sentence: str
    way: str
    stays: str = ""
    limit: float = LIMIT
    confirm: bool = False


def plan_rollback(story: Story) -> list[Back]:
    """What taking a run back means, last step first. Pure.

    A step that failed or was cut off may have done a part, so it is taken back too, as far as it came.
    """
    results, undone, purged = story.results(), story.undone(), story.purged()
    found = []
    for intent in reversed(story.intents()):
        n = int(intent["n"])
        rc = results.get(n, {}).get("rc")
        if rc in NOTHING_DONE or n in undone:
            continue
        way = str(intent.get("undo", ""))
        stays = "" if intent.get("undoable") else way or "no way back was recorded"
        if n in purged:
            stays = f"what it moved aside was deleted by the purge {purged[n]}"
        limit, confirm = max(LIMIT, float(intent.get("limit", 0.0))), bool(intent.get("confirm"))
        found.append(Back(n, str(intent["step"]), str(intent["host"]), str(intent["sentence"]), way, stays, limit, confirm))
    return found


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


def roll_back(
    inv: Inventory,
    links: Mapping[str, Link],
    run: str,
    mine: str,
    who: str,
    say: Callable[[str], None],
    dial: Callable[[Inventory, str], Link] = outside.dial,
) -> tuple[Exit, list[StepRecord]]:
    """Take the run's steps back, last first, as a run `mine` of its own, under the same guards and eyes as a run.

    What somebody changed since is left as it is and reported; a way back that fails ends it. Ctrl-C ends it after the step
    that is going on; pressed twice it leaves that one alone.

    Raises:
        LockHeld, StateMoved: another run is going on, or a step of one, or a deploy.
        ConnectionLost: what became of the step that acted is not known.
        RolledBack: the connection was lost, and the host put back by itself what the step had done.
        KeyboardInterrupt: the person would not wait for the end of the step.
    """
    app, folder = links[inv.app_host.name], Path("reports") / mine
    lock = Lock(app)
    lock.acquire(who, mine)
    prober = Prober(inv, folder / "requests.jsonl")
    try:
        for note in close_open_runs(links, app, mine):
            say(note)
        story = find_story(app, run)
        quiet = guards.nobody_deploys(app, inv)
        if not quiet.holds:
            raise StateMoved(f"{inv.app_host.name}: {quiet.text}")
        before = _tree(app, inv)
        journal = Journal(mine, app)
        looking = partial(outside.look, prober)
        executor = Executor(inv, links, "", journal, lock, folder, partial(dial, inv), looking)
        backs = plan_rollback(story)
        journal.write("plan", who=who, target=inv.name, rollback=run, steps=[b.step for b in backs])
        if trouble := prober.start():
            say(trouble)
        try:
            code, reason, records = _each(executor, links, run, backs, say)
        finally:
            say(downtime(prober.stop()))
        if text := led_text(led(records)):
            say(text)
        kept = guards.tree_kept(before, _tree(app, inv))
        say(kept.text)
        if before is not None and not kept.holds and code is Exit.HOLDS:
            code, reason = Exit.FAILS, kept.text
        journal.write("end", exit_code=int(code), reason=reason)
        return code, records
    finally:
        lock.release()


def _each(
    executor: Executor, links: Mapping[str, Link], run: str, backs: Sequence[Back], say: Callable[[str], None]
) -> tuple[Exit, str, list[StepRecord]]:
    """Take back one after the other; the exit code, why it is that, and what became of each."""
    stop, records = threading.Event(), list[StepRecord]()
    code, reason = Exit.HOLDS, f"run {run} was taken back"

    def soon() -> None:
        stop.set()
        say("stopping after this step; press Ctrl-C again to stop now")

    with first_interrupt(soon):
        for back in backs:
            if stop.is_set():
                return Exit.INTERRUPTED, f"it was interrupted before step {back.n}", records
            if back.stays:
                say(f"step {back.n}, {back.sentence}: stays: {back.stays}")
                continue
            record = _one(executor, links, run, back)
            records.append(record)
            say(f"step {back.n}, {back.sentence}: {'taken back' if record.result == 'done' else record.reason}")
            if record.result == "done":
                Journal(run, executor.journal.link).write("undone", n=back.n, by=executor.journal.run)
                continue
            code, reason = Exit.STATE_MOVED, f"step {back.n} stays: {record.reason}"
            if record.result != "refused":
                code = Exit.ROLLED_BACK if record.result == "rolled back" else Exit.FAILS
                return code, f"stopped at step {back.n}: {record.reason}", records
    if stop.is_set() and code is Exit.HOLDS:
        return Exit.INTERRUPTED, "it was interrupted in its last step, which was finished", records
    return code, reason, records


def _tree(link: Link, inv: Inventory) -> guards.Tree | None:
    try:
        return guards.read_tree(link, inv)
    except (Unobservable, ConvergeError):
        return None


def _one(executor: Executor, links: Mapping[str, Link], run: str, back: Back) -> StepRecord:
    label = f"take back step {back.n} of run {run}: {back.sentence}"
    missing = StepRecord(f"undo-{back.n}", "", [], back.host, label, "", [], "", None, result="refused")
    if back.host not in links:
        missing.reason = f"{back.host} is not looked after any more"
        return missing
    script = _recorded(links[back.host], run, back.n)
    if not script:
        missing.reason = f"its way back is not on {back.host}: was it done from another machine?"
        return missing
    return executor.run_undo(back.n, back.host, script, label, back.limit, confirm=back.confirm)


def _recorded(link: Link, run: str, n: int) -> str:
    done = link.exec(f'cat -- {folder(run)}/{n}.undo.sh 2>/dev/null || :', limit=30)
    return done.out.decode(errors="replace")


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
        "end": still if end is None else f"{end.get('exit_code')}: {end.get('reason') or 'all well'}",
    }
