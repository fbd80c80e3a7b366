"""The site answers, and it is the current release that does."""

from __future__ import annotations

from converge.checking.statement import Severity, require, statement
from facts.units.states import Masters, OurUnits
from facts.web import Answer, Serving, Site
from hosts.schema import Inventory


@statement(
    "WEB-1",
    severity=Severity.BLOCKER,
    on="app",
    seed=["C10"],
    needs=["SOCK-3"],
    manual="if the socket answers but the addresses do not, it is the web server: ask OCF staff. If the socket does not"
    " answer, read {inv.shared}/log/ and `journalctl --user -u {inv.app.unit}` on the app host",
)
def test_site_answers(
    site: Site, public_site: tuple[Answer, ...], our_units: OurUnits, masters: Masters, inv: Inventory
) -> None:
    """The site answers 200 over the web server's socket, over HTTPS on the app host, and at its public address."""
    masters.settled(our_units.app)
    require(site.socket.status == 200, expected="200", seen=site.socket.text, where=f"the app host, {inv.web.probe_path}")
    wanted = {url.url: url.status for url in inv.web.urls}
    for answers, where in ((site.local, "the app host, over loopback"), (public_site, "the control machine")):
        for answer in answers:
            if answer.unasked:
                continue
            require(
                answer.status == wanted.get(answer.asked, 200) and answer.says,
                expected=f"{wanted.get(answer.asked, 200)} with the site's text",
                seen=answer.text,
                where=where,
            )
    # Last: what is not known of one address hides nothing of the others.
    for answer in public_site:
        answer.settle()


@statement(
    "WEB-2", severity=Severity.BLOCKER, on="app", seed=["C10"], needs=["SOCK-1", "UNIT-5"], remedy="web.serve_current"
)
def test_current_release_answers(serving: Serving, site: Site, our_units: OurUnits, masters: Masters) -> None:
    """Whoever answers on the web server's socket works in the current release."""
    masters.settled(our_units.app)
    require(site.socket.status > 0, expected="an answer", seen=site.socket.text, where=serving.path)
    require(bool(serving.owners), expected="a process of the account behind the socket", seen="none", where=serving.path)
    stale = [process for process in serving.owners if process.cwd != serving.current]
    require(
        not stale,
        expected=f"the release {serving.current}",
        seen=", ".join(sorted({f"process {p.pid} of {p.unit or p.cgroup} in {p.cwd}" for p in stale})[:3]),
        where=serving.path,
    )
