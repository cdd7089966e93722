"""How long a push takes from one node to a follower at another, by the SDK at both ends."""

import asyncio
import statistics
import time
from collections.abc import Sequence

import uvloop

from bench.hall import Hall as RunningHall
from bench.hall import HallError, Member
from moothall.client import Hall
from moothall.client.feed import Feed

EVENT_S_MAX = 10.0


def measure(
    writer_at: RunningHall, reader_at: RunningHall, member: Member, board_id: str, events: int
) -> Sequence[float]:
    """Return milliseconds from the writer's answer to the event, sorted; one event after another.

    The answer comes right after the commit, so a figure is less than the time since the commit by
    what the answer took; it may be less than nothing.

    Raises:
        HallError: An event did not come.
    """
    return sorted(uvloop.run(_measure(writer_at, reader_at, member, board_id, events)))


async def _measure(
    writer_at: RunningHall, reader_at: RunningHall, member: Member, board_id: str, events: int
) -> list[float]:
    arrived: asyncio.Queue[float] = asyncio.Queue()
    async with _open(writer_at) as writer, _open(reader_at) as reader:
        await writer.sign_in(member.name, member.password)
        await reader.sign_in(member.name, member.password)
        async with reader.follow(f"board/{board_id}/moderation", after="now") as feed:
            listening = asyncio.create_task(_listen(feed, arrived))
            try:
                return [
                    await _time_one(writer, board_id, number, arrived) for number in range(events)
                ]
            finally:
                listening.cancel()


def _open(hall: RunningHall) -> Hall:
    return Hall(f"ws://127.0.0.1:{hall.port}", insecure=True)


async def _listen(feed: Feed, arrived: asyncio.Queue[float]) -> None:
    async for _ in feed:
        arrived.put_nowait(time.perf_counter())


async def _time_one(
    writer: Hall, board_id: str, number: int, arrived: asyncio.Queue[float]
) -> float:
    """Submit a score and return how many milliseconds after the answer its event came."""
    request = {"board_id": board_id, "score": number}
    await writer.call("leaderboards.submit_score", request)
    answered_at = time.perf_counter()
    try:
        async with asyncio.timeout(EVENT_S_MAX):
            return (await arrived.get() - answered_at) * 1_000
    except TimeoutError:
        raise HallError(f"no event came within {EVENT_S_MAX:g} s of its commit") from None


def quantile(values: Sequence[float], part: float) -> float:
    """Return what ``part`` of sorted values do not exceed."""
    if len(values) < 2:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[round(part * 100) - 1]
