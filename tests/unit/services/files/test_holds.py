"""Holding files: who may read them then, and how long they stay."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moothall.testing import OpenHall, ProblemError, Visitor, open_test_hall
from tests.unit.services.files.uploading import (
    HOLDERS,
    digest_of,
    download,
    pattern,
    put,
    stored,
    upload,
)

DATA = pattern(300_000)
SHA256 = digest_of(DATA)
DAY_MS = 86_400_000


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[OpenHall]:
    async with open_test_hall(tmp_path, functions=[HOLDERS]) as opened:
        yield opened


@pytest.fixture
async def ann(hall: OpenHall) -> Visitor:
    return await hall.member("ann")


async def keep(hall: OpenHall, who: Visitor, ref: str, shelf: str = "1") -> None:
    await hall.call("shelf.keep_book", {"sha256": SHA256, "ref": ref, "shelf": shelf}, as_=who)


async def is_readable(hall: OpenHall, who: Visitor) -> bool:
    replies = [
        await hall.answer(f"files.{action}", {"sha256": SHA256}, token=who.token)
        for action in ("get_file", "get_chunk")
    ]
    names = {None if reply.problem is None else reply.problem.name for reply in replies}
    assert names in ({None}, {"no_such_file"})
    return names == {None}


@pytest.mark.requirement("R20")
async def test_readers_are_those_who_hold_the_permission_at_the_path(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    bob, cy = await hall.member("bob"), await hall.member("cy")
    role = {"name": "librarian", "permissions": ["shelf:read"]}
    await hall.call("access.define_role", role, as_=boss)
    for who, at in (("bob", "shelf/1"), ("cy", "shelf/10")):
        await hall.call(
            "access.grant_role", {"member": who, "role": "librarian", "at": at}, as_=boss
        )
    await upload(hall, ann, DATA)
    assert not await is_readable(hall, bob)
    await keep(hall, ann, "book")
    assert await download(hall, bob, SHA256) == DATA
    assert not await is_readable(hall, cy)
    await hall.call("shelf.move_book", {"ref": "book", "shelf": "10"}, as_=ann)
    assert not await is_readable(hall, bob)
    assert await is_readable(hall, cy)
    assert await is_readable(hall, ann)
    await hall.call("shelf.drop_book", {"ref": "book"}, as_=ann)
    assert not await is_readable(hall, cy)


@pytest.mark.requirement("R57")
async def test_only_who_uploaded_it_whole_has_it_held(hall: OpenHall, ann: Visitor) -> None:
    await upload(hall, ann, DATA)
    bob = await hall.member("bob")
    for half in (False, True):
        if half:
            await put(hall, bob, DATA, 0)
        with pytest.raises(ProblemError) as refused:
            await keep(hall, bob, "stolen")
        assert refused.value.name == "no_such_file"
    assert await hall.rows("SELECT * FROM files_hold") == []


async def test_person_holds_nothing_even_if_they_may_do_everything(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    hold = {"sha256": SHA256, "ref": "x", "permission": "shelf:read", "path": ""}
    await upload(hall, boss, DATA)
    for who, action, request in (
        (boss, "hold_file", hold),
        (boss, "release_file", {"ref": "x"}),
        (boss, "change_reader", {"ref": "x", "permission": "shelf:read", "path": ""}),
        (ann, "hold_file", hold),
    ):
        with pytest.raises(ProblemError) as refused:
            await hall.call(f"files.{action}", request, as_=who)
        assert refused.value.name == "permission_denied"


async def test_name_is_used_once(hall: OpenHall, ann: Visitor) -> None:
    await upload(hall, ann, DATA)
    await keep(hall, ann, "book")
    with pytest.raises(ProblemError) as twice:
        await keep(hall, ann, "book")
    assert twice.value.name == "hold_exists"
    for action in ("drop_book", "move_book"):
        request = {"ref": "none"} | ({"shelf": "1"} if action == "move_book" else {})
        with pytest.raises(ProblemError) as none:
            await hall.call(f"shelf.{action}", request, as_=ann)
        assert none.value.name == "hold_not_found"


async def test_held_file_stays_until_the_last_hold_has_gone_for_a_day(
    hall: OpenHall, ann: Visitor
) -> None:
    await upload(hall, ann, DATA)
    await keep(hall, ann, "first")
    await keep(hall, ann, "second", "2")
    with pytest.raises(ProblemError) as held:
        await hall.call("files.delete_file", {"sha256": SHA256}, as_=ann)
    assert held.value.name == "file_held"
    for ref in ("first", "second"):
        hall.clock.advance(3 * DAY_MS)
        await hall.run_job("files.collect_files")
        ann = await hall.sign_in("ann")
        assert (await hall.call("files.list_files", {}, as_=ann)).files[0].is_held
        await hall.call("shelf.drop_book", {"ref": ref}, as_=ann)
    hall.clock.advance(DAY_MS - 1)
    await hall.run_job("files.collect_files")
    ann = await hall.sign_in("ann")
    assert await download(hall, ann, SHA256) == DATA
    hall.clock.advance(1)
    await hall.run_job("files.collect_files")
    assert await stored(hall) == (0, 0)
    assert await hall.rows("SELECT * FROM files_upload") == []


async def test_hold_of_one_keeps_nothing_of_another(hall: OpenHall, ann: Visitor) -> None:
    bob = await hall.member("bob")
    await upload(hall, ann, DATA)
    await upload(hall, bob, DATA)
    await keep(hall, ann, "book")
    hall.clock.advance(DAY_MS)
    await hall.run_job("files.collect_files")
    bob = await hall.sign_in("bob")
    assert not await is_readable(hall, bob)
    assert (await hall.call("files.list_files", {}, as_=bob)).files == []
    assert await download(hall, await hall.sign_in("ann"), SHA256) == DATA


async def test_file_released_at_once_goes_with_the_next_collection(
    hall: OpenHall, ann: Visitor
) -> None:
    await upload(hall, ann, DATA)
    await keep(hall, ann, "book")
    await hall.call("shelf.drop_book", {"ref": "book", "at_once": True}, as_=ann)
    await hall.run_job("files.collect_files")
    assert await stored(hall) == (0, 0)


@pytest.mark.requirement("R16")
async def test_member_takes_the_list_along_and_leaves_what_is_held(
    hall: OpenHall, boss: Visitor, ann: Visitor
) -> None:
    await upload(hall, ann, DATA)
    other = await upload(hall, ann, b"not held")
    await put(hall, ann, pattern(300_000, "half"), 0)
    await keep(hall, ann, "book")
    exported = await hall.call("identity.export_self", {"room": "files"}, as_=ann)
    kinds = [(row.kind, row.data.get("sha256")) for row in exported.rows]
    assert ("hold", SHA256) in kinds
    assert {sha256 for kind, sha256 in kinds if kind == "upload"} >= {SHA256, other}
    assert len(kinds) == 4
    await hall.call("identity.remove_member", {"member": "ann"}, as_=boss)
    for _ in range(2):
        await hall.run_job("files.collect_files")
    assert [row[0] for row in await hall.rows("SELECT sha256 FROM files_upload")] == [SHA256]
    assert await stored(hall) == (len(DATA), len(DATA))
