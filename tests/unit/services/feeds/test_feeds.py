"""Following feeds: from the commit to the reader, without gap and without repeat."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from moothall.action.connections import CloseReason, Connections
from moothall.action.cursor import Cursors, Place
from moothall.action.hub import PAGE_ROWS, FeedHub
from moothall.core.units import DAY_MS, MINUTE_MS
from moothall.testing import OpenConnection, OpenHall, ProblemError, Visitor, open_test_hall

pytestmark = pytest.mark.requirement("R33")

BOARD = {"board_id": "kart", "name": "Kart", "direction": "descending", "default_level": "write"}
FEED = "board/kart"
WAITING = "board/kart/moderation"


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[OpenHall]:
    async with open_test_hall(tmp_path) as opened:
        yield opened


@pytest.fixture
async def boss(hall: OpenHall) -> Visitor:
    found = await hall.administrator()
    await hall.call("leaderboards.create_board", BOARD, as_=found)
    return found


async def submit(hall: OpenHall, who: Visitor, score: float = 1.0) -> Any:
    """Submit a score, which is an event for moderators."""
    request = {"board_id": "kart", "score": score}
    return await hall.call("leaderboards.submit_score", request, as_=who)


async def take(reader: OpenConnection, count: int) -> list[int]:
    """Return the numbers of the next events of one stream."""
    return [(await reader.next_event()).seq for _ in range(count)]


async def test_what_happens_is_delivered_in_order(hall: OpenHall, boss: Visitor) -> None:
    reader = await hall.connect(boss)
    answer = await reader.call("feeds.subscribe", feed=WAITING)
    for score in range(3):
        await submit(hall, boss, score)
    events = [await reader.next_event() for _ in range(3)]
    assert [event.seq for event in events] == [1, 2, 3]
    assert [event.data["score"] for event in events] == [0.0, 1.0, 2.0]
    assert {event.kind for event in events} == {"leaderboards.score_submitted"}
    assert {(event.feed, event.stream) for event in events} == {(WAITING, WAITING)}
    again = await hall.connect(boss)
    await again.call("feeds.subscribe", feed=WAITING, after=answer["cursor"])
    assert await take(again, 3) == [1, 2, 3]


async def test_a_reader_resumes_after_its_cursor(hall: OpenHall, boss: Visitor) -> None:
    reader = await hall.connect(boss)
    await reader.call("feeds.subscribe", feed=WAITING)
    for _ in range(3):
        await submit(hall, boss)
    second = [await reader.next_event() for _ in range(3)][1]
    reader.leave()
    count = 2 * PAGE_ROWS + 7
    for _ in range(count):
        await submit(hall, boss)
    again = await hall.connect(boss)
    await again.call("feeds.subscribe", feed=WAITING, after=second.cursor)
    assert await take(again, count + 1) == list(range(3, count + 4))
    await submit(hall, boss)
    assert await take(again, 1) == [count + 4]


async def test_what_is_acknowledged_belongs_to_the_device(hall: OpenHall, boss: Visitor) -> None:
    async def open_on(device: str) -> OpenConnection:
        fields = {"name": boss.name, "password": "correct horse battery staple", "device": device}
        opened = await hall.call("identity.open_session", fields, source="198.51.100.200")
        visitor = Visitor(boss.member_id, boss.name, opened.session_id, opened.access_token)
        return await hall.connect(visitor)

    phone = await open_on("phone")
    await phone.call("feeds.subscribe", feed=WAITING)
    for _ in range(4):
        await submit(hall, boss)
    events = [await phone.next_event() for _ in range(4)]
    await phone.call("feeds.acknowledge", feed=WAITING, cursor=events[1].cursor)
    kept = await phone.call("feeds.acknowledge", feed=WAITING, cursor=events[0].cursor)
    assert kept["cursor"] == events[1].cursor, "an older cursor changes nothing"

    phone_again, laptop = await open_on("phone"), await open_on("laptop")
    await phone_again.call("feeds.subscribe", feed=WAITING)
    assert await take(phone_again, 2) == [3, 4]
    await laptop.call("feeds.subscribe", feed=WAITING)
    await submit(hall, boss)
    assert await take(laptop, 1) == [5], "a device that never acknowledged begins now"
    await phone_again.call("feeds.subscribe", feed=WAITING, after="now")
    await phone_again.until_live(WAITING)
    await submit(hall, boss)
    assert await take(laptop, 1) == [6]


@pytest.mark.parametrize(
    "cursor",
    [
        *("nonsense", "00000000.1", "{epoch}.99", "{epoch}.-1", "{epoch}.", "{epoch}.0-"),
        *("{epoch}.0-99", "{epoch}.1-1", "{epoch}.0-2-1", "{epoch}.0-1-1", "{epoch}.0-\u0661"),
        *("{epoch}.0-1-2-3-4-5", "{epoch}.0--1", "{epoch}.0-+1", "{epoch}.0- 1"),
    ],
)
async def test_a_strange_cursor_is_expired(hall: OpenHall, boss: Visitor, cursor: str) -> None:
    reader = await hall.connect(boss)
    epoch = hall.cursor(0).partition(".")[0]
    with pytest.raises(ProblemError) as refused:
        await reader.call("feeds.subscribe", feed=FEED, after=cursor.format(epoch=epoch))
    assert refused.value.name == "cursor_expired"
    assert not reader.connection.subscriptions


async def test_a_swept_cursor_is_expired_and_the_rest_goes_on(
    hall: OpenHall, boss: Visitor
) -> None:
    start = hall.cursor(0)
    for _ in range(3):
        await submit(hall, boss)
    hall.clock.advance(31 * DAY_MS)
    visitor = await hall.sign_in(boss.name)
    await submit(hall, visitor)
    await hall.run_job("feeds.sweep_events")
    assert [event.seq for event in await hall.events(WAITING)] == [4]
    reader = await hall.connect(visitor)
    with pytest.raises(ProblemError, match="cursor_expired"):
        await reader.call("feeds.subscribe", feed=WAITING, after=start)
    await reader.call("feeds.subscribe", feed=WAITING)
    await submit(hall, visitor)
    assert await take(reader, 1) == [5]


async def test_who_may_not_follow_is_refused_and_the_hidden_looks_absent(
    hall: OpenHall, boss: Visitor
) -> None:
    ann = await hall.member("ann")
    reader = await hall.connect(ann)
    problems = []
    for feed in (WAITING, "board/nothing/moderation"):
        with pytest.raises(ProblemError) as refused:
            await reader.call("feeds.subscribe", feed=feed)
        problems.append((refused.value.code, refused.value.name))
    assert problems[0] == problems[1] == ("permission_denied", "permission_denied")
    with pytest.raises(ProblemError, match="feed_not_found"):
        await (await hall.connect(boss)).call("feeds.subscribe", feed="board/nothing")
    with pytest.raises(ProblemError, match="feed_not_found") as refused:
        await reader.call("feeds.subscribe", feed="boards/kart/moderation")
    assert "did you mean board/{board_id}" in str(refused.value.details["remedy"])


@pytest.mark.requirement("R22")
async def test_a_revoked_reader_gets_nothing_more_and_is_told(
    hall: OpenHall, boss: Visitor
) -> None:
    ann = await hall.member("ann")
    grant = {"member": "ann", "role": "board_moderator", "at": "board/kart"}
    await hall.call("access.grant_role", grant, as_=boss)
    reader, other = await hall.connect(ann), await hall.connect(boss)
    for each in (reader, other):
        await each.call("feeds.subscribe", feed=WAITING)
    await submit(hall, boss)
    assert await take(reader, 1) == await take(other, 1) == [1]
    await hall.call("access.revoke_role", grant, as_=boss)
    await submit(hall, boss)
    assert await take(other, 1) == [2]
    assert not reader.received
    assert reader.ended == {WAITING: "permission_denied"}
    assert not reader.connection.subscriptions


async def test_a_revoked_reader_is_told_even_if_nothing_happens(
    hall: OpenHall, boss: Visitor
) -> None:
    ann = await hall.member("ann")
    reader = await hall.connect(ann)
    await reader.call("feeds.subscribe", feed=FEED)
    await hall.call("access.ban", {"member": "ann", "at": "board", "reason": "noise"}, as_=boss)
    hall.look_after_connections()
    assert reader.ended == {FEED: "permission_denied"}


async def test_feeds_pause_when_the_token_expires_and_go_on_when_it_is_renewed(
    hall: OpenHall, boss: Visitor
) -> None:
    reader = await hall.connect(boss)
    await reader.call("feeds.subscribe", feed=WAITING)
    await submit(hall, boss)
    assert await take(reader, 1) == [1]
    hall.clock.advance(5 * MINUTE_MS + 1)
    reader.heard()
    hall.look_after_connections()
    other = await hall.sign_in(boss.name)
    await submit(hall, other)
    assert not reader.received
    assert (await reader.answer("feeds.unsubscribe", feed=WAITING)).problem is not None
    # The same session has another token now.
    renewed = hall.renew(boss)
    await reader.call("identity.authenticate", token=renewed.token)
    assert await take(reader, 1) == [2]
    await submit(hall, other)
    assert await take(reader, 1) == [3]


async def test_unsubscribing_and_leaving_forget_everything(hall: OpenHall, boss: Visitor) -> None:
    hub = hall.hall.house.use(FeedHub)
    reader = await hall.connect(boss)
    await reader.call("feeds.subscribe", feed=WAITING)
    await reader.call("feeds.subscribe", feed=FEED)
    assert hub.readers == 2
    await reader.call("feeds.unsubscribe", feed=FEED)
    with pytest.raises(ProblemError, match="feed_not_found"):
        await reader.call("feeds.unsubscribe", feed=FEED)
    await submit(hall, boss)
    assert await take(reader, 1) == [1]
    reader.leave()
    assert hub.readers == 0
    assert hub._groups == {}
    assert hub._by_stream == {}
    await submit(hall, boss)
    assert not reader.received


async def test_a_feed_needs_a_connection_and_is_bounded(hall: OpenHall, boss: Visitor) -> None:
    with pytest.raises(ProblemError, match="connection_needed"):
        await hall.call("feeds.subscribe", {"feed": FEED}, as_=boss)
    reader = await hall.connect(boss)
    limit = hall.hall.house.use(Connections).bounds.subscriptions_max
    for number in range(limit + 1):
        board = {**BOARD, "board_id": f"b{number}"}
        await hall.call("leaderboards.create_board", board, as_=boss)
    for number in range(limit):
        await reader.call("feeds.subscribe", feed=f"board/b{number}")
    await reader.call("feeds.subscribe", feed="board/b0")
    with pytest.raises(ProblemError, match="too_many_feeds"):
        await reader.call("feeds.subscribe", feed=f"board/b{limit}")


async def test_a_reader_that_must_not_send_waits_without_delaying_others(
    hall: OpenHall, boss: Visitor
) -> None:
    start = hall.cursor(0)
    for _ in range(5):
        await submit(hall, boss)
    slow, quick = await hall.connect(boss), await hall.connect(boss)
    slow.may_send.clear()
    await slow.call("feeds.subscribe", feed=WAITING, after=start)
    await quick.call("feeds.subscribe", feed=WAITING, after=start)
    assert await take(quick, 5) == [1, 2, 3, 4, 5]
    assert not slow.received
    await submit(hall, boss)
    slow.may_send.set()
    assert await take(slow, 6) == [1, 2, 3, 4, 5, 6]


async def test_a_fault_of_a_subscription_ends_with_the_session(
    hall: OpenHall, boss: Visitor
) -> None:
    reader = await hall.connect(boss)
    await reader.call("feeds.subscribe", feed=FEED)
    await hall.call("identity.close_session", as_=boss)
    assert reader.reason is CloseReason.SESSION_ENDED
    assert hall.hall.house.use(FeedHub).readers == 0


@pytest.mark.parametrize("seed", range(5))
async def test_many_writers_and_readers_that_break_off(
    hall: OpenHall, boss: Visitor, seed: int
) -> None:
    """Every reader sees every event of each stream once and in order, whatever breaks when."""
    chance = random.Random(seed)
    boards = [f"b{number}" for number in range(3)]
    for board in boards:
        await hall.call("leaderboards.create_board", {**BOARD, "board_id": board}, as_=boss)
    feeds = [f"board/{board}/moderation" for board in boards]
    begin = hall.cursor((await hall.rows("SELECT MAX(cursor) FROM action_event"))[0][0])
    numbers = list(range(1, 61))

    async def write(board: str) -> None:
        for _ in numbers:
            await hall.call("leaderboards.submit_score", {"board_id": board, "score": 1}, as_=boss)
            if chance.random() < 0.3:
                await asyncio.sleep(0)

    async def read() -> None:
        seen: dict[str, list[int]] = {feed: [] for feed in feeds}
        cursors = dict.fromkeys(feeds, begin)
        left = len(feeds) * len(numbers)
        while left:
            reader = await hall.connect(boss)
            for feed in feeds:
                await reader.call("feeds.subscribe", feed=feed, after=cursors[feed])
            for _ in range(min(left, chance.randrange(1, 80))):
                event = await reader.next_event()
                cursors[event.feed] = event.cursor
                if event.seq not in seen[event.feed]:  # a client drops a repeated number
                    seen[event.feed].append(event.seq)
                    left -= 1
            reader.leave()
        assert seen == dict.fromkeys(feeds, numbers)

    await asyncio.gather(*(write(board) for board in boards), *(read() for _ in range(6)))


async def test_the_epoch_outlives_a_restart(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        first = hall.hall.house.use(Cursors).text(Place(0))
    async with open_test_hall(tmp_path) as hall:
        assert hall.hall.house.use(Cursors).text(Place(0)) == first
        assert len(first.partition(".")[0]) == 8
