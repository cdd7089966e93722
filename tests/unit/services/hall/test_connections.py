"""Operators see who is connected, close a connection, and stop the hall."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moothall.action.connections import CloseReason
from moothall.testing import OpenHall, ProblemError, open_test_hall


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[OpenHall]:
    async with open_test_hall(tmp_path) as opened:
        yield opened


@pytest.mark.requirement("R42")
async def test_connections_are_listed_by_pages(hall: OpenHall) -> None:
    boss, ann = await hall.administrator(), await hall.member("ann")
    mine = await hall.connect(boss, source="192.0.2.7")
    others = [await hall.connect(ann) for _ in range(3)]
    stranger = await hall.connect()
    await mine.call("feeds.subscribe", feed="identity")
    others[1].queued_bytes = 17
    seen, after = [], ""
    while True:
        page = await hall.call("hall.list_connections", {"after": after, "limit": 2}, as_=boss)
        assert page.open == 5
        seen += page.connections
        if page.next is None:
            break
        after = page.next
    assert [each.connection_id for each in seen] == [
        each.connection.connection_id for each in (mine, *others, stranger)
    ]
    assert (seen[0].member_id, seen[0].source, seen[0].feeds) == (
        boss.member_id,
        "192.0.2.7",
        ["identity"],
    )
    assert seen[2].queued_bytes == 17
    assert (seen[4].member_id, seen[4].session_id) == ("", "")


async def test_a_connection_is_closed_by_whoever_may(hall: OpenHall) -> None:
    boss, ann = await hall.administrator(), await hall.member("ann")
    opened = await hall.connect(ann)
    request = {"connection_id": opened.connection.connection_id}
    with pytest.raises(ProblemError, match="permission_denied"):
        await hall.call("hall.close_connection", request, as_=ann)
    with pytest.raises(ProblemError, match="permission_denied"):
        await hall.call("hall.list_connections", as_=ann)
    await hall.call("hall.close_connection", request, as_=boss)
    assert opened.reason is CloseReason.ADMINISTRATOR
    with pytest.raises(ProblemError, match="connection_not_found"):
        await hall.call("hall.close_connection", request, as_=boss)


@pytest.mark.requirement("R42")
async def test_only_who_may_stops_the_hall(hall: OpenHall) -> None:
    boss, ann = await hall.administrator(), await hall.member("ann")
    await hall.connect(ann)
    with pytest.raises(ProblemError, match="permission_denied"):
        await hall.call("hall.shutdown", as_=ann)
    assert (await hall.call("hall.shutdown", as_=boss)).open_connections == 1
