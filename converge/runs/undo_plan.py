"""What taking a run back means, step by step, and what keeps it from being taken back at all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from converge.errors import UsageError
from converge.journal.history import Story
from converge.journal.journal import folder
from converge.shell.library import Rc
from converge.transport import Link
from hosts.command_line import command_line
from hosts.tool import NAME

NOTHING_DONE = {int(Rc.BUSY), int(Rc.WRONG_HOST), int(Rc.UNLOCKED), int(Rc.ROLLED_BACK)}


LIMIT = 300.0
"""Seconds that a way back has at least: graceful stops and boots may be in it that were no part of the step."""


@dataclass(frozen=True, slots=True)
class Back:
    """One step to take back, or the reason why it stays as it is.

    Its way back has `limit` seconds, and is confirmed from outside if the step was (`confirm`): the way back of a cutover is
    a cutover. If it is killed it is put back if the step would have been (`puts_back`). It may cost the site what the step
    was expected to (`interrupts`). `needless` is one that stays and does no harm. What serves the site rests on one that
    `carries`: on that, what came before it; and what came after it (enabled, the old unit moved away) was done because of
    it. One that is `sure` was done: its host need not be asked whether it was.
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
    puts_back: bool = False


class JournalDamaged(UsageError):
    """What a run did is not all known: what would stay of it may be what serves the site, or what that rests on."""


class LaterRunStands(UsageError):
    """What a later run did stands on the run: that one is taken back before it."""


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
        has = ", ".join(str(intent["n"]) for intent in story.intents()) or "none"
        raise UsageError(f"run {story.id} has no step {min(strange)}; its steps are: {has}")
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
        step, host, sentence = (str(intent.get(key, "")) for key in ("step", "host", "sentence"))
        cost = intent.get("interrupts")
        told = (n, step, host, sentence, way, stays, limit, confirm, carries, needless, sure)
        found.append(Back(*told, interrupts=cost, puts_back=bool(intent.get("puts_back"))))
    return found


def refuse_damaged(run: str, where: str, story: Story) -> None:
    """Refuse to take a run back by a journal on the host `where` that does not tell all that was done since the run began.

    Raises:
        JournalDamaged: the `story`, of the run itself or of a later one, is such a one.
    """
    if not story.damage:
        return
    whose = "its journal" if story.id == run else f"the journal of run {story.id}, which came after it,"
    copy = f"reports/{story.id}/journal.jsonl on the machine of {story.plan.get('who', 'whoever began it')}"
    raise JournalDamaged(
        f"run {run} is not taken back: {whose} on {where} (~/.local/state/{NAME}/runs/{story.id}/journal.jsonl) is damaged: "
        f"{story.damage}. What serves the site may rest on what is not told there. Nothing was done. Put the lines back "
        f"from the copy in {copy}, or finish what was begun (remediate the same target again), or take it "
        'back by hand: docs/runbook.md, "A damaged journal"'
    )


def leave_the_site(story: Story, backs: Iterable[Back], by_hand: Collection[int], target: str) -> None:
    """Refuse to take a run back beneath what serves the site; a person took those steps back that are `by_hand`.

    `target` is what a person types after ``--target``.

    Raises:
        SiteRestsOnIt: steps stay, for longer than it does no harm, by which the site is served; it names all of them.
    """
    rest = [back for back in backs if back.stays and _is_rested_on(back)]
    if not rest:
        return
    steps = "; and on ".join(f"step {b.n} ({b.step} at {b.host}: {b.sentence}), and that one stays: {b.stays}" for b in rest)
    # One line for all of them, with what was said before: who types a line for each would be refused for the others.
    words = [word for n in sorted({*by_hand, *(back.n for back in rest)}) for word in ("--by-hand", str(n))]
    which = " and ".join(f"step {back.n}" for back in rest)
    raise SiteRestsOnIt(
        f"run {story.id} is not taken back: what serves the site rests on {steps}. Without the steps around it the site "
        f"may not start again. Nothing was done. Take {which} back by hand, then say so: "
        f"`{command_line('rollback', story.id, *words, target=target)}`"
    )


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


def leave_later_runs(
    links: Mapping[str, Link],
    where: str,
    known: Iterable[Story],
    story: Story,
    backs: Sequence[Back],
    by_hand: Collection[int],
    target: str,
) -> None:
    """Refuse to take a run back beneath a later one; `known` are the runs in the journal of the host `where`.

    `target` is what a person types after ``--target``.

    A later run stands on it by a step that carries the site and was not taken back, as what serves rests on all that came
    before; and if the run itself carries the site, by any step that is not taken back and can be: what came after a cutover
    was done because of it (enabled, the old unit moved away). Anything else a way back leaves alone that was changed since.

    Raises:
        LaterRunStands: it names the steps of those runs, the newest first.
        JournalDamaged: what a later run did is not all known.
    """
    if all(back.stays and not _is_rested_on(back) for back in backs):
        return
    handed = any(_is_rested_on(b) for b in [*backs, *(b for b in plan_rollback(story) if b.n in by_hand)])
    standing = list[tuple[Story, list[Back]]]()
    for later in sorted(known, key=lambda each: each.order, reverse=True):
        if later.order <= story.order or later.plan.get("rollback") or "purge" in later.plan:
            continue
        refuse_damaged(story.id, where, later)
        if found := _standing(links, later, handed=handed):
            standing.append((later, found))
    if not standing:
        return
    steps = "; of ".join(
        f"run {later.id}: " + ", ".join(f"step {b.n} ({b.step} at {b.host}: {b.sentence})" for b in found)
        for later, found in standing
    )
    again = command_line("rollback", standing[0][0].id, target=target)
    raise LaterRunStands(
        f"run {story.id} is not taken back: it lies beneath what later runs did, and the site may not start again without "
        f"it. These steps are not taken back: of {steps}. Nothing was done. Take back the newest run first: `{again}`; "
        "of a step of it that stays then, say that you took it back: --by-hand N"
    )


def _standing(links: Mapping[str, Link], later: Story, *, handed: bool) -> list[Back]:
    """The steps by which a later run stands on one, which `handed` the site over or did not."""
    left = later.left()
    acted = [back for back in plan_rollback(later) if back.carries or (handed and not back.stays and back.n not in left)]
    found = with_ways(links, later.id, acted)
    return [back for back in found if _is_rested_on(back) or not back.stays]


def _is_rested_on(back: Back) -> bool:
    """Whether what serves the site rests on the step, as far as that was done."""
    return back.carries and not back.needless


def ways_back(links: Mapping[str, Link], where: str, story: Story, by_hand: Collection[int] = ()) -> list[Back]:
    """What taking a run back means, with its ways back as their hosts know them; its journal is on the host `where`.

    Raises:
        JournalDamaged: what the run did is not all known.
        UsageError: the run has no step that a person took back `by_hand`.
    """
    refuse_damaged(story.id, where, story)
    return with_ways(links, story.id, plan_rollback(story, by_hand))


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
