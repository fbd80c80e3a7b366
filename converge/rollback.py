"""Taking a run back: the recorded ways back of its steps, in reverse, each under the same guards as the steps were."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converge.errors import Exit, UsageError
from converge.executor import Executor
from converge.journal import Journal, Story, folder, stories
from converge.lock import Lock
from converge.record import StepRecord
from converge.recovery import close_open_runs
from converge.shell import Rc
from converge.transport import Link
from hosts.schema import Inventory

NOTHING_DONE = {int(Rc.BUSY), int(Rc.WRONG_HOST), int(Rc.REPEATED), int(Rc.UNLOCKED), int(Rc.ROLLED_BACK)}


@dataclass(frozen=True, slots=True)
class Back:
    """One step to take back, or the reason why it stays as it is."""

    n: int
    step: str
    host: str
    sentence: str
    way: str
    stays: str = ""


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
        found.append(Back(n, str(intent["step"]), str(intent["host"]), str(intent["sentence"]), way, stays))
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
) -> tuple[Exit, list[StepRecord]]:
    """Take the run's steps back, last first, as a run `mine` of its own.

    What somebody changed since is left as it is and reported; a way back that fails ends it.

    Raises:
        LockHeld: another run is going on, or a step of one.
        ConnectionLost: what became of the step that acted is not known.
    """
    app = links[inv.app_host.name]
    lock = Lock(app)
    lock.acquire(who, mine)
    records: list[StepRecord] = []
    try:
        for note in close_open_runs(links, app, mine):
            say(note)
        story = find_story(app, run)
        journal = Journal(mine, app)
        executor = Executor(inv, links, "", journal, lock, Path("reports") / mine)
        journal.write("plan", who=who, target=inv.name, rollback=run, steps=[b.step for b in plan_rollback(story)])
        code, reason = Exit.HOLDS, f"run {run} was taken back"
        for back in plan_rollback(story):
            if back.stays:
                say(f"step {back.n}, {back.sentence}: stays: {back.stays}")
                continue
            record = _one(executor, links, run, back)
            records.append(record)
            say(f"step {back.n}, {back.sentence}: {'taken back' if record.result == 'done' else record.reason}")
            if record.result == "done":
                Journal(run, app).write("undone", n=back.n, by=mine)
                continue
            code, reason = Exit.STATE_MOVED, f"step {back.n} stays: {record.reason}"
            if record.result != "refused":
                code, reason = Exit.FAILS, f"stopped at step {back.n}: {record.reason}"
                break
        journal.write("end", exit_code=int(code), reason=reason)
        return code, records
    finally:
        lock.release()


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
    return executor.run_undo(back.n, back.host, script, label)


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
