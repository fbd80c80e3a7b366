"""Steps from intent to result, on this machine's folders."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from converge.acting.executor import Executor
from converge.acting.launch import launch_script
from converge.acting.manual import hand_line
from converge.acting.result import led_of, settle
from converge.checking.record import StepRecord
from converge.errors import ConnectionLost, Exit, UsageError
from converge.journal.journal import Journal, JournalError, stories
from converge.journal.lock import Lock
from converge.shell.library import Rc
from converge.steps import Condition, Run, Step, Write
from converge.steps.describe import render
from converge.transport import Completed, LocalLink
from hosts.schema import Inventory
from tests.converge.stage import Severed
from tests.converge.world import World, build


@pytest.fixture
def world(tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> World:
    return build(tmp_path, inventory, monkeypatch)


@pytest.fixture
def link() -> Severed:
    return Severed()


@pytest.fixture
def executor(world: World, link: Severed) -> Iterator[Executor]:
    lock = Lock(link)
    lock.acquire("ada", "R1")
    links = {"new": link, "control": link}
    yield Executor(world.inv, links, "", Journal("R1", link, world.top / "mirror"), lock, world.top / "reports")
    lock.release()


def step(world: World, **changes: object) -> Step:
    act = Write(f"{world.root}/file", "x\n")
    settings: dict[str, object] = {"id": "A/1", "host": "new", "sentence": "write it", "acts": (act,)}
    return Step(**{**settings, **changes})  # type: ignore[arg-type]


def state(world: World, run: str = "R1") -> Path:
    return world.home / ".local/state/hkn-migration/runs" / run


def test_step_is_written_down_before_and_after(world: World, executor: Executor) -> None:
    record = executor.run_step(step(world), "a.b", ["A"])
    assert (record.result, record.rc, record.reason) == ("done", 0, "")
    kinds = [json.loads(text)["kind"] for text in (state(world) / "journal.jsonl").read_text().splitlines()]
    assert kinds == ["intent", "result"]
    kept = {"sh", "undo.sh", "out", "err", "rc", "started", "state", "status"}
    assert {p.name for p in state(world).iterdir()} >= {f"1.{ending}" for ending in kept}
    mirror = [json.loads(text) for text in (world.top / "mirror").read_text().splitlines()]
    assert [(m["kind"], m["n"]) for m in mirror] == [("intent", 1), ("result", 1)]


def test_host_is_told_whose_step_begins_and_how_it_ended(world: World, executor: Executor) -> None:
    executor.run_step(step(world), "a.b", ["A"])
    executor.run_step(step(world, sentence="it's\nbroken", acts=(Run("exit 3"),)), "a.b", ["A"])
    assert world.said == [
        "-t hkn-migration: run R1, step 1, by ada: write it: begins",
        "-t hkn-migration: run R1, step 1, by ada: write it: ended with status 0",
        "-t hkn-migration: run R1, step 2, by ada: it's broken: begins",
        "-t hkn-migration: run R1, step 2, by ada: it's broken: ended with status 70",
    ]


def test_step_on_this_machine_is_told_to_the_app_host_too(
    world: World, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(script: str, **given: object) -> Completed:
        """This machine: what is said here is said to nobody."""
        return LocalLink.exec(elsewhere, script.replace("systemd-cat", "false").replace("logger", "false"), **given)  # type: ignore[arg-type]

    elsewhere = Severed()
    monkeypatch.setattr(elsewhere, "exec", here)
    executor.links = {**executor.links, "control": elsewhere}
    inside = step(world, host="control", acts=(Write(f"{executor.workdir}/clone", "x"),))
    assert executor.run_step(inside, "a.b", ["A"]).result == "done"
    assert [text.rpartition(": ")[2] for text in world.said] == ["begins", "ended with status 0"]


@pytest.mark.parametrize("broken", ["exit 1", "sleep 60"])
def test_step_whose_words_nobody_takes_is_done_all_the_same(world: World, executor: Executor, broken: str) -> None:
    for name in ("systemd-cat", "logger"):
        (world.top / "bin" / name).write_text(f"#!/bin/sh\n{broken}\n")
        (world.top / "bin" / name).chmod(0o755)
    quick = '[ "$1" != 5 ] || { shift; set -- 0.1 "$@"; }\nexec /usr/bin/timeout "$@"\n'
    (world.top / "bin" / "timeout").write_text(f"#!/bin/sh\n{quick}")
    (world.top / "bin" / "timeout").chmod(0o755)
    assert executor.run_step(step(world), "a.b", ["A"]).result == "done"


def test_without_systemd_the_words_go_to_the_system_log(world: World, executor: Executor) -> None:
    (world.top / "bin" / "systemd-cat").rename(world.top / "bin" / "logger")
    (world.top / "bin" / "systemd-cat").write_text("#!/bin/sh\nexit 1\n")
    (world.top / "bin" / "systemd-cat").chmod(0o755)
    executor.run_step(step(world), "a.b", ["A"])
    assert len(world.said) == 2


def test_state_says_what_the_step_does_and_what_stopping_it_does(world: World, executor: Executor) -> None:
    file = state(world) / "1.state"
    executor.run_step(step(world, acts=(Run(f"cat {file}"), Write(f"{world.root}/a", "x"))), "a.b", ["A"])
    words = file.read_text().splitlines()
    assert words == [
        "step 1 of run R1, by ada: write it; stopping it: the step ends, puts back what it wrote, moved or "
        "linked (1.undo.sh beside this file does so too); nothing is lost; the next run looks what became of it",
        "ended with status 0",
    ]
    assert (state(world) / "1.out").read_text().splitlines() == words[:1], "it stood there while the step acted"
    executor.run_step(step(world, undo="no way back"), "a.b", ["A"])
    assert "undo.sh" not in (state(world) / "2.state").read_text()


def test_person_who_stops_a_step_has_it_put_back_as_its_state_says(world: World, executor: Executor) -> None:
    script = f"echo half | put {world.root}/half 644; sleep 30"
    never = Write(f"{world.root}/never", "x")
    thread = threading.Thread(target=_stop_when_begun, args=(state(world) / "1.sh", world.root / "half"))
    thread.start()
    record = executor.run_step(step(world, acts=(Run(script), never)), "a.b", ["A"])
    thread.join()
    assert record.result == "failed"
    assert record.seconds < 20
    assert "linked before was put back" in record.reason
    assert not (world.root / "half").exists()
    assert not (world.root / "never").exists()
    assert (state(world) / "1.state").read_text().endswith(f"ended with status {record.rc}\n")
    undone = subprocess.run(["/bin/sh", state(world) / "1.undo.sh"], check=False)
    assert undone.returncode == 0
    assert not (world.root / "half").exists()


def _stop_when_begun(script: Path, sign: Path) -> None:
    end = time.monotonic() + 10
    while not sign.exists() and time.monotonic() < end:
        time.sleep(0.05)
    # The runbook's way: the step's own processes by the path of its script, of which the first is timeout.
    seen = subprocess.run(["pgrep", "-o", "-f", f"timeout .*{script}"], capture_output=True, text=True, check=True)
    subprocess.run(["kill", "-s", "TERM", seen.stdout.strip()], check=True)


def test_step_on_a_host_gives_way_to_others_and_one_on_this_machine_does_not(world: World, executor: Executor) -> None:
    shown = (Run("ps -o ni= -p $$"),)
    assert int(executor.run_step(step(world, acts=shown), "a.b", ["A"]).out) == max(10, os.nice(0))
    assert int(executor.run_step(step(world, acts=shown, host="control"), "a.b", ["A"]).out) == os.nice(0)


def test_step_on_another_machine_takes_three_execs(
    world: World, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lock and intent, the step, its result: each is on the disk before the next begins."""
    sent: list[str] = []
    exec_ = Severed.exec

    def noted(self: Severed, script: str, *, limit: float, stdin: bytes = b"") -> Completed:
        sent.append("step" if "setsid" in script else "".join(re.findall(r'"kind": "(\w+)"', script)))
        return exec_(self, script, limit=limit, stdin=stdin)

    monkeypatch.setattr(Severed, "exec", noted)
    executor.run_step(step(world, host="control", acts=(Run("true"),)), "a.b", ["A"])
    assert sent == ["intent", "step", "result"]


def test_output_and_reason_of_a_failure_come_back(world: World, executor: Executor) -> None:
    record = executor.run_step(step(world, acts=(Run("echo out; echo why >&2; exit 3"),)), "a.b", ["A"])
    assert (record.result, record.out, record.err) == ("failed", "out\n", "why")
    assert record.reason == "why (act 1 ended with status 3)"


def test_reason_of_a_failure_without_words_is_its_status(world: World, executor: Executor) -> None:
    assert executor.run_step(step(world, acts=(Run("exit 3"),)), "a.b", ["A"]).reason == "act 1 ended with status 3"


def test_moved_state_is_refused_with_the_condition(world: World, executor: Executor) -> None:
    record = executor.run_step(step(world, when=(Condition("nobody was there", "false"),)), "a.b", ["A"])
    assert record.result == "refused"
    assert "nobody was there" in record.reason
    assert not (world.root / "file").exists()


def test_step_that_takes_too_long_is_ended_on_its_host(world: World, executor: Executor) -> None:
    record = executor.run_step(step(world, acts=(Run("sleep 30"),), limit=0.5), "a.b", ["A"])
    assert record.result == "failed"
    assert "after its limit of 0.5 s" in record.reason


def test_step_that_puts_back_at_its_end_is_waited_for_under_the_lock(world: World, executor: Executor) -> None:
    back = f"flock -n {world.top}/run/hkn-migration.act true && echo free | put {world.root}/lock 644"
    script = f"trap '{back}; sleep 1; echo was | put {world.root}/back 644; exit 143' TERM\nsleep 30 & wait"
    never = Write(f"{world.root}/never", "x")
    record = executor.run_step(step(world, acts=(Run(script), never), limit=0.5), "a.b", ["A"])
    assert record.result == "failed"
    assert "after its limit of 0.5 s" in record.reason
    assert "put /" in (Path(world.inv.attic) / "R1/001-A-1/log").read_text(), "what it put back was waited for"
    assert not (world.root / "back").exists(), "and is put back in its turn"
    assert not (world.root / "lock").exists(), "no other step could have begun meanwhile"
    assert not (world.root / "never").exists()


def test_permission_that_is_missing_makes_it_a_persons(world: World, executor: Executor) -> None:
    record = executor.run_step(step(world, may="deploy"), "a.b", ["A"])
    assert record.result == "manual"
    assert "does not allow this tool to deploy" in record.reason
    assert f"cat >{world.root}/file" in record.reason
    assert not state(world).exists()


def test_program_in_words_of_the_tool_is_not_given_to_a_person_to_type(world: World, executor: Executor) -> None:
    program = (Run('[ "$(prop "$UNIT" MainPID)" = 0 ] || unit stop "$UNIT"'),)
    record = executor.run_step(step(world, may="restart", acts=program), "a.b", ["A"])
    assert record.result == "manual"
    assert "docs/runbook.md" in record.reason
    assert "prop" not in record.reason


def test_step_for_an_unknown_host_is_refused(world: World, executor: Executor) -> None:
    with pytest.raises(UsageError, match="no live host"):
        executor.run_step(step(world, host="elsewhere"), "a.b", ["A"])


def test_control_steps_stay_in_the_runs_own_folder(world: World, executor: Executor) -> None:
    inside = step(world, host="control", acts=(Write(f"{executor.workdir}/clone", "x"),))
    assert executor.run_step(inside, "a.b", ["A"]).result == "done"
    outside = step(world, host="control", acts=(Write(f"{world.root}/clone", "x"),))
    assert executor.run_step(outside, "a.b", ["A"]).result == "refused"


def test_run_folder_that_cannot_be_made_is_said_and_nothing_is_sent(world: World, executor: Executor) -> None:
    executor.workdir.parent.write_text("in the way")
    record = StepRecord("A/1", "", [], "control", "", "", [], "", None)
    with pytest.raises(JournalError, match=r"folder of the run, could not be made \(Not a directory\): nothing is done"):
        executor.run_step(step(world, host="control"), "a.b", ["A"], record)
    assert record.result == "not reached"
    assert stories(world.link) == []


def test_journal_that_fails_after_a_step_leaves_what_is_not_known(world: World, executor: Executor) -> None:
    executor.run_step(step(world), "a.b", ["A"])
    (world.top / "mirror").unlink()
    (world.top / "mirror").mkdir()
    with pytest.raises(JournalError, match="nothing more is done") as failed:
        executor.run_step(step(world), "a.b", ["A"])
    assert failed.value.exit_code is Exit.UNKNOWN


def test_lost_connection_is_unknown_and_the_step_goes_on(world: World, executor: Executor, link: Severed) -> None:
    link.at = "A/9"
    with pytest.raises(ConnectionLost):
        executor.run_step(step(world, id="A/9"), "a.b", ["A"])
    link.at = ""
    assert (world.root / "file").exists()
    assert stories(link)[0].results()[1]["rc"] == 0, "its host wrote what became of it"


def test_full_disk_leaves_a_script_and_its_way_back_whole_or_not_at_all(world: World, executor: Executor) -> None:
    attempt = executor._attempt(step(world, undo=(Run(": # " + "x" * 40_000),)))

    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    words = ["/bin/sh", "-c", launch_script("R1", attempt, "")]
    done = subprocess.run(words, preexec_fn=full, restore_signals=False, capture_output=True, check=False)
    assert done.returncode == Rc.FAILED
    left = {path.name for path in state(world).iterdir()}
    assert not left & {"1.sh", "1.undo.sh", "1.started"}, left
    assert subprocess.run(words, check=False).returncode == Rc.DONE, "it never began, so that it may begin now"


def test_step_outlives_the_process_that_started_it(world: World, executor: Executor) -> None:
    attempt = executor._attempt(step(world, acts=(Run(f"sleep 1; echo late | put {world.root}/late 644"),)))
    process = subprocess.Popen(["/bin/sh", "-c", launch_script("R1", attempt, "{}")], start_new_session=True)
    end = time.monotonic() + 5
    while not (state(world) / "1.started").exists() and time.monotonic() < end:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (state(world) / "1.rc").exists()
    while not (state(world) / "1.rc").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert (state(world) / "1.rc").read_text() == "0\n"
    assert (world.root / "late").read_text() == "late\n"


@pytest.mark.parametrize(
    ("changes", "sent"),
    [
        ({}, ["new"]),
        ({"host": "control", "acts": (Run("true"),)}, ["control"]),
        ({"acts": (Run("exit 1"),)}, ["new"]),
        ({"when": (Condition("never", "false"),)}, ["new"]),
        ({"acts": (Run("sleep 30"),), "limit": 0.3}, ["new"]),
        ({"may": "deploy"}, []),
    ],
)
def test_whatever_was_sent_ends_what_was_known(
    world: World, link: Severed, changes: dict[str, object], sent: list[str]
) -> None:
    lock, heard = Lock(link), list[str]()
    lock.acquire("ada", "R1")
    journal = Journal("R1", link, world.top / "mirror")
    links = {"new": link, "control": link}
    executor = Executor(world.inv, links, "", journal, lock, world.top / "reports", sent=heard.append)
    try:
        executor.run_step(step(world, **changes), "a.b", ["A"])
    finally:
        lock.release()
    assert (heard, executor.epoch) == (sent, len(sent))


def test_step_that_is_lost_on_its_way_was_sent_and_one_without_the_lock_was_not(executor: Executor, world: World) -> None:
    link = executor.links["new"]
    assert isinstance(link, Severed)
    link.at = "A/9"
    with pytest.raises(ConnectionLost):
        executor.run_step(step(world, id="A/9"), "a.b", ["A"])
    assert executor.epoch == 1
    executor.lock._lost = "its connection ended"
    with pytest.raises(ConnectionLost):
        executor.run_step(step(world), "a.b", ["A"])
    assert executor.epoch == 1


def test_nothing_is_begun_twice(world: World, executor: Executor) -> None:
    executor.run_step(step(world), "a.b", ["A"])
    executor.count = 0
    assert executor.run_step(step(world), "a.b", ["A"]).result == "unknown"


def test_background_process_of_a_step_does_not_keep_the_lock(world: World, executor: Executor, link: Severed) -> None:
    script = f"setsid sleep 20 & echo $! | put {world.root}/pid 600"
    assert executor.run_step(step(world, acts=(Run(script),)), "a.b", ["A"]).result == "done"
    try:
        executor.lock.release()
        second = Lock(link)
        second.acquire("bob", "R2")
        second.release()
    finally:
        subprocess.run(["kill", (world.root / "pid").read_text().strip()], check=True)


def test_step_that_reaches_the_host_after_the_lock_was_lost_does_nothing(world: World, executor: Executor) -> None:
    executor.lock._stream.close()  # type: ignore[union-attr]
    acts = (Run('echo x >>"$XDG_RUNTIME_DIR/acted"'),)
    for host in ("new", "control"):
        with pytest.raises(ConnectionLost, match="lock"):
            executor.run_step(step(world, host=host, acts=acts), "a.b", ["A"])
    assert not (world.top / "run/acted").exists()


def test_step_that_was_not_sent_is_not_waited_for(world: World, executor: Executor, link: Severed) -> None:
    executor.dial, executor.lock._lost = (lambda _host: link), "its connection ended"
    record = render(step(world), "a.b", ["A"])
    began = time.monotonic()
    with pytest.raises(ConnectionLost, match="the lock was lost"):
        executor.run_step(step(world, confirm=5.0, limit=60.0), "a.b", ["A"], record)
    assert time.monotonic() - began < 5
    assert record.result == "not reached"
    assert record.reason.startswith("it was not sent: ")


NOTES = Run("leads_to 'the old one'; sleep 0.4; leads_to 'the new one, since' ; sleep 0.4; leads_to 'the new one'")


@pytest.mark.parametrize("confirm", [None, 5.0])
def test_whom_a_step_leads_the_site_to_is_known_by_our_clock(
    world: World, executor: Executor, link: Severed, confirm: float | None
) -> None:
    executor.dial = lambda _host: link
    began = time.time()
    record = executor.run_step(step(world, acts=(NOTES,), confirm=confirm), "a.b", ["A"])
    ended = time.time()
    assert (record.result, record.reason, record.err) == ("done", "", "")
    assert [who for _, who in record.led] == ["the old one", "the new one, since", "the new one"]
    moments = [at for at, _ in record.led]
    assert began < moments[0] < moments[1] < moments[2] < ended
    assert moments[2] - moments[0] == pytest.approx(0.8, abs=0.2)


@pytest.mark.parametrize("confirm", [None, 5.0])
def test_notes_are_lines_of_their_own_whatever_the_program_said_last(
    world: World, executor: Executor, link: Severed, confirm: float | None
) -> None:
    executor.dial = lambda _host: link
    acts = (Run("leads_to 'the old one'; printf 'no end' >&2"),)
    record = executor.run_step(step(world, acts=acts, confirm=confirm), "a.b", ["A"])
    assert (record.result, record.err, [who for _, who in record.led]) == ("done", "no end", ["the old one"])


def test_notes_of_what_a_person_typed_are_lines_of_their_own_too(world: World, executor: Executor) -> None:
    wanted = step(world, acts=(Run("leads_to 'the old one'; printf 'no end' >&2"),))
    record = render(wanted, "a.b", ["A"])
    attempt = executor.lay(wanted, record)
    subprocess.run(["sh", "-c", hand_line("R1", attempt.n)], capture_output=True, check=True)
    executor.follow(attempt, record)
    assert (record.result, record.err, [who for _, who in record.led]) == ("done", "no end", ["the old one"])


def test_what_a_person_types_shows_no_notes_and_they_are_known_all_the_same(world: World, executor: Executor) -> None:
    wanted = step(world, acts=(NOTES,))
    record = render(wanted, "a.b", ["A"])
    attempt = executor.lay(wanted, record)
    line = hand_line("R1", attempt.n)
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert "::converge:" not in done.stdout + done.stderr
    time.sleep(1.5)  # a look that late sees that it was begun
    assert executor.follow(attempt, record).result == "done"
    assert [who for _, who in record.led] == ["the old one", "the new one, since", "the new one"]


def test_what_a_person_did_is_not_denied_when_it_cannot_be_written_down(world: World, executor: Executor) -> None:
    wanted = step(world)
    (state(world) / "journal.jsonl").mkdir(parents=True)
    with pytest.raises(JournalError, match="nothing more is done; what was done is in the journal") as seen:
        executor.done_by_hand(1, wanted, render(wanted, "a.b", ["A"]))
    assert seen.value.exit_code is Exit.UNKNOWN


@pytest.mark.parametrize(
    ("noted", "led"),
    [
        ("leads: 90.00 a\n::converge:leads: 99.50 b, c\n::converge:now: 100.00", [(990.0, "a"), (999.5, "b, c")]),
        ("leads: 5.00 before it was sent\n::converge:now: 100.00", []),
        ("leads: 200.00 of another boot\n::converge:now: 100.00", []),
        ("leads: 90.00 a", []),
    ],
)
def test_notes_are_counted_back_from_what_the_hosts_clock_shows(noted: str, led: list[tuple[float, str]]) -> None:
    assert led_of(f"said\n::converge:{noted}\n", since=950.0, heard=1000.0) == led


def settled(rc: int, err: bytes) -> StepRecord:
    return settle(StepRecord("A/1", "", [], "new", "", "", [], "", None), Completed(rc, b"", err, 1.0), 5.0)


def test_reason_that_is_shown_while_it_runs_has_no_secret() -> None:
    record = settled(Rc.FAILED, b"cannot log in\nusing password=hunter2\n")
    assert record.reason == "using password=[masked]"
    assert "hunter2" not in record.err


def test_step_that_put_back_at_its_limit_says_so() -> None:
    record = settled(Rc.TIMED_OUT, b"::converge:rolled-back: it was stopped by a signal: what served before serves again\n")
    assert record.result == "rolled back"
    assert record.reason == (
        "it was ended after its limit of 5 s: it was stopped by a signal: what served before serves again"
    )
    assert settled(Rc.TIMED_OUT, b"").result == "failed"


def test_step_that_was_refused_and_could_not_put_back_has_failed() -> None:
    said = b"::converge:moved: not so any more\n::converge:given-back: what it had written before %s\n"
    for words, result in ((b"was put back", "refused"), (b"could not all be put back", "failed")):
        record = StepRecord("A/1", "", [], "new", "", "", [], "", None)
        assert settle(record, Completed(Rc.MOVED, b"", said % words, 1.0), 9.0).result == result
        assert "not so any more; what it had written" in record.reason


def test_a_shell_that_could_not_read_its_script_has_failed() -> None:
    record = settled(2, b"/bin/sh: 1: Syntax error: Unterminated quoted string\n")
    assert record.result == "failed"
    assert record.reason == "/bin/sh: 1: Syntax error: Unterminated quoted string (status 2)"
