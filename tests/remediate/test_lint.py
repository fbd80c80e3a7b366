"""The lint knows what the remedies' programs do: it lets them pass, and not because it does not see it."""

from __future__ import annotations

import pytest

from converge.acting.executor import host_fence
from converge.errors import NotAllowed
from converge.steps.lint import lint
from converge.steps.shell_words import read
from facts.host.processes import Process
from facts.prelude import prelude
from remediate import deploy, fs, repo, ruby, solr_move
from remediate.cutover import brief, seamless
from remediate.cutover.choice import beside
from remediate.cutover.shell import by_hand, settings
from tests.targets import inventory

INV = inventory()
OLD = INV.app.legacy_units[0]
UNITS = host_fence(INV, INV.app_host.name, "R1").units
STRAY = Process(33, 5, 1.0, "/user.slice/session-1.scope", "/home/a b/x", "/usr/bin/ruby", "unicorn master -c x")
LISTEN = INV.web.listen
PLACES = {
    "PUBLIC": LISTEN, "OLD": beside(LISTEN, "old"), "NEXT": beside(LISTEN, "next"), "HOLD": "hold.conf", "STABLE": "5",
    "CONFIRM": "60", "OLDS": f"{OLD} process-33", "GATED": "yes", "SEARCH": "/people", "FALLBACK": "do without",
    "LOG": "/log",
}  # fmt: skip
HEAD = by_hand([STRAY]) + settings(INV, **PLACES)
BACK = settings(INV, OLD, "/old", **{**PLACES, "OLDS": INV.app.unit, "GATED": ""})
PROGRAMS = {
    "seamless": HEAD + seamless.SEAMLESS,
    "brief": HEAD + brief.BRIEF,
    "seamless-back": BACK + seamless.BACK,
    "brief-back": BACK + brief.BRIEF,
    "start": HEAD + brief.START,
    "restart": settings(INV, PUBLIC=LISTEN) + brief.RESTART,
    "solr-start": solr_move.start_program("/r", "/r/solr.pid").script,
    "solr-move": solr_move.move_program("/r", "/r/solr.pid", STRAY, "/old/solr").script,
    "solr-back": solr_move.back_program("/r", "/r/solr.pid", "/old/solr").script,
    "rake": solr_move.rake("/r", "sunspot:reindex"),
    "copy": fs.COPY.format(source="/a", target="'/b c'", part=fs.PART),
    "gems": ruby.INSTALL.format(rvm="/rvm", version="2.7.8", bin="/ruby/bin"),
    "checkout": repo.checkout(INV, "/c/x") + repo.IDENTITY + repo.MERGE.format(message="'a b'", legacy="x", failed="no"),
    "deploy": deploy._script(INV, "/c/x"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_of_the_remedies_pass(name: str) -> None:
    lint(PROGRAMS[name], name, prelude(INV), UNITS)


@pytest.mark.parametrize(
    "places", [{"SEARCH": "/search/ruby"}, {"PROBE": "/people/su"}, {"LISTEN": f"{INV.web.socket_dir}/run/prod.sock"}]
)
def test_programs_pass_whatever_the_sites_own_words_are(places: dict[str, str]) -> None:
    deep = {key: value.replace(LISTEN, places.get("LISTEN", LISTEN)) for key, value in PLACES.items()}
    inv = INV.changed({"web": INV.web.changed({"listen": places.get("LISTEN", LISTEN)})})
    words = by_hand([STRAY]) + settings(inv, **{**deep, **places})
    lint(words + seamless.SEAMLESS, "seamless", prelude(inv), UNITS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_all_of_a_program_is_judged(name: str) -> None:
    """To its end, and in each function."""
    with pytest.raises(NotAllowed, match="nothing is deleted"):
        lint(f"{PROGRAMS[name]}\nrm x", name, prelude(INV), UNITS)
    for function in read(PROGRAMS[name]).functions:
        begins = f"\n{function}() {{"
        if begins in PROGRAMS[name]:
            with pytest.raises(NotAllowed, match="nothing is deleted"):
                lint(PROGRAMS[name].replace(begins, f"{begins} rm x;"), name, prelude(INV), UNITS)


@pytest.mark.parametrize("name", ["seamless", "brief"])
@pytest.mark.parametrize(
    ("ours", "theirs", "why"),
    [
        (OLD, "hkn-dev.service", "hkn-dev.service: not a unit of this target"),
        (INV.app.unit, "hkn-dev.service", "hkn-dev.service: not a unit of this target"),
        ("$XDG_RUNTIME_DIR/systemd", "$HOME/.config/systemd", "it writes over what is there"),
        ('>"$CV_PHASE.new"', '>"$SHARED/phase"', "it writes over what is there"),
        ('mv -T "$CV_PHASE.new" "$CV_PHASE"', 'mv -T "$CV_PHASE.new" "$PID_FILE"', "moves or replaces"),
    ],
)
def test_a_slip_in_them_is_seen(name: str, ours: str, theirs: str, why: str) -> None:
    assert ours in PROGRAMS[name]
    with pytest.raises(NotAllowed, match=why):
        lint(PROGRAMS[name].replace(ours, theirs), name, prelude(INV), UNITS)


def test_sockets_are_renamed_over_sockets_alone() -> None:
    for theirs in ("/home/x/data", f"{INV.web.socket_dir}/.attic/x"):
        with pytest.raises(NotAllowed, match="moves or replaces"):
            lint(PROGRAMS["seamless"].replace(PLACES["NEXT"], theirs), "seamless", prelude(INV), UNITS)
