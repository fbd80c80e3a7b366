"""A look at the site before a cutover is confirmed: from here, or on its host where no road leads there from here."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from converge.acting import confirmation
from converge.acting.confirmation import HURRY, dial, look, second_logins
from converge.probe.prober import Prober
from converge.probe.worker import Sample
from converge.transport import Ask, Completed, LocalLink
from hosts.schema import Host, Inventory


@dataclass
class Asked(LocalLink):
    """A host on which curl says one thing."""

    rc: int = 0
    out: bytes = b"200"
    scripts: list[str] = field(default_factory=list)

    def exec(self, script: str, *, limit: float, stdin: bytes = b"") -> Completed:  # noqa: ARG002
        self.scripts.append(script)
        return Completed(self.rc, self.out, b"", 0.0)


@pytest.mark.parametrize(
    ("status", "measures", "rc", "out", "said"),
    [
        (200, False, 0, b"502", ""),
        (502, False, 0, b"200", "status 502"),
        (0, True, 0, b"200", "no route"),
        (0, False, 0, b"200", ""),
        (0, False, 0, b"502", "asked on its host: status 502"),
        (0, False, 7, b"000", "nobody could look at the site: not from here (http://"),
        (0, False, 69, b"", "not on its host (there is no curl)"),
    ],
)
def test_a_site_at_which_nobody_could_look_is_not_well(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch, status: int, measures: bool, rc: int, out: bytes, said: str
) -> None:
    error = "" if status == 200 else "no route" if status == 0 else f"status {status}"
    monkeypatch.setattr(Prober, "look", lambda _: Sample(0, 0, status, error))
    prober, link = Prober(inventory), Asked(rc, out)
    prober.measures = measures
    seen = look(prober, link)
    assert said in seen
    assert bool(seen) == bool(said)
    assert bool(link.scripts) == (status == 0 and not measures)


class Careful(LocalLink):
    """A host that asks for a code at each login."""

    asks_again = ("me@new: Code: ",)


def test_who_must_answer_in_the_middle_of_a_step_is_told_before() -> None:
    links = {"new": Careful(), "old": LocalLink()}
    (text,) = second_logins(links, ["new", "new", "old", "gone"])
    assert "new will be logged in to a second time" in text
    assert "(me@new: Code: )" in text
    assert "puts everything back" in text


def test_what_is_asked_in_the_middle_of_a_step_says_so(inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []

    def person(prompt: str, *, echo: bool = False) -> str | None:
        asked.append((prompt, echo))
        return "1"

    def connect(_inv: Inventory, _host: Host, *, ask: Ask | None) -> LocalLink:
        if ask:
            ask("Code: ", echo=True)
        return LocalLink()

    monkeypatch.setattr(confirmation, "connect", connect)
    for who in (person, None):
        monkeypatch.setattr(confirmation, "terminal", lambda who=who: who)
        dial(inventory, "new").close()
    assert asked == [(f"{HURRY}Code: ", True)]
