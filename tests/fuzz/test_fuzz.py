"""The short run of the fuzzer, the inputs that were found before, and that it finds what is there.

The long run is ``make fuzz``. A block is the same at each run; what fails here is sent again by
``python -m tests.fuzz --replay`` from a file in ``build/fuzz``, whose path the failure says.
"""

from pathlib import Path

import pytest

from moothall.action import token as token_module
from moothall.services.access.store import teams
from moothall.transports.ndjson.protocol import Lines
from moothall.transports.websocket.protocol import Frames, Item
from tests.fuzz import doors, parsers, tokens
from tests.fuzz.report import CORPUS, Report, read_case, write_case
from tests.fuzz.targets import TARGETS

SEED = 2026
DOOR_BLOCKS, DOOR_CASES = 6, 250
TEXT_BLOCKS, TEXTS = 4, 8_000


def assert_nothing_found(report: Report) -> None:
    """Fail with all that was found, and with the files that send it again."""
    told = []
    for number, finding in enumerate(report.findings):
        path = Path("build") / "fuzz" / f"{finding.target}-{SEED}-{number}.txt"
        write_case(path, finding)
        told.append(f"{path}: {finding.kind}: {finding.what}\n{finding.told[-1_500:]}")
    assert not told, f"seed {SEED}\n" + "\n".join(told)


@pytest.mark.requirement("R1")
@pytest.mark.requirement("R31")
@pytest.mark.requirement("R32")
@pytest.mark.parametrize("block", range(DOOR_BLOCKS))
async def test_no_bytes_at_any_door_do_harm(block: int) -> None:
    report = await doors.run_block(SEED, block, DOOR_CASES)
    assert_nothing_found(report)
    assert report.counts["pings"], "nobody was asked meanwhile"


@pytest.mark.requirement("R1")
@pytest.mark.requirement("R2")
@pytest.mark.requirement("R3")
@pytest.mark.parametrize("block", range(TEXT_BLOCKS))
async def test_only_genuine_tokens_and_codes_are_taken(block: int) -> None:
    report = await tokens.run_block(SEED, block, TEXTS)
    assert_nothing_found(report)
    assert report.counts["token refused"] > TEXTS // 10


@pytest.mark.requirement("R32")
@pytest.mark.parametrize("block", range(TEXT_BLOCKS))
async def test_readers_take_what_the_standard_library_takes(block: int) -> None:
    report = await parsers.run_block(SEED, block, TEXTS)
    assert_nothing_found(report)
    assert min(report.counts[f"{sort} taken"] for sort in parsers.JUDGES) > 0, report.counts


@pytest.mark.requirement("R32")
@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.txt")), ids=lambda path: path.stem)
async def test_what_was_found_before_is_mended(path: Path) -> None:
    case = read_case(path)
    assert await TARGETS[case.target].replay(case) == []


# --- a fuzzer that finds nothing may be asleep ----------------------------------------------------


async def test_a_token_that_is_not_verified_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_module, "is_signed_by", lambda *_: True)
    report = await tokens.run_block(SEED, 0, 1_000)
    assert any(one.kind == "token" for one in report.findings)


async def test_a_reader_that_minds_where_it_is_cut_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    receive = Frames.receive

    def forget(self: Frames, data: bytes) -> list[Item]:
        return receive(self, data) if len(data) > 2 else []

    monkeypatch.setattr(Frames, "receive", forget)
    monkeypatch.setattr(Lines, "feed", lambda _self, data: data.split(b"\n"))
    report = await parsers.run_block(SEED, 0, 1_000)
    assert {"frames", "lines"} <= {one.kind for one in report.findings}
    finding = await parsers.cut(report.findings[0])
    assert len(finding.data) <= len(report.findings[0].data)
    write_case(tmp_path / "case.txt", finding)
    kept = read_case(tmp_path / "case.txt")
    assert (kept.target, kept.kind, kept.data) == (*finding[:2], finding.data)
    assert await parsers.replay(kept) == [finding.what]


async def test_a_fault_of_one_action_is_found_at_the_doors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(teams, "list_teams", fail)
    report = await doors.run_block(SEED, 0, DOOR_CASES)
    found = {one.what for one in report.findings}
    assert "server error" in found
    assert any("ZeroDivisionError" in what for what in found)
