"""The documents keep to what exists: files, commands, exit codes, statements, and the worked example."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest

from converge.acting.announce import state
from converge.acting.transient_unit import STOP, unit_name
from converge.checking.statement import Outcome
from converge.errors import RANK, Exit
from converge.journal.lock import ACT_LOCK, HINT, LOCK, SILENCE
from converge.probe.worker import AGENT
from hosts.tool import KEEPER, NAME

TOP = Path(__file__).resolve().parents[1]
DOCUMENTS = ["README.md", "CHANGELOG.md", *(f"docs/{path.name}" for path in sorted((TOP / "docs").glob("*.md")))]
ROOMS = ("verify", "remediate", "facts", "converge", "hosts", "lab", "tests", "script", "docs", "bench")
RUN = "20190423T020000.007Z-ab12"
GENERATED = {"target.toml"}
"""Written when the program runs, not part of the checkout."""


def text_of(name: str) -> str:
    return (TOP / name).read_text(encoding="utf-8")


def named_files(text: str) -> set[str]:
    """Paths of the checkout that a document speaks of; placeholders in capitals are not files."""
    spans = re.findall(r"`([^`\n]+)`", text) + re.findall(r"\]\(([^)#\s]+)", text)
    words = {word.rstrip(":,.") for span in spans for word in span.split()}
    ours = re.compile(rf"^(?:(?:{'|'.join(ROOMS)})/[\w./*-]*|[\w-]+\.(?:md|toml|py|txt|ini))$")
    return {word for word in words if ours.match(word) and "X" not in word and word not in GENERATED}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_document_names_a_file_that_does_not_exist(name: str) -> None:
    missing = [path for path in sorted(named_files(text_of(name))) if not (TOP / path).exists()]
    assert not missing


def test_files_that_are_named_are_found() -> None:
    seen = named_files("see `script/demo`, [that](docs/runbook.md), `facts/X.py` and `pytest verify/ --id A`")
    assert seen == {"script/demo", "docs/runbook.md", "verify/"}


@pytest.mark.parametrize("name", ["README.md", "docs/architecture.md"])
def test_the_table_of_exit_codes_is_whole(name: str) -> None:
    listed = [int(number) for number in re.findall(r"^\| (\d+) \|", text_of(name), re.MULTILINE)]
    assert listed == [int(code) for code in Exit]


def test_of_several_codes_the_documented_one_is_told() -> None:
    order = [str(int(code)) for code in RANK]
    order.insert(RANK.index(Exit.STATE_MOVED), f"{int(Exit.FAILS)} for what held before and does not any more")
    assert f"the first of these is told: {', '.join(order)}." in text_of("docs/architecture.md")


def test_the_table_of_outcomes_is_whole() -> None:
    listed = re.findall(
        r"^\| (\w+) \| [^|]* \| (?:passed|failed|error|xfailed) \| (yes|no) \|", text_of("docs/architecture.md"), re.M
    )
    assert {word: well == "yes" for word, well in listed} == {outcome.value: outcome.is_well for outcome in Outcome}


def test_the_readme_names_both_commands() -> None:
    assert "script/demo" in text_of("README.md")
    assert "script/test" in text_of("README.md")


def test_scripts_can_be_run() -> None:
    for name in ("hkn", "script/bootstrap", "script/demo", "script/pins", "script/test", ".ci/run"):
        assert (TOP / name).stat().st_mode & 0o111 == 0o111
        assert subprocess.run(["sh", "-n", TOP / name], check=False).returncode == 0
    assert subprocess.run(["sh", "-n", TOP / "script/lib.sh"], check=False).returncode == 0


def statements() -> dict[str, set[str]]:
    """Statement ids with the page's lines that each proves, as the suite has them."""
    asked = (
        "import importlib, pathlib\n"
        "for p in sorted(pathlib.Path('verify').glob('test_*.py')): importlib.import_module(f'verify.{p.stem}')\n"
        "from converge.checking.statement import REGISTRY\n"
        "for s in REGISTRY.values(): print(s.id, *s.seed)"
    )
    done = subprocess.run([sys.executable, "-c", asked], cwd=TOP, check=True, capture_output=True, text=True)
    return {line.split()[0]: set(line.split()[1:]) for line in done.stdout.splitlines()}


def test_the_runbook_has_every_line_of_the_page_and_no_statement_that_does_not_exist() -> None:
    text = text_of("docs/runbook.md")
    known = statements()
    named = set(re.findall(r"\b(?:HOST|REPO|FS|RUBY|DEP|UNIT|SOCK|PID|WEB|SOLR|LOG)-\d+\b", text))
    assert named <= set(known)
    for number in range(1, 13):
        assert re.search(rf"^## .*\bC{number}\b", text, re.MULTILINE), f"no section for C{number}"


def test_what_the_runbook_lets_staff_look_at_and_stop_is_what_there_is() -> None:
    text = text_of("docs/runbook.md")
    patterns = set(re.findall(r"systemctl --user (?:list-units|stop) '([^']+)'", text))
    assert patterns
    for pattern in patterns:
        assert fnmatch.fnmatch(unit_name(RUN, 7), pattern)
        assert not fnmatch.fnmatch(f"hkn-solr-{RUN}-007.service", pattern), "Solr would be stopped with a run"
    assert f"journalctl --user -t {NAME}" in text
    for file in (LOCK, f"{LOCK}.info", ACT_LOCK, f"{ACT_LOCK}.info"):
        assert file.replace('"', "") in text
    assert HINT.replace('"$HOME"', "~") in text
    assert f"{SILENCE} s" in text
    assert f"at most {STOP // 60} min" in text


def test_the_runbooks_way_to_find_steps_without_an_end_finds_them(tmp_path: Path) -> None:
    lines = re.findall(r"^grep -L '[^']*' \*/\*\.state \| xargs -r tail -v -n \+1", text_of("docs/runbook.md"), re.MULTILINE)
    (line,) = lines
    (tmp_path / "R1").mkdir()
    words = state("R1", 1, "ada", "write it", puts_back=False, undoable=True)
    (tmp_path / "R1/1.state").write_text(f"{words}\n")
    (tmp_path / "R1/2.state").write_text(f"{words}\nended with status 0\n")
    done = subprocess.run(["/bin/sh", "-c", line], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.count("stopping it: ") == 1


def test_the_worked_example_is_accepted_by_the_engine() -> None:
    blocks = re.findall(r"```python\n(.*?)```", text_of("docs/adding-a-statement.md"), re.DOTALL)
    assert len(blocks) == 4
    tried = """
from converge.checking.statement import Fails
assert log_directory_mode.parse(Raw(0, "750 /x/log", ""), Context(None, None)) == 0o750
assert production_log.commands(Context(INV, INV.app_host))[-1] == f"stat -Lc %a {INV.shared}/log/production.log"
test_log_directory_is_closed(0o750, INV)
try: test_log_directory_is_closed(0o755, INV)
except Fails as seen: assert "mode 755" in str(seen)
else: raise SystemExit("it did not fail")
steps = list(close_directory(RemedyContext(INV, lambda what, at=None: 0o755, "", "run", "", "")))
assert steps[0].acts == (Mode(f"{INV.shared}/log", 0o750),)
"""
    inventory = "from hosts.loader import load\nINV = load('production')\n"
    program = "\n".join(["from __future__ import annotations", *blocks, inventory, tried])
    done = subprocess.run([sys.executable, "-c", program], cwd=TOP, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("named", [f"{KEEPER}-RUN-N.service", f"{NAME}-RUN-N.phase", f"`{AGENT}`"])
def test_the_runbook_calls_what_stands_on_hosts_by_its_name(named: str) -> None:
    assert named in text_of("docs/runbook.md")
