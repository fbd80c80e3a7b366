"""The parts of the bench that need no lab: what is rendered, what is counted, how long the proxy's way is."""

from __future__ import annotations

import asyncio
import compileall
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import generated, plot, proxy, show, timeline
from bench.__main__ import SECTIONS, arguments
from bench.measure import BenchError, Command, Result, Row, Sample, environment, interleaved, resident, seconds_of
from bench.place import Place
from bench.properties import PROPERTIES, drifted, of
from bench.rivals import RIVALS
from bench.sections import Aim, Bench, Table


def sample(wall: float, wrong: str = "") -> Sample:
    return Sample(wall, wall / 2, 0.1, 40.0, wrong, "out")


def command(name: str) -> Command:
    return Command((name,), Path(), lambda _code, _out: "")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, "127.0.0.1", 22, tmp_path / "key", 0.05)


def test_there_are_forty_properties_and_no_two_are_alike() -> None:
    assert len(PROPERTIES) == len(set(PROPERTIES)) == 40


def test_one_expectation_drifts() -> None:
    assert sum(a != b for a, b in zip(PROPERTIES, drifted(), strict=True)) == 1
    assert len(of("mode", drifted())) == len(of("mode"))


@pytest.mark.parametrize("name", RIVALS)
def test_a_peer_is_told_of_every_property(name: str, place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "peer"
    folder.mkdir()
    RIVALS[name](place, PROPERTIES, folder)
    written = "".join(file.read_text() for file in folder.rglob("*") if file.is_file())
    assert [p.name for p in PROPERTIES if p.name not in written] == []
    assert compileall.compile_dir(folder, quiet=1)


def test_pyinfra_is_judged_by_its_table_because_it_ends_with_0(place: Place, tmp_path: Path) -> None:
    judge = RIVALS["pyinfra --dry"](place, PROPERTIES, tmp_path).judge
    rows = [f"    files.file (path={p.name}, mode={p.value})  -  -" for p in of("mode")]
    table = "\n".join(["--> Detected changes:", *rows])
    assert judge(0, table) == ""
    assert judge(0, table.replace("  -  -", "  1 (vampires)  -", 1)) == "found 1 changes"
    assert judge(0, "--> Skipping change detection") == "printed no table"
    assert judge(1, table) == "ended with 1"


@pytest.mark.parametrize("make", [generated.forty, lambda folder: generated.growing(folder, 45)])
def test_a_generated_project_is_python(make: Callable[[Path], None], tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    make(folder)
    assert compileall.compile_dir(folder, quiet=1)
    assert "pythonpath = ." not in (folder / "pytest.ini").read_text().splitlines()


def test_each_round_begins_with_another_row_and_the_first_does_not_count() -> None:
    ran: list[str] = []

    def run(it: Command) -> Sample:
        ran.append(it.words[0])
        return sample(len(ran))

    results = interleaved([Row(name, command(name)) for name in "abc"], 2, run, lambda _text: None)
    assert "".join(ran) == "abcbcacab"
    assert [len(result.samples) for result in results] == [2, 2, 2]
    assert results[0].median("wall") == 7.0


def test_a_row_that_does_not_do_what_it_claims_ends_the_bench() -> None:
    with pytest.raises(BenchError, match="a: found 3 changes"):
        interleaved([Row("a", command("a"))], 1, lambda _: sample(1.0, "found 3 changes"), lambda _text: None)


def test_nothing_that_makes_a_tool_slower_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-x")
    assert not {"PYTHONDONTWRITEBYTECODE", "PYTEST_ADDOPTS"} & environment().keys()


def test_what_the_kernel_counts_is_read(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\nsystem_usec 2\n")
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t  20480 kB\nVmRSS:\t 1024 kB\n")
    assert seconds_of(tmp_path / "cpu.stat") == 2.5
    assert resident(tmp_path / "status") == 20.0
    assert resident(tmp_path / "gone") == 0.0


def test_the_way_through_the_proxy_takes_its_time_and_keeps_the_order() -> None:
    trip = 0.2

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(6))
        await writer.drain()
        writer.close()

    async def ask() -> tuple[bytes, float]:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        there = server.sockets[0].getsockname()
        between = await proxy.serve(("127.0.0.1", 0), (there[0], there[1]), trip)
        clock = asyncio.get_running_loop().time
        began = clock()
        reader, writer = await asyncio.open_connection(*between.sockets[0].getsockname())
        for part in (b"ab", b"cd", b"ef"):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
        said = await reader.read()
        writer.close()
        server.close()
        between.close()
        return said, clock() - began

    said, seconds = asyncio.run(ask())
    assert said == b"abcdef"
    assert seconds >= 2 * trip  # one round trip until the connection stands, one for question and answer


def test_a_runs_time_is_split_without_a_remainder() -> None:
    def step(remedy: str, seconds: float) -> dict[str, Any]:
        return {"remedy": remedy, "seconds": seconds}

    steps = [step("deploy.deploy", 30.0), step("units.cutover", 12.0), step("repo.merge", 5.0), step("fs.rescue", 1.0)]
    found = timeline.parts({"seconds": 100.0, "waited": 20.0, "asking": 25.0, "steps": steps})
    assert sum(found.values()) == 100.0
    assert (found[timeline.DEPLOY], found[timeline.BOOT], found[timeline.ACTS]) == (30.0, 12.0, 1.0)
    assert found[timeline.REST] == 7.0


def test_a_run_without_a_record_is_said(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no record"):
        timeline.record_of("report: reports/20260101T000000.000Z-abcd/report.html\n", tmp_path)


def test_the_dearest_readings_of_a_run_are_named() -> None:
    asked = [{"reading": "landscape", "times": 57, "seconds": 4.26}, {"reading": "solr", "times": 19, "seconds": 1.0}]
    assert timeline.dearest({"execs": 87, "asked": asked}, 1) == [
        "asked: 76 readings in 87 execs; on the hosts they took",
        "    4.3 s   57 x  landscape",
    ]


def test_results_are_shown_with_what_was_wanted() -> None:
    table = Table("one", "one host", [Result("ours", [sample(1.0), sample(3.0), sample(2.0)])])
    table.aims = [Aim("a / b", 1.2, limit=1.1), Aim("peer / ours", 9.0, limit=8.0, least=True), Aim("only shown", 5.0, "ms")]
    text = show.terminal(table)
    assert "a / b: 1.20 x (MISSED: at most 1.1 was wanted)" in text
    assert "peer / ours: 9.00 x (met: at least 8 was wanted)" in text
    about = {"when": "now", "machine": "a machine", "rounds": 3}
    assert "| ours | 2.000 | 1.000 | 3.000 | 1.000 | 0.100 | 40 |" in show.markdown([table], about)
    data = json.loads(show.data([table], about))
    assert [aim["met"] for aim in data["tables"][0]["aims"]] == [False, True, None]
    assert "out" not in data["tables"][0]["rows"][0]["samples"][0]


def test_sections_run_in_their_order_whatever_was_typed() -> None:
    assert arguments(["growth", "one"]).sections == ["one", "growth"]
    assert arguments([]).sections == list(SECTIONS)
    assert all(hasattr(Bench, name) for name in SECTIONS if name != "convergence")
    with pytest.raises(SystemExit):
        arguments(["two"])


def test_the_picture_has_a_bar_for_each_row_as_long_as_its_median() -> None:
    rows = [Result("ours, 10", [sample(1.0), sample(2.0)]), Result("a <peer>", [sample(3.0)])]
    picture = ET.fromstring(plot.svg([Table("one", "one & only", rows), Table("many", "many", rows[:1])]))
    bars = [(float(bar.attrib["width"]), bar.attrib["fill"]) for bar in picture.findall(".//{*}rect")]
    ours, peer = plot.COLOURS["ours"], plot.PEER
    assert bars == [(260.0, ours), (520.0, peer), (390.0, ours)]
    words = {text.text for text in picture.findall(".//{*}text")}
    assert {"a <peer>", "3.00 s", "one & only: seconds, median and range"} <= words
