"""A crowd that follows while all nodes are restarted one after the other, under writes.

    python -m tests.plays.crowd --clients 1000

Clients are the SDK's, each on a connection of its own through a balancer; they come back by
themselves. Everybody must have every event once, in order.
"""

import argparse
import asyncio
import shutil
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from time import perf_counter

from moothall.client import Hall
from moothall.client.feed import Feed
from tests.plays.cluster import Cluster, open_cluster, post, until
from tests.plays.kill_load import PASSWORD, Write, call_once, settle_in

FEEDS_OF_ONE = 25
"""Connections of one member, each with a feed."""
BOARD = "every"
FEED = f"board/{BOARD}/moderation"
BACK_SECONDS_MAX = 15.0
WRITE_EVERY_SECONDS = 0.1


@dataclass
class Follower:
    """One client of the crowd."""

    seqs: list[int] = field(default_factory=list)
    breaks: list[float] = field(default_factory=list)
    """When its connection broke."""


@dataclass(frozen=True, slots=True)
class CrowdReport:
    """What came of a rolling restart.

    Attributes:
        clients: How many followed.
        back_seconds: From the end of the last restart until everybody had an event written later.
        breaks: Connections that broke, of all clients.
        events: What each of them received.
    """

    clients: int
    back_seconds: float
    breaks: int
    events: int


class Writer:
    """Submits scores at any node that is up; sends again what was not answered."""

    def __init__(self, cluster: Cluster, token: str, seed: int) -> None:
        self._cluster = cluster
        self._tokens = {"ada": token}
        self._random = Random(seed)
        self._keys = count(1)
        self.written = 0

    async def write(self) -> None:
        """Write one event."""
        request = {"board_id": BOARD, "score": self._random.randrange(500)}
        write = Write("leaderboards.submit_score", request, f"crowd-{next(self._keys)}", "ada")
        while True:
            node = self._random.choice(self._cluster.nodes)
            try:
                async with asyncio.timeout(10):
                    status, body = await post(node.port, write, self._tokens)
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                status, body = 0, b""
            if status == 200:
                self.written += 1
                return
            assert status in {0, 503}, body
            await asyncio.sleep(0.05)

    async def run(self) -> None:
        """Write at intervals, for ever."""
        while True:
            await self.write()
            await asyncio.sleep(WRITE_EVERY_SECONDS)


async def restart_under_a_crowd(cluster: Cluster, clients: int, seed: int) -> CrowdReport:
    """Restart all nodes one after the other, and return what the crowd saw of it."""
    tokens = await settle_in(cluster.nodes[-1])
    writer = Writer(cluster, tokens["ada"], seed)
    crowd = [Follower() for _ in range(clients)]
    async with AsyncExitStack() as opened:
        tasks = []
        for number in range(0, clients, FEEDS_OF_ONE):
            hall = await _sign_in(cluster, tokens["ada"], number, opened)
            for follower in crowd[number : number + FEEDS_OF_ONE]:
                feed = hall.follow(
                    FEED,
                    after="now",
                    on_break=lambda *_told, who=follower: who.breaks.append(perf_counter()),
                )
                tasks.append(asyncio.create_task(_follow(feed, follower)))
        await writer.write()
        await _all_have_one_more(crowd, [-1] * clients, writer, 60)
        writing = asyncio.create_task(writer.run())
        for node in cluster.nodes:
            assert await node.stop() == 0
            await node.start()
        ended = perf_counter()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await _all_have_one_more(crowd, [len(each.seqs) for each in crowd], writer, 60)
        back = perf_counter() - ended
        last = max(each.seqs[-1] for each in crowd)
        await until(lambda: all(each.seqs[-1] == last for each in crowd), 30)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for each in crowd:
        assert each.seqs == list(range(each.seqs[0], each.seqs[0] + len(each.seqs)))
    breaks = sum(len(each.breaks) for each in crowd)
    return CrowdReport(clients, back, breaks, max(len(each.seqs) for each in crowd))


async def _sign_in(cluster: Cluster, boss: str, number: int, opened: AsyncExitStack) -> Hall:
    """Make one more member who may follow the board, and sign them in at any node."""
    name = f"follower{number}"
    port = cluster.nodes[number % len(cluster.nodes)].port
    await call_once(port, "identity.register", {"name": name, "password": PASSWORD})
    level = {"board_id": BOARD, "member": name, "level": "moderate"}
    await call_once(port, "leaderboards.set_level", level, boss)
    hall = Hall(f"ws://127.0.0.1:{cluster.balancer.port}", insecure=True)
    opened.push_async_callback(hall.close)
    await hall.sign_in(name, PASSWORD)
    return hall


async def _follow(feed: Feed, follower: Follower) -> None:
    async with feed:
        async for event in feed:
            follower.seqs.append(event.seq)


async def _all_have_one_more(
    crowd: list[Follower], had: list[int], writer: Writer, seconds: float
) -> None:
    """Write until everybody has received more than they had."""
    async with asyncio.timeout(seconds):
        while any(len(each.seqs) <= before for each, before in zip(crowd, had, strict=True)):
            await writer.write()
            await asyncio.sleep(WRITE_EVERY_SECONDS)


async def _main(clients: int, seed: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="moothall-crowd-"))
    async with open_cluster(folder) as cluster:
        report = await restart_under_a_crowd(cluster, clients, seed)
    shutil.rmtree(folder)
    print(  # noqa: T201 - its report
        f"{report.clients} clients, {report.breaks} connections broken by restarting all nodes; "
        f"all back {report.back_seconds:.1f} s after the last start; {report.events} events each, "
        "none missing, none twice"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Restart all nodes under a crowd.")
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    asyncio.run(_main(given.clients, given.seed))
