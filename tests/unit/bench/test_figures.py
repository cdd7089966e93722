"""What the bench makes of what it has seen."""

import asyncio
import tempfile
from pathlib import Path

import psutil
import pytest

from bench import cases, harm, postgres, probe, pushes, readers, servers, yardsticks
from bench.__main__ import ENGINES, find_cases
from bench.hall import HallError, Member
from bench.load import quantile_ms
from bench.memory import sources
from moothall.action.pipeline import SOURCE_RATE

EVENT = b'{"jsonrpc":"2.0","method":"event","params":{}}\n'


def test_quantiles_are_the_upper_end_of_a_step() -> None:
    ticks = {10: 98, 20: 1, 500: 1}
    assert [quantile_ms(ticks, part) for part in (0.5, 0.98, 0.99, 1.0)] == [0.11, 0.11, 0.21, 5.01]
    assert quantile_ms({}, 0.5) == 0.0


@pytest.mark.parametrize(
    ("wanted", "count"),
    [("ping", 6), ("ping:1", 3), ("ndjson/ping", 2), ("https/get_rank:64", 1)],
)
def test_cases_are_chosen_by_door_action_and_connections(wanted: str, count: int) -> None:
    assert len(cases.select([wanted], cases.DOOR_CASES)) == count


def test_no_case_is_chosen_by_a_name_that_none_has() -> None:
    with pytest.raises(ValueError, match="websocket/ping:64"):
        cases.select(["gopher/ping"])


def test_cases_are_chosen_for_each_engine_that_has_them() -> None:
    found = find_cases(ENGINES, ["get_self"], 1, are_doors=False)
    assert {engine: len(each) for engine, each in found.items()} == {"sqlite": 2}
    found = find_cases(ENGINES, ["websocket/ping"], 7, are_doors=False)
    assert {engine: [case.in_flight for case in each] for engine, each in found.items()} == {
        "sqlite": [7],
        "postgres": [7],
    }
    with pytest.raises(ValueError, match="no case is named get_self"):
        find_cases(["postgres"], ["get_self"], 1, are_doors=False)


def test_every_case_on_postgres_has_its_yardstick_and_its_calls() -> None:
    member = Member("name", "password", "token")
    known = {*yardsticks.MEANINGS, *postgres.WRITES, "pgbench-S"}
    for case in cases.POSTGRES_CASES:
        assert case.yardstick in known
        assert cases.script(case, member, "board")


def test_a_folder_in_memory_is_no_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kinds = {tmp_path: "tmpfs", servers.ON_DISK: "ext4"}
    monkeypatch.setattr(servers, "filesystem_of", kinds.__getitem__)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert servers.find_disk(None) == servers.ON_DISK
    with pytest.raises(HallError, match=r"in memory.*--data"):
        servers.find_disk(tmp_path)


def test_the_file_system_of_a_folder_is_that_of_the_innermost_mount(tmp_path: Path) -> None:
    mounts = {Path(each.mountpoint): each.fstype for each in psutil.disk_partitions(all=True)}
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    outer = next(path for path in (tmp_path, *tmp_path.parents) if path in mounts)
    assert servers.filesystem_of(inner) == mounts[outer]


@pytest.mark.parametrize(("part", "expected"), [(0.5, 50.0), (0.99, 99.0), (0.01, 1.0)])
def test_quantiles_of_pushes(part: float, expected: float) -> None:
    assert pushes.quantile([float(number) for number in range(101)], part) == expected
    assert pushes.quantile([3.0], part) == 3.0


def test_every_case_has_its_yardstick_and_its_calls() -> None:
    member = Member("name", "password", "token")
    for case in (*cases.CASES, *cases.DOOR_CASES):
        assert case.yardstick in yardsticks.MEANINGS
        assert cases.script(case, member, "board")


@pytest.mark.parametrize("piece", [1, 5, 46, 47, 48, 10_000])
async def test_messages_are_counted_across_the_seams_of_pieces(piece: int) -> None:
    reader = readers.FirstReader(asyncio.Transport(), b"")
    data = EVENT * 20
    for start in range(0, len(data), piece):
        reader.data_received(data[start : start + piece])
    assert (reader.messages, reader.size_bytes) == (20, len(data))


async def test_a_reader_knows_why_it_was_closed() -> None:
    reader = readers.Reader(asyncio.Transport(), b"")
    assert reader.reason() == "without a word"
    reader.data_received(EVENT + b'{"jsonrpc":"2.0","method":"closing","params":{"reason":"idle"}}')
    assert reader.reason() == "idle"


def test_harm_is_measured_against_before_and_after_together() -> None:
    def taken(tick: int) -> probe.Taken:
        return probe.Taken({probe.PING: {tick: 100}}, 0, "")

    one = harm.Harm("calls", 1.5)
    _, ratio = harm.compare(one, probe.PING, (taken(99), taken(299), taken(199)))
    assert ratio == pytest.approx(1.5)


def test_harm_is_ten_times_what_a_source_may() -> None:
    found = {each.name: each for each in harm.kinds()}
    assert found["calls"].per_s == 10 * SOURCE_RATE.calls * 1_000 / SOURCE_RATE.window_ms
    assert found["logins"].per_s == 5
    assert found["connections"].count == 2_560


def test_connections_come_from_enough_addresses() -> None:
    assert sources(200) == ("127.0.2.1",)
    assert len(sources(5_000)) == 25
