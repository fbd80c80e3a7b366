"""The end of a session on statements: records completed, exit code decided, reports written. No pytest here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from converge.checking.judge import likely_causes
from converge.checking.record import Record, Survey
from converge.checking.session import Session
from converge.errors import Exit
from converge.report.write import write_reports
from converge.text.masking import masked

PYTEST = (Exit.HOLDS, Exit.FAILS, Exit.NOTHING_RAN)
"""Exit codes of pytest that what became of the targets may replace."""


def conclude(session: Session, ended: tuple[Exit, str] | None, status: int) -> int:
    """Complete the record of the only target and write its reports; the exit code, from pytest's own `status`."""
    session.close()
    likely_causes(session.record.verdicts)
    session.record.checklist = session.app.checklist()
    code = int(ended[0]) if ended and status in PYTEST else status
    session.finish(code, ended[1] if ended else "")
    session.record = masked(session.record)
    if session.record.verdicts or session.record.steps:
        write_reports(session.record, session.folder)
    return code


def conclude_survey(survey: Survey, sessions: Mapping[str, Session], asked: Mapping[str, int], status: int) -> int:
    """Complete the records of the targets of which something was `asked`, and write the reports; the exit code."""
    for name in asked:
        session = sessions[name]
        session.close()
        likely_causes(session.record.verdicts)
        session.record.checklist = session.app.checklist()
        settle(session.record, asked[name], session.ended)
        session.record = masked(session.record)
    survey.targets = [session.record for name, session in sessions.items() if name in asked]
    code = worst([record.exit_code for record in survey.targets])
    # A test that is no statement may have failed, or pytest been told to stop: what it says then is no less true.
    known = asked and status in PYTEST and not (status == Exit.FAILS and code in {Exit.HOLDS, Exit.INTERRUPTED})
    survey.exit_code = int(code) if known else status
    survey.seconds = round(time.time() - survey.started, 2)
    if asked:
        write_reports(survey, sessions[next(iter(asked))].folder)
    return survey.exit_code


def settle(record: Record, asked: int, ended: tuple[Exit, str] | None) -> None:
    """Give the record of a target its own exit code; `asked` is how many verdicts it should have."""
    record.exit_code, record.exit_reason = Exit.HOLDS, ""
    if ended:
        record.exit_code, record.exit_reason = ended
    elif any(not verdict.outcome.is_well for verdict in record.verdicts):
        record.exit_code = Exit.FAILS
    elif len(record.verdicts) < asked:
        record.exit_code = Exit.INTERRUPTED
        record.exit_reason = f"{asked - len(record.verdicts)} of its {asked} statements were not judged"


def worst(codes: Sequence[int]) -> Exit:
    """One exit code for all targets: a defect, then what fails for certain, then what is not known, then all well.

    What was read and is wrong comes before a host that could not be reached (14): it needs somebody, whatever the other is.
    """
    first = [Exit.INTERNAL, Exit.FAILS]
    order = [*first, *sorted(set(Exit) - {*first, Exit.HOLDS}, reverse=True)]
    return next((code for code in order if code in codes), Exit.HOLDS)
