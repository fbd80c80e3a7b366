"""Taking a run back: the recorded ways back of its steps, in reverse, each under the same guards as the steps were."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from converge import guards, outside
from converge.errors import Exit, StateMoved, UsageError
from converge.executor import Executor
from converge.interrupts import first_interrupt
from converge.journal import Journal, Story, folder, stories
from converge.lock import Lock
from converge.losses import losses, told, weighed
from converge.prober import Prober
from converge.record import StepRecord
from converge.recovery import close_open_runs
from converge.report.summary import downtime, led, led_text
from converge.shell import Rc
from converge.transport import Link
from converge.whose import owner, refuse_other
from hosts.schema import Inventory

NOTHING_DONE = {int(Rc.BUSY), int(Rc.WRONG_HOST), int(Rc.REPEATED), int(Rc.UNLOCKED), int(Rc.ROLLED_BACK)}


LIMIT = 300.0
"""Seconds that a way back has at least: graceful stops and boots may be in it that were no part of the step."""


@dataclass(frozen=True, slots=True)
class Back:
    """One step to take back, or the reason why it stays as it is.

    Its way back has `limit` seconds, and is confirmed from outside if the step was (`confirm`): the way back of a cutover is
    a cutover. It may cost the site what the step was expected to (`interrupts`). `needless` is one that stays and does no
    harm. What serves the site rests on one that `carries`: on that, what came before it; and what came after it (enabled,
    the old unit moved away) was done because of it. One that is `sure` was done, so its host need not be asked for that.
    """

    n: int
    step: str
    host: str
    sentence: str
    way: str
    stays: str = ""
    limit: float = LIMIT
    confirm: bool = False
    carries: bool = False
    needless: bool = False
    sure: bool = False
    script: str = ""
    interrupts: float | None = None


class SiteRestsOnIt(UsageError):
    """A step stays on which what serves the site rests: the steps around it are not taken back under the site."""


def plan_rollback(story: Story, by_hand: Collection[int] = ()) -> list[Back]:
    """What taking a run back means, last step first; without the steps that a person took back `by_hand`. Pure.

    A step that failed or was cut off may have done a part, so it is taken back too, as far as it came.

    Raises:
        UsageError: the run has no such step that a person could have taken back.
    """
    results, undone, purged = story.results(), story.undone(), story.purged()
    if strange := set(by_hand) - {int(intent["n"]) for intent in story.intents()}:
        raise UsageError(f"run {story.id} has no step {min(strange)}: `python -m converge show {story.id}` lists them")
    found = []
    for intent in reversed(story.intents()):
        n = int(intent["n"])
        rc = results.get(n, {}).get("rc")
        if rc in NOTHING_DONE or n in undone or n in by_hand:
            continue
        way = str(intent.get("undo", ""))
        stays = "" if intent.get("undoable") else way or "no way back was recorded"
        if n in purged:
            stays = f"what it moved aside was deleted by the purge {purged[n]}"
        limit, confirm = max(LIMIT, float(intent.get("limit", 0.0))), bool(intent.get("confirm"))
        carries, needless = bool(intent.get("carries", confirm)), bool(intent.get("needless"))
        # What a person did in a way of their own left nothing of ours on its host.
        sure = rc == Rc.DONE or bool(intent.get("by_hand"))
        step, host, sentence = (str(intent[key]) for key in ("step", "host", "sentence"))
        cost = intent.get("interrupts")
        found.append(Back(n, step, host, sentence, way, stays, limit, confirm, carries, needless, sure, interrupts=cost))
    return found


def leave_the_site(run: str, backs: Iterable[Back], by_hand: Collection[int] = ()) -> None:
    """Refuse to take a run back beneath what serves the site; a person took those steps back that are `by_hand`.

    Raises:
        SiteRestsOnIt: steps stay, for longer than it does no harm, by which the site is served; it names all of them.
    """
    rest = [back for back in backs if back.carries and back.stays and not back.needless]
    if not rest:
        return
    steps = "; and on ".join(f"step {b.n} ({b.step} at {b.host}: {b.sentence}), and that one stays: {b.stays}" for b in rest)
    # One line for all of them, with what was said before: who types a line for each would be refused for the others.
    words = " ".join(f"--by-hand {n}" for n in sorted({*by_hand, *(back.n for back in rest)}))
    which = " and ".join(f"step {back.n}" for back in rest)
    raise SiteRestsOnIt(
        f"run {run} is not taken back: what serves the site rests on {steps}. Without the steps around it the site may not "
        f"start again. Nothing was done. Take {which} back by hand, then say so: python -m converge rollback {run} {words}"
    )


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
    reports: Path,
    dial: Callable[[Inventory, str], Link] = outside.dial,
    by_hand: Collection[int] = (),
) -> tuple[Exit, list[StepRecord]]:
    """Take the run's steps back, last first, as a run `mine` of its own, under the same guards and eyes as a run.

    What this machine keeps of it is in its folder of `reports`. What somebody changed since is left as it is and reported;
    a way back that fails ends it, and so does one that is left as it is and on which the site rests. A person took those
    back that are `by_hand`. It ends with 0 only if nothing stays but what does no harm. Ctrl-C ends it after the step that
    is going on; pressed twice it leaves that one alone.

    Raises:
        SiteRestsOnIt: what serves the site rests on a step that will stay; nothing was done.
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
        for note in close_open_runs(links, app, mine):
            say(note)
        story = refuse_other(find_story(app, run), inv)
        _refuse_during_a_deploy(app, inv)
        before = guards.tree_if_readable(app, inv)
        journal = Journal(mine, app)
        journal.make(here)
        looking = partial(outside.look, prober)
        executor = Executor(inv, links, "", journal, lock, here, partial(dial, inv), looking)
        backs = with_ways(links, run, plan_rollback(story, by_hand))
        leave_the_site(run, backs, by_hand)
        journal.write("plan", who=who, rollback=run, steps=[b.step for b in backs], **owner(inv))
        for n in by_hand:
            Journal(run, app).write("undone", n=n, by=f"{who}, by hand")
        code, reason, records = _watched(executor, run, backs, say, prober, before)
        journal.write("end", exit_code=int(code), reason=reason)
        return code, records
    finally:
        lock.release()


def _refuse_during_a_deploy(app: Link, inv: Inventory) -> None:
    quiet = guards.nobody_deploys(app, inv)
    if not quiet.holds:
        raise StateMoved(f"{inv.app_host.name}: {quiet.text}")


def _watched(
    executor: Executor,
    run: str,
    backs: Sequence[Back],
    say: Callable[[str], None],
    prober: Prober,
    before: guards.Tree | None,
) -> tuple[Exit, str, list[StepRecord]]:
    """Take back one after the other while the site is asked; then look whether the shared data is as it was `before`."""
    if trouble := prober.start():
        say(trouble)
    try:
        code, reason, records = _each(executor, run, backs, say)
    finally:
        say(downtime(probe := prober.stop()))
    if text := led_text(led(records)):
        say(text)
    kept = guards.tree_kept(before, guards.tree_if_readable(executor.journal.link, executor.inv))
    say(kept.text)
    if before is not None and not kept.holds and code is Exit.HOLDS:
        code, reason = Exit.FAILS, kept.text
    if found := losses(probe, records):
        say(told(found))
        code, reason = weighed((code, reason), found) or (code, reason)
    return code, reason, records


def _each(
    executor: Executor, run: str, backs: Sequence[Back], say: Callable[[str], None]
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
                say(f"step {back.n}, {back.sentence}: {'' if back.needless else 'stays: '}{back.stays}")
                if code is Exit.HOLDS and not back.needless:
                    code, reason = Exit.FAILS, f"step {back.n} stays: {back.stays}"
                continue
            label = f"take back step {back.n} of run {run}: {back.sentence}"
            record = executor.run_undo(
                back.n, back.host, back.script, label, back.limit, confirm=back.confirm, interrupts=back.interrupts
            )
            records.append(record)
            say(f"step {back.n}, {back.sentence}: {'taken back' if record.result == 'done' else record.reason}")
            if record.result == "done":
                Journal(run, executor.journal.link, begun=True).write("undone", n=back.n, by=executor.journal.run)
                continue
            code, reason = Exit.STATE_MOVED, f"step {back.n} stays: {record.reason}"
            if record.result != "refused":
                code = Exit.ROLLED_BACK if record.result == "rolled back" else Exit.FAILS
            if record.result != "refused" or back.carries:
                return code, _stopped(back, record.reason, backs), records
    if stop.is_set() and code is Exit.HOLDS:
        return Exit.INTERRUPTED, "it was interrupted in its last step, which was finished", records
    return code, reason, records


def _stopped(at: Back, why: str, backs: Sequence[Back]) -> str:
    """Why nothing more is taken back than what came after the step `at`."""
    text = f"stopped at step {at.n}: {why}"
    if not at.carries:
        return text
    text += "; what came before it stays, as what serves the site rests on that"
    later = [str(back.n) for back in backs if back.n > at.n and not back.stays]
    if later:
        text += (
            f". What came after it was taken back (step {', '.join(later)}), and the site wants it: "
            "`pytest verify/ --remediate` does it again"
        )
    return text


def way_script(run: str, n: int) -> str:
    """Shell that says whether a step began (``elsewhere``, ``never``, ``refused``, ``begun``), and prints its way back."""
    refused = "|".join(str(int(rc)) for rc in (Rc.MOVED, Rc.WRONG_HOST, Rc.REFUSED))
    return f"""J={folder(run)}
[ -d "$J" ] || {{ echo elsewhere; exit 0; }}
[ -s "$J/{n}.sh" ] || {{ echo never; exit 0; }}
case "$(cat "$J/{n}.rc" 2>/dev/null)" in {refused})
  # One of its acts may have been done before another one was refused: its log has that, which is empty at first.
  CV_STEP=; eval "$(grep -m 1 '^CV_STEP=' "$J/{n}.sh")"
  [ ! -e "$CV_STEP/log" ] || [ -s "$CV_STEP/log" ] || {{ echo refused; exit 0; }} ;;
esac
echo begun; cat "$J/{n}.undo.sh"
"""


def with_ways(links: Mapping[str, Link], run: str, backs: Iterable[Back]) -> list[Back]:
    """The same with their recorded ways back, or the reason why they stay for want of that, as their hosts know it.

    Of what stays anyhow and is not sure to have been done it says whether it was: what did nothing keeps nothing back.
    """
    return [_found(links, run, back) for back in backs]


def _found(links: Mapping[str, Link], run: str, back: Back) -> Back:
    if back.stays and (back.sure or back.needless):
        return back
    if back.host not in links:
        return replace(back, stays=back.stays or f"{back.host} is not looked after any more")
    done = links[back.host].exec(way_script(run, back.n), limit=30)
    word, _, script = done.out.decode(errors="replace").partition("\n")
    if word == "never":
        # Its intent was written, and then its script could not be (disk full): whatever lies there of a way back.
        return replace(back, stays="it never began: nothing to take back", needless=True)
    if word == "refused":
        return replace(back, stays="it was refused before it did anything: nothing to take back", needless=True)
    if back.stays:
        return back
    if word != "begun" or not script:
        return replace(back, stays=f"its way back is not on {back.host}: was it done from another machine?")
    return replace(back, script=script)


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
