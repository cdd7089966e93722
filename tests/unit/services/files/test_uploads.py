"""Uploading: identical bytes, in order, within bounds, across restarts."""

import asyncio
from pathlib import Path

import pytest

from moothall.ports.database import Transaction
from moothall.testing import ManualClock, OpenHall, ProblemError, Visitor, open_test_hall
from tests.unit.services.files.uploading import (
    CHUNK,
    digest_of,
    download,
    pattern,
    put,
    stored,
    upload,
)

MEBIBYTE = 1_024 * 1_024
OTHER = digest_of(b"something else")


@pytest.fixture
async def ann(hall: OpenHall) -> Visitor:
    return await hall.member("ann")


@pytest.mark.requirement("R57")
@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 16 * MEBIBYTE])
async def test_bytes_come_back_identical(hall: OpenHall, ann: Visitor, size: int) -> None:
    data = pattern(size)
    sha256 = await upload(hall, ann, data)
    assert await download(hall, ann, sha256) == data
    assert await stored(hall) == (size, size)


@pytest.mark.requirement("R57")
async def test_one_byte_too_many_is_refused_with_the_first_chunk(
    hall: OpenHall, ann: Visitor
) -> None:
    data = pattern(CHUNK)
    with pytest.raises(ProblemError) as refused:
        await put(hall, ann, data, 0, sha256=OTHER, size_bytes=16 * MEBIBYTE + 1)
    assert (refused.value.name, refused.value.code) == ("file_too_large", "invalid_argument")
    assert refused.value.details["size_bytes_max"] == 16 * MEBIBYTE
    assert await stored(hall) == (0, 0)
    assert await hall.rows("SELECT * FROM files_upload") == []


async def test_size_not_known_before_the_last_chunk(tmp_path: Path) -> None:
    data = pattern(2 * CHUNK + 5)
    sha256 = digest_of(data)
    async with open_test_hall(tmp_path, tables={"files": {"size_bytes_max": 2 * CHUNK}}) as hall:
        ann = await hall.member("ann")
        assert (await put(hall, ann, data, 0, size_bytes=None)).size_bytes is None
        assert (await put(hall, ann, data, CHUNK, size_bytes=None)).offset == 2 * CHUNK
        with pytest.raises(ProblemError) as refused:
            await put(hall, ann, data, 2 * CHUNK)
        assert refused.value.name == "file_too_large"
    async with open_test_hall(tmp_path) as hall:
        ann = await hall.sign_in("ann")
        assert (await put(hall, ann, data, 2 * CHUNK)).is_finished
        assert await download(hall, ann, sha256) == data


@pytest.mark.requirement("R36")
async def test_upload_goes_on_after_a_restart(tmp_path: Path) -> None:
    data, clock = pattern(3 * CHUNK + 1), ManualClock()
    sha256 = digest_of(data)
    async with open_test_hall(tmp_path, clock=clock) as hall:
        ann = await hall.member("ann")
        await put(hall, ann, data, 0)
        await put(hall, ann, data, CHUNK)
    async with open_test_hall(tmp_path, clock=clock) as hall:
        ann = await hall.sign_in("ann")
        there = await hall.call("files.get_upload", {"sha256": sha256}, as_=ann)
        assert (there.offset, there.size_bytes, there.is_finished) == (2 * CHUNK, len(data), False)
        await put(hall, ann, data, 2 * CHUNK)
        await put(hall, ann, data, 3 * CHUNK)
    async with open_test_hall(tmp_path, clock=clock) as hall:
        ann = await hall.sign_in("ann")
        assert await download(hall, ann, sha256) == data


async def test_repeated_chunk_is_no_error_and_a_gap_is(hall: OpenHall, ann: Visitor) -> None:
    data = pattern(3 * CHUNK)
    await put(hall, ann, data, 0)
    with pytest.raises(ProblemError) as refused:
        await put(hall, ann, data, 2 * CHUNK)
    assert (refused.value.name, refused.value.details["offset"]) == ("chunk_out_of_order", CHUNK)
    assert (await put(hall, ann, data, 0)).offset == CHUNK
    await put(hall, ann, data, CHUNK)
    assert (await put(hall, ann, data, 2 * CHUNK)).is_finished
    for at in (0, 2 * CHUNK):
        assert (await put(hall, ann, data, at)).is_finished
    with pytest.raises(ProblemError) as other:
        await put(hall, ann, data[::-1], 0, sha256=digest_of(data))
    assert other.value.name == "hash_mismatch"
    assert await download(hall, ann, digest_of(data)) == data
    assert await stored(hall) == (3 * CHUNK, 3 * CHUNK)


@pytest.mark.parametrize(
    ("offset", "size_bytes", "length", "field"),
    [
        (1, 10, 9, "offset"),
        (0, 10, 9, "data"),
        (0, 10, 11, "data"),
        (0, None, 9, "data"),
        (CHUNK, 10, 0, "offset"),
        (0, 2 * CHUNK, 10, "data"),
    ],
)
async def test_chunk_that_is_no_row_is_refused(
    hall: OpenHall, ann: Visitor, offset: int, size_bytes: int | None, length: int, field: str
) -> None:
    data = b"x" * (offset + length)
    with pytest.raises(ProblemError) as refused:
        await put(hall, ann, data, offset, size_bytes=size_bytes)
    assert refused.value.details["field"] == field
    assert await hall.rows("SELECT * FROM files_upload") == []


async def test_another_size_than_before_is_refused(hall: OpenHall, ann: Visitor) -> None:
    data = pattern(2 * CHUNK)
    await put(hall, ann, data, 0)
    with pytest.raises(ProblemError) as refused:
        await put(hall, ann, data, CHUNK, size_bytes=3 * CHUNK)
    assert refused.value.details["field"] == "size_bytes"
    await hall.call("files.delete_file", {"sha256": digest_of(data)}, as_=ann)
    await upload(hall, ann, data)


@pytest.mark.requirement("R57")
async def test_wrong_hash_takes_the_upload_away(hall: OpenHall, ann: Visitor) -> None:
    data = pattern(CHUNK + 7)
    await put(hall, ann, data, 0, sha256=OTHER)
    with pytest.raises(ProblemError) as refused:
        await put(hall, ann, data, CHUNK, sha256=OTHER)
    assert refused.value.name == "hash_mismatch"
    assert refused.value.details["found"] == digest_of(data)
    there = await hall.call("files.get_upload", {"sha256": OTHER}, as_=ann)
    assert (there.offset, there.is_finished) == (0, False)
    with pytest.raises(ProblemError) as hidden:
        await hall.call("files.get_file", {"sha256": OTHER}, as_=ann)
    assert hidden.value.name == "no_such_file"
    await hall.run_job("files.collect_files")
    assert await stored(hall) == (0, 0)


@pytest.mark.requirement("R57")
async def test_same_bytes_of_two_members_in_parallel_are_stored_once(
    hall: OpenHall, ann: Visitor
) -> None:
    data = pattern(3 * CHUNK + 1)
    bob = await hall.member("bob")
    await asyncio.gather(upload(hall, ann, data), upload(hall, bob, data))
    await hall.run_job("files.collect_files")
    assert await stored(hall) == (len(data), len(data))
    sha256 = digest_of(data)
    assert await download(hall, ann, sha256) == await download(hall, bob, sha256) == data
    await hall.call("files.delete_file", {"sha256": sha256}, as_=ann)
    await hall.run_job("files.collect_files")
    with pytest.raises(ProblemError):
        await hall.call("files.get_file", {"sha256": sha256}, as_=ann)
    assert await download(hall, bob, sha256) == data
    await hall.call("files.delete_file", {"sha256": sha256}, as_=bob)
    await hall.run_job("files.collect_files")
    assert await stored(hall) == (0, 0)


@pytest.mark.requirement("R57")
async def test_nobody_learns_that_others_have_uploaded_something(
    hall: OpenHall, ann: Visitor
) -> None:
    data = pattern(CHUNK + 1)
    sha256 = await upload(hall, ann, data)
    bob = await hall.member("bob")
    known = await hall.answer("files.get_file", {"sha256": sha256}, token=bob.token)
    absent = await hall.answer("files.get_file", {"sha256": OTHER}, token=bob.token)
    assert known.problem is not None
    assert absent.problem is not None
    assert known.problem.name == absent.problem.name == "no_such_file"
    assert known.problem.details["reason"] == absent.problem.details["reason"]
    there = await hall.call("files.get_upload", {"sha256": sha256}, as_=bob)
    assert (there.offset, there.is_finished) == (0, False)
    # Having sent a part, or other bytes under its name, opens nothing either.
    answer = await put(hall, bob, data, 0)
    assert (answer.offset, answer.is_finished) == (CHUNK, False)
    with pytest.raises(ProblemError):
        await hall.call("files.get_chunk", {"sha256": sha256}, as_=bob)
    with pytest.raises(ProblemError) as refused:
        await put(hall, bob, data[:CHUNK] + b"!", CHUNK, sha256=sha256)
    assert refused.value.name == "hash_mismatch"
    with pytest.raises(ProblemError):
        await hall.call("files.get_chunk", {"sha256": sha256}, as_=bob)
    assert await download(hall, ann, sha256) == data


async def test_quota_of_two_at_once_lets_exactly_one_pass(tmp_path: Path) -> None:
    first, second = pattern(3 * CHUNK, "first"), pattern(3 * CHUNK, "second")
    async with open_test_hall(tmp_path, tables={"files": {"member_bytes_max": 5 * CHUNK}}) as hall:
        ann = await hall.member("ann")
        done = await asyncio.gather(
            *(put(hall, ann, data, 0) for data in (first, second)), return_exceptions=True
        )
        refused = [one for one in done if isinstance(one, ProblemError)]
        assert [one.name for one in refused] == ["quota_exceeded"]
        assert refused[0].details["left_bytes"] == 2 * CHUNK
        assert (await stored(hall))[0] == 3 * CHUNK
        # Others have a quota of their own, and what is deleted is free again.
        bob = await hall.member("bob")
        await upload(hall, bob, first)
        for data in (first, second):
            await hall.answer("files.delete_file", {"sha256": digest_of(data)}, token=ann.token)
        await upload(hall, ann, second)


async def test_quota_counts_what_grows_without_a_size(tmp_path: Path) -> None:
    data = pattern(3 * CHUNK)
    async with open_test_hall(tmp_path, tables={"files": {"member_bytes_max": CHUNK}}) as hall:
        ann = await hall.member("ann")
        await put(hall, ann, data, 0, size_bytes=None)
        with pytest.raises(ProblemError) as refused:
            await put(hall, ann, data, CHUNK, size_bytes=None)
        assert refused.value.name == "quota_exceeded"
        assert await stored(hall) == (CHUNK, CHUNK)


async def test_number_of_uploads_and_room_of_the_hall_are_bounded(tmp_path: Path) -> None:
    bounds = {"uploads_per_member_max": 2, "hall_bytes_max": CHUNK}
    async with open_test_hall(tmp_path, tables={"files": bounds}) as hall:
        ann, bob = await hall.member("ann"), await hall.member("bob")
        await upload(hall, ann, b"1")
        await upload(hall, ann, b"22")
        with pytest.raises(ProblemError) as many:
            await upload(hall, ann, b"333")
        assert (many.value.name, many.value.details["uploads_max"]) == ("quota_exceeded", 2)
        with pytest.raises(ProblemError) as full:
            await upload(hall, bob, pattern(CHUNK))
        assert full.value.name == "hall_full"
        await upload(hall, bob, pattern(CHUNK - 3))


async def test_own_files_are_listed_in_pages(hall: OpenHall, ann: Visitor) -> None:
    hashes = sorted([await upload(hall, ann, bytes([number])) for number in range(3)])
    await put(hall, ann, pattern(CHUNK + 1), 0, sha256="f" * 64)
    await upload(hall, await hall.member("bob"), b"not hers")
    page = await hall.call("files.list_files", {"limit": 3}, as_=ann)
    assert [one.sha256 for one in page.files] == hashes
    rest = await hall.call("files.list_files", {"after": page.next}, as_=ann)
    assert [(one.sha256, one.is_finished, one.is_held) for one in rest.files] == [
        ("f" * 64, False, False)
    ]
    assert rest.next is None
    now_ms = hall.clock.now_ms()
    assert page.files[0].kept_until_ms == now_ms + 86_400_000
    assert rest.files[0].kept_until_ms == now_ms + 3_600_000


async def test_unfinished_and_unused_uploads_are_collected(tmp_path: Path) -> None:
    data = pattern(20 * CHUNK)
    async with open_test_hall(tmp_path) as hall:
        ann = await hall.member("ann")
        await upload(hall, ann, data)
        half = pattern(2 * CHUNK, "half")
        await put(hall, ann, half, 0)
        hall.clock.advance(3_599_999)
        await hall.run_job("files.collect_files")
        assert await stored(hall) == (22 * CHUNK, 21 * CHUNK)
        hall.clock.advance(1)
        await hall.run_job("files.collect_files")
        assert await stored(hall) == (20 * CHUNK, 20 * CHUNK)
        hall.clock.advance(82_800_000)
        await hall.run_job("files.collect_files")
        assert await stored(hall) == (0, 0)
        for table in ("upload", "file", "blob", "chunk"):
            assert await hall.rows(f"SELECT * FROM files_{table}") == []


async def test_upload_left_between_last_chunk_and_verdict_is_finished_by_repeating_it(
    hall: OpenHall, ann: Visitor
) -> None:
    data = pattern(CHUNK + 1)
    sha256 = digest_of(data)
    await put(hall, ann, data, 0)

    # A crash after the last chunk was stored leaves all bytes, and no verdict.
    async def cut_off(tx: Transaction) -> None:
        ((blob_id,),) = await tx.fetch_all("SELECT blob_id FROM files_upload")
        await tx.execute(
            "INSERT INTO files_chunk (blob_id, number, data) VALUES ($1, 1, $2)", blob_id, data[-1:]
        )
        await tx.execute("UPDATE files_upload SET received_bytes = size_bytes")

    await hall.hall.database.write(cut_off)
    assert (await put(hall, ann, data, CHUNK)).is_finished
    assert await download(hall, ann, sha256) == data
