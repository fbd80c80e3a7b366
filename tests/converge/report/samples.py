# ruff: noqa: E501  (a table of statements is read along its rows)
"""Records to report on: a red check, a green run, and one with everything in it that a host could do to us."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from converge.checking.record import Line, Outage, Probe, Record, StepRecord, Verdict
from converge.checking.statement import Outcome
from converge.readings import Evidence
from converge.report.checklist import parse_checklist, proves

START = 1_772_366_400.0
HOST = "apphost"
CHECKLIST = Path(__file__).parents[3] / "verify" / "checklist.toml"

# id, sentence, severity, seed, remedy, needs, and what a red check sees (empty: it holds)
_STATEMENTS = [
    ("HOST-1", "The login lands on the host that the inventory names.", "blocker", "BG1", "", "", ""),
    ("HOST-2", "The user manager answers, and lingers.", "blocker", "OS3", "", "", ""),
    ("REPO-1", "deploy.rb restarts the app's unit and no other.", "blocker", "C2", "repo.drive", "REPO-6", "0 of 3 restarts name it"),
    ("REPO-6", "The migrate branch is merged into master.", "blocker", "C5 CT", "repo.merge", "", "4 commits are on migrate only"),
    ("FS-1", "The shared folder is a real directory, and complete.", "blocker", "C1 P4", "fs.complete", "", ""),
    ("FS-2", "The legacy stage's shared folder is a link to the real one.", "blocker", "P4", "fs.relink", "FS-1", ""),
    ("FS-8", "The legacy stage is retired after the soak time.", "minor", "CT", "fs.retire", "", "due"),
    ("RUBY-3", "Native gems were built for this Ruby and link here.", "blocker", "C7 P1", "deploy.deploy", "DEP-1", "mysql2.so: libmysqlclient.so.18 => not found"),
    ("DEP-1", "current is the newest release, logged, and is master.", "blocker", "C8", "deploy.deploy", "REPO-1 REPO-6", "REVISION 0448858, master 9c1e2aa"),
    ("UNIT-1", "The server's unit file is the repository's.", "blocker", "P2", "units.file", "", "WorkingDirectory differs"),
    ("UNIT-2", "Unit files are loaded as they are on disk.", "major", "C4", "units.reload", "UNIT-1", ""),
    ("UNIT-3", "The app's unit is enabled, and starts again after a reboot.", "blocker", "C12", "units.enable", "UNIT-5", "disabled"),
    ("UNIT-4", "The migrate unit is stopped, disabled and gone.", "blocker", "C6 C11", "units.retire", "UNIT-5", "active (running), enabled"),
    ("UNIT-5", "The app's unit really runs, under its own main process.", "blocker", "C9", "units.cutover", "DEP-1 RUBY-3", "inactive (dead)"),
    ("UNIT-8", "Logrotate acts on the app's unit.", "major", "C3", "units.logrotate", "UNIT-1", "ExecStartPost restarts hkn-rails-migrate.service"),
    ("SOCK-3", "One process listens on the upstream socket, and it is the app's.", "blocker", "CT OS2", "units.cutover", "UNIT-5", "listener is hkn-rails-migrate.service"),
    ("WEB-1", "The site answers over the socket, locally and in public.", "blocker", "C10", "", "SOCK-3", ""),
    ("WEB-2", "The answer comes from the new release.", "blocker", "C10", "units.cutover", "WEB-1 UNIT-5", "served from migrate/releases/20190816021112"),
    ("SOLR-4", "Solr's PID file names a living process on this host.", "major", "P3 OS5", "solr.pid", "", "PID 4711 is not on this host"),
    ("RUBY-1", "The Ruby that the release asks for runs here.", "blocker", "P1", "", "", ""),
    ("LOG-1", "The app writes to the current log files.", "minor", "C3", "logs.reopen", "UNIT-5", ""),
]  # fmt: skip


def _evidence(reading: str, out: str) -> Evidence:
    command = "S show hkn-rails.service -p ActiveState\nS show hkn-rails.service -p MainPID"
    return Evidence(reading, HOST, command, 0, out, "", 0.0123, f"UnitState(active={out!r})")


def verdicts(red: bool, nodeids: bool = True) -> list[Verdict]:
    """The statements' verdicts, as before or as after a migration."""
    found = []
    bad = {row[0] for row in _STATEMENTS if row[6] and row[6] != "due"}
    causes = {"DEP-1": "REPO-6", "REPO-1": "REPO-6", "RUBY-3": "REPO-6", "UNIT-8": "UNIT-1"}
    for id, sentence, severity, seed, remedy, needs, seen in _STATEMENTS:
        outcome = Outcome.HOLDS
        message = ""
        if seen == "due":
            outcome, message = Outcome.DUE, "seen:     it is there\ndue on 2026-03-15, 14 days after the cutover"
        elif red and seen:
            outcome = Outcome.FAILS
            message = f"expected: as the sentence says\nseen:     {seen}\nwhere:    {HOST}:/home/h/hk/hkn/hkn-rails/prod/current"
        found.append(
            Verdict(
                id, HOST, f"test_x.py::test_{id.replace('-', '_')}[{HOST}]" if nodeids else "", sentence, severity,
                seed.split(), outcome, message, remedy, needs.split(),
                (causes.get(id) or ("REPO-6" if set(needs.split()) & bad else "")) if outcome is Outcome.FAILS else "",
                START + 1, [_evidence("app_unit", seen or "active"), _evidence("stages", "line\n" * 3)],
            )
        )  # fmt: skip
    return found


def _checklist() -> list[Line]:
    page = parse_checklist(CHECKLIST.read_text(), CHECKLIST.name)
    for line in page:
        line.statements = [row[0] for row in _STATEMENTS if proves(row[3].split(), line.ref)]
    return page


def red_check() -> Record:
    """A check of a deployment that is to be migrated."""
    return Record(
        id="20260301T120000-check-4f2a", kind="check", target="lab", version="0.1.0", started=START, seconds=0.71,
        situation="migrated", situation_detail=["served from migrate by hkn-rails-migrate.service"], exit_code=1,
        exit_reason="statements fail", verdicts=verdicts(True), checklist=_checklist(), connections=2, execs=2, readings=212,
    )  # fmt: skip


_STEPS = [
    ("REPO-6/merge", "repo.merge", "REPO-6", "control", "Merge the migrate branch into master", 1.2, None),
    ("REPO-1/patch", "repo.drive", "REPO-1", "control", "Let deploy.rb restart hkn-rails.service", 0.8, None),
    ("UNIT-1/write", "units.file", "UNIT-1", HOST, "Write hkn-rails.service as the repository has it", 0.2, None),
    ("UNIT-8/write", "units.logrotate", "UNIT-8", HOST, "Point logrotate's unit at hkn-rails.service", 0.2, None),
    ("DEP-1/gate", "deploy.deploy", "DEP-1 RUBY-3", HOST, "Keep the app's unit from starting before its turn", 0.3, None),
    ("DEP-1/deploy", "deploy.deploy", "DEP-1 RUBY-3", "control", "Deploy master to the prod stage", 41.5, None),
    ("SOLR-4/pid", "solr.pid", "SOLR-4", HOST, "Write Solr's PID file from the verified process", 0.4, None),
    ("UNIT-5/cutover", "units.cutover", "UNIT-5 SOCK-3 WEB-2", HOST, "Hand the site over to hkn-rails.service", 9.1, 3.5),
    ("UNIT-3/enable", "units.enable", "UNIT-3", HOST, "Enable hkn-rails.service", 0.3, None),
    ("UNIT-4/retire", "units.retire", "UNIT-4", HOST, "Disable hkn-rails-migrate.service and move its file aside", 0.6, None),
]


def _steps() -> list[StepRecord]:
    made, at = [], START + 6
    for id, remedy, statements, host, sentence, seconds, interrupts in _STEPS:
        made.append(
            StepRecord(
                id, remedy, statements.split(), host, sentence, f"# {sentence}\nsystemctl --user show hkn-rails.service",
                [f"the host is still {host}", "MainPID is 4711"], "the file that was there is moved back", interrupts,
                "done", "", 0, "done: ok\n", "", at, seconds, f"{statements.split()[0]} holds, read again",
            )
        )  # fmt: skip
        at += seconds + 0.9
    return made


def green_run() -> Record:
    """A run that mended everything, with a brief outage."""
    steps = _steps()
    cut = next(step.started for step in steps if step.id == "UNIT-5/cutover")
    old, new = "hkn-rails-migrate.service, release 20181126", "hkn-rails.service, release 20190423"
    next(s for s in steps if s.id == "UNIT-5/cutover").led = [(cut, old), (cut + 0.6, "nobody"), (cut + 4.0, new)]
    probe = Probe(
        "https://hkn.example/", START + 5, START + 70, 648, 35, 3.62,
        [Outage(cut + 0.6, cut + 4.1, 35, "502 Bad Gateway")],
        [(START + 5, "hkn-rails-migrate.service"), (cut + 4.1, "hkn-rails.service")], 64, 3,
    )  # fmt: skip
    return Record(
        id="20260301T120000-run-77c1", kind="run", target="lab", version="0.1.0", started=START, seconds=74.2,
        situation="finished", exit_code=0, before=verdicts(True), verdicts=verdicts(False), steps=steps, probe=probe,
        guards=["shared folder: 1,204 files and 88,213,004 bytes before and after"], checklist=_checklist(),
        connections=2, execs=31, readings=2120,
    )  # fmt: skip


def unfinished_run() -> Record:
    """A run of many remedies in which the cutover was left to a person, and what needs it was not attempted."""
    record = green_run()
    more = [replace(step, id=f"{step.id}-{n}", remedy=f"{step.remedy}_{n}") for n in range(2) for step in record.steps[:7]]
    typed = "lab.toml does not allow this tool to cutover. Type on apphost as hkn:\n  sh ~/.local/state/hkn-migration/runs/R1/8.hand.sh"
    why = "not attempted, because UNIT-5 is not proven"
    record.steps = [*record.steps[:7], *more, *record.steps[7:]]
    for step in record.steps[-3:]:
        cutover = step.id == "UNIT-5/cutover"
        step.result, step.reason = ("manual", typed) if cutover else ("blocked", why)
        step.rc, step.out, step.proof, step.started, step.seconds = None, "", "", 0.0, 0.0
    before = {verdict.id: verdict for verdict in record.before}
    for verdict in record.verdicts:
        message = before[verdict.id].message
        if verdict.id in {"UNIT-5", "SOCK-3", "WEB-2"}:
            verdict.outcome, verdict.message = Outcome.MANUAL, f"{message}\ndo:       {typed}"
        elif verdict.id in {"UNIT-3", "UNIT-4"}:
            verdict.outcome, verdict.message = Outcome.BLOCKED, f"{message}\nwhy:      {why}"
    record.exit_code, record.exit_reason, record.situation = 1, "statements fail", "half-way"
    return record


HOSTILE = (
    "<script>document.title='pwned'</script></script><img src=x onerror=\"document.title='pwned'\">"
    "<svg onload=document.title='pwned'> '\"`]]>--> &lt; \x1b[31mred\x1b[0m \x1b]8;;http://evil.example\x07link \u202egnp.exe"
    " {{7*7}} {% raw %} \x00\x07 \udcff <a href=javascript:document.title='pwned'>x</a> http://evil.example/ @somebody ```"
)


def everything() -> Record:
    """A run with every outcome and every result, and hostile text wherever a host's text can be."""
    record = green_run()
    record.exit_code, record.exit_reason = 1, HOSTILE
    record.situation, record.situation_detail = f"half-way {HOSTILE}", [HOSTILE]
    record.notes, record.guards, record.misses = [HOSTILE], [HOSTILE], [HOSTILE]
    long = "\n".join(f"{n} {HOSTILE}" for n in range(400))
    for verdict, outcome in zip(record.verdicts, [*Outcome, *Outcome], strict=False):
        verdict.outcome = outcome
        verdict.message = "" if outcome is Outcome.HOLDS else f"expected: {HOSTILE}\nseen:     {HOSTILE}\nwhere:    {HOSTILE}"
        verdict.evidence = [Evidence(HOSTILE, HOSTILE, HOSTILE, 1, long, HOSTILE, 0.5, HOSTILE), Evidence("empty", HOST, "", None, "", "", 0)]
        verdict.likely_cause = "REPO-1" if outcome is Outcome.BLOCKED else ""
    record.verdicts[0].host = HOSTILE
    record.verdicts[1].sentence = HOSTILE
    record.verdicts[2].id = HOSTILE
    results = ["planned", "done", "failed", "refused", "manual", "blocked", "unknown", "not reached", "not needed"]
    for step, result in zip(record.steps, results, strict=False):
        step.result = result  # type: ignore[assignment]
        step.sentence = step.commands = step.reason = step.out = step.err = step.undo = step.proof = HOSTILE
        step.preconditions = [HOSTILE]
    assert record.probe
    record.probe.url = HOSTILE
    record.probe.outages[0].first_error = HOSTILE
    record.probe.answered_by[0] = (record.probe.started, HOSTILE)
    record.steps[0].led = [(START, HOSTILE), (START + 1, f"{HOSTILE}, again")]
    return record


HOSTILE_ID = "</td><img src=x onerror=document.title='pwned'><script>document.title='pwned'</script>\"'&"
"""For names of tests; pytest itself escapes control characters there."""
