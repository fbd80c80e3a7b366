"""The prober: what its samples say, and asking for real."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import pytest

from converge.probe.prober import AGENT, Prober, Sample, questions, road, summary
from hosts.schema import Inventory


def good(at: float, release: str = "", took: float = 0.0) -> Sample:
    return Sample(at, at + took, 200, release=release)


def bad(at: float, status: int = 502) -> Sample:
    return Sample(at, at, status, f"status {status}")


def test_nothing_lost_is_no_outage() -> None:
    probe = summary("u", 0, 3, [good(0.5), good(1.5), good(2.0)])
    assert (probe.sent, probe.failed, probe.outages, probe.longest_gap) == (3, 0, [], 1.0)


def test_outage_lasts_until_the_next_good_answer() -> None:
    probe = summary("u", 0, 10, [good(1), bad(2), bad(3, 0), good(5, took=0.5), bad(9)])
    assert [(o.start, o.end, o.failed, o.first_error) for o in probe.outages] == [
        (2, 5.5, 2, "status 502"),
        (9, 9, 1, "status 502"),
    ]
    assert probe.failed == 3
    assert probe.longest_gap == 4.5


def test_that_nobody_asked_is_no_gap() -> None:
    eased = Sample(3.0, 3.1, 200, eased=0.9)
    assert summary("u", 0, 3.2, [good(1.0), good(2.1), eased]).longest_gap == 1.1
    assert summary("u", 0, 9, [good(1.0), bad(2.0), Sample(8.0, 8.1, 200, eased=0.9)]).longest_gap == 6.2


def test_site_that_never_answers_is_one_gap() -> None:
    probe = summary("u", 10, 20, [bad(11), bad(12)])
    assert probe.longest_gap == 10
    assert len(probe.outages) == 1


def test_no_sample_is_no_claim() -> None:
    probe = summary("u", 1, 2, [])
    assert (probe.sent, probe.failed, probe.outages) == (0, 0, [])


def test_first_good_page_and_when_a_failure_was_noticed_are_known() -> None:
    probe = summary("u", 0, 9, [Sample(1, 3, 0, "timed out"), good(4), good(5)])
    assert (probe.first_good, probe.outages[0].noticed) == (4, 3)
    assert summary("u", 0, 9, [bad(1)]).first_good is None


def test_searches_are_counted_apart() -> None:
    search = Sample(2, 2, 500, "status 500", kind="search")
    probe = summary("u", 0, 3, [good(1), search, good(2)])
    assert (probe.sent, probe.failed, probe.searches_sent, probe.searches_failed) == (2, 0, 1, 1)


def test_the_longest_gap_of_searches_is_their_own() -> None:
    searches = [replace(sample, kind="search") for sample in (good(1), bad(2), bad(3), good(5, took=0.5), good(6))]
    probe = summary("u", 0, 7, [good(at / 2) for at in range(15)] + searches)
    assert (probe.longest_gap, probe.search_gap) == (0.5, 4.5)
    assert summary("u", 0, 7, [good(1)]).search_gap == 0.0


def test_who_answered_when() -> None:
    probe = summary("u", 0, 9, [good(1, "old"), good(2, "old"), bad(3), good(4, "new"), good(5)])
    assert probe.answered_by == [(1, "old"), (4, "new")]


def test_too_many_requests_is_a_failure_and_a_redirect_is_none() -> None:
    assert not Sample(0, 0, 429).is_good
    assert Sample(0, 0, 302).is_good


class Site(http.server.BaseHTTPRequestHandler):
    seen: list[tuple[str, str, str]] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers["Host"], self.headers["User-Agent"]))
        self.send_response(200 if self.path == "/" else 500)
        self.send_header("X-Release", "20190423")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[int]:
    Site.seen.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def leading_to(inventory: Inventory, port: int, header: str = "") -> Inventory:
    urls = [{"url": f"http://app.example:{port}/", "expect": "x"}]
    more = {"resolve": {"app.example": "127.0.0.1"}, "urls": urls, "release_header": header}
    web = {**msgspec.to_builtins(inventory.web), **more}
    return msgspec.convert({**msgspec.to_builtins(inventory), "web": web}, Inventory)


@pytest.mark.parametrize(("rate", "page", "search"), [(10.0, 0.1, 1.0), (2.0, 0.5, 5.0)])
def test_pace_is_the_inventorys(inventory: Inventory, rate: float, page: float, search: float) -> None:
    inv = inventory.changed({"limits": inventory.limits.changed({"probe_per_second": rate})})
    assert [(q.kind, q.pace) for q in questions(inv)] == [("page", page), ("search", search)]


def test_prober_asks_the_app_host_by_the_sites_name(inventory: Inventory, site: int) -> None:
    prober = Prober(leading_to(inventory, site, "X-Release"))
    assert prober.start() == ""
    time.sleep(0.6)
    probe = prober.stop()
    assert probe.sent >= 3
    assert probe.failed == 0
    assert probe.answered_by[0][1] == "20190423"
    assert probe.searches_sent == probe.searches_failed > 0
    assert {(host, agent) for _, host, agent in Site.seen} == {("app.example", AGENT)}


def test_prober_asks_seldom_while_nothing_acts(inventory: Inventory, site: int) -> None:
    prober = Prober(leading_to(inventory, site))
    assert prober.start() == ""
    prober.ease(True)
    time.sleep(1.6)
    asked = len(Site.seen)
    prober.ease(False)
    time.sleep(1.6)
    probe = prober.stop()
    assert asked <= 9
    assert probe.answered_by == [], "the inventory names no header that says it"
    assert len(Site.seen) - asked > 9 - 1
    assert probe.failed == 0
    assert probe.longest_gap < 0.9


def test_site_that_cannot_be_asked_is_said(inventory: Inventory) -> None:
    prober = Prober(leading_to(inventory, 1))
    assert "downtime is not measured" in prober.start()
    assert prober.stop().sent == 0


def test_authority_that_is_not_there_is_said(inventory: Inventory) -> None:
    urls = [{"url": "https://app.example/", "expect": "x"}]
    web = {**msgspec.to_builtins(inventory.web), "urls": urls, "ca_file": "/nowhere/ca.pem"}
    prober = Prober(msgspec.convert({**msgspec.to_builtins(inventory), "web": web}, Inventory))
    assert "/nowhere/ca.pem" in prober.start()


def test_road_without_a_url_leads_to_the_host_in_plain(inventory: Inventory) -> None:
    assert str(road(inventory)) == "http://app.example at new:80"
