"""script/faults and script/chaos go on where they were interrupted, and end as what they tried did; no lab is needed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

import tests.chaos.sweep as chaos
import tests.live.sweep as faults
from lab.errors import LabError
from lab.faults import FAULTS
from tests.chaos.trial import Trial as Blown
from tests.live.faulting import Trial

Ends = Callable[[int], BaseException | list[str]]
"""How the trial of this number ends: with problems, or not at all."""


@pytest.fixture(autouse=True)
def nothing_real(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)

    @contextmanager
    def rig_of(*_words: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(say=lambda _text: None)

    for sweep in (faults, chaos):
        monkeypatch.setattr(sweep, "RESULTS", tmp_path / f"{sweep.__name__}.json")
        monkeypatch.setattr(sweep, "rig_of", rig_of)
    yield
    signal.signal(signal.SIGTERM, before)


def ended(what: BaseException | list[str]) -> list[str]:
    if isinstance(what, BaseException):
        raise what
    return what


def sweep_faults(monkeypatch: pytest.MonkeyPatch, ends: Ends, *words: str) -> tuple[int, list[str]]:
    asked: list[str] = []

    def tried(_rig: object, name: str) -> Trial:
        asked.append(name)
        return Trial(name, [], problems=ended(ends(len(asked))))

    monkeypatch.setattr(faults, "tried", tried)
    return faults.main(words), asked


def sweep_chaos(monkeypatch: pytest.MonkeyPatch, ends: Ends, *words: str) -> tuple[int, list[int]]:
    asked: list[int] = []

    def tried(_rig: object, course: str, blow: str, n: int) -> Blown:
        asked.append(n)
        return Blown(course, blow, n, "intent" if n < 4 else "", problems=ended(ends(len(asked))))

    monkeypatch.setattr(chaos, "tried", tried)
    return chaos.main(["--course", "short", "--blow", "kill", *words]), asked


def well(_n: int) -> list[str]:
    return []


def test_faults_that_were_tried_are_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    code, first = sweep_faults(monkeypatch, lambda n: KeyboardInterrupt() if n == 3 else ["odd"] if n == 2 else [])
    assert (code, len(first)) == (130, 3)
    code, then = sweep_faults(monkeypatch, well)
    assert (code, then) == (0, list(FAULTS)[1:])  # the first was well; the second had a problem
    assert sweep_faults(monkeypatch, well) == (0, [])
    assert sweep_faults(monkeypatch, well, "--again") == (0, list(FAULTS))
    assert sweep_faults(monkeypatch, lambda _n: ["odd"], first[0]) == (1, first[:1])


def test_boundaries_that_were_tried_are_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sweep_chaos(monkeypatch, lambda n: KeyboardInterrupt() if n == 2 else []) == (130, [1, 2])
    assert sweep_chaos(monkeypatch, well) == (0, [2, 3, 4])
    assert sweep_chaos(monkeypatch, lambda _n: ["lost"], "--boundary", "3") == (1, [3])
    assert sweep_chaos(monkeypatch, well, "--again") == (0, [1, 2, 3, 4])


def test_what_another_sweep_finds_out_meanwhile_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(n: int) -> list[str]:
        with chaos.kept() as known:
            known["full", "cut", n] = Blown("full", "cut", n, "intent")
        return []

    assert sweep_chaos(monkeypatch, ends) == (0, [1, 2, 3, 4])
    assert {key for key in chaos.recalled() if key[0] == "full"} == {("full", "cut", n) for n in (1, 2, 3, 4)}
    assert sweep_chaos(monkeypatch, well, "--again") == (0, [1, 2, 3, 4])
    assert len(chaos.recalled()) == 8, "what others were asked to try is not forgotten"


def test_lab_that_fails_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep_faults(monkeypatch, lambda _n: LabError("no room"))[0] == 1
    assert sweep_chaos(monkeypatch, lambda _n: LabError("no room"))[0] == 1
    assert capsys.readouterr().err == "error: no room\n" * 2
