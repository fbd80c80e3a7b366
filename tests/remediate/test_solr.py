"""How Solr is started so that it stays and does not stay niced, on this machine and with a stand-in for systemd-run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from converge.steps.lint import lint
from remediate.solr_move import start_script

MANAGER = r"""#!/bin/sh
# Knows services and their properties as far as $KNOWS says; what it starts is started at once.
printf '%s\n' "$*" >>"$LOG"
case " $* " in
  *" --scope "*) ;;
  *) case $KNOWS in
    all) ;;
    services) case " $* " in *" -p "*|*" --collect "*) echo 'Unknown assignment' >&2; exit 1 ;; esac ;;
    *) echo 'Failed to start transient service unit' >&2; exit 1 ;;
  esac ;;
esac
while [ $# -gt 0 ]; do case $1 in -p) shift 2 ;; --) shift; break ;; -*) shift ;; *) break ;; esac; done
exec "$@"
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with rvm, a release, and a `bundle` that says how it was called, and ends as it is told to."""
    (tmp_path / ".rvm/scripts").mkdir(parents=True)
    (tmp_path / ".rvm/scripts/rvm").write_text("export RUBY=rvm\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "step").mkdir()
    (tmp_path / "the release").mkdir()
    for name, text in {
        "systemd-run": MANAGER,
        "bundle": '#!/bin/sh\necho "$RUBY $RAILS_ENV $PWD $*" | tee -a "$HOME/called"\nexit ${RAKE_ENDS:-0}\n',
    }.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    return tmp_path


def start(host: Path) -> subprocess.CompletedProcess[str]:
    settings = f"CV_STEP={host}/step CV_RUN=R1 CV_KEY=003-SOLR-1-start\n"
    script = settings + start_script(f"{host}/the release")
    return subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False, timeout=30)


def asked(host: Path) -> list[str]:
    return (host / "log").read_text().splitlines()


def test_solr_is_a_service_of_its_own_with_a_name_and_a_description(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNOWS", "all")
    done = start(host)
    called = f"rvm production {host}/the release exec rake sunspot:solr:start\n"
    assert (done.returncode, done.stdout) == (0, called), done.stderr
    (line,) = asked(host)
    assert "--unit=hkn-solr-R1-003 " in line
    assert "--collect --description=hkn-migration: Solr, started by run R1; it stays" in line
    assert "--scope" not in line


def test_stopping_the_runs_units_by_their_pattern_does_not_stop_solr(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNOWS", "all")
    start(host)
    assert "--unit=hkn-migration-" not in asked(host)[0]


@pytest.mark.parametrize(("knows", "tries"), [("services", 2), ("nothing", 3)])
def test_an_old_manager_is_asked_for_less(host: Path, monkeypatch: pytest.MonkeyPatch, knows: str, tries: int) -> None:
    monkeypatch.setenv("KNOWS", knows)
    assert start(host).returncode == 0
    assert len(asked(host)) == tries
    assert ("--scope" in asked(host)[-1]) is (knows == "nothing")
    assert len((host / "called").read_text().splitlines()) == 1


def test_a_start_that_fails_is_not_tried_in_another_way(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNOWS", "all")
    monkeypatch.setenv("RAKE_ENDS", "5")
    done = start(host)
    assert done.returncode == 1
    assert "exec rake sunspot:solr:start" in done.stdout, "what it said is said"
    assert len(asked(host)) == 1


def test_nothing_is_left_for_the_manager_to_expand() -> None:
    """In a service's command it replaces ``${NAME}``, ``$$`` and words that begin with a dollar sign."""
    script = start_script("/r")
    lint(script)
    command = script[script.index("/bin/sh -c") : script.index("begun()")]
    assert "${" not in command
    assert "$$" not in command
    assert " $" not in command.replace(' "$said"', "").replace('"$@"', "")
