"""Three nodes of one hall as real processes, with a real PostgreSQL and a real NATS under faults.

    python -m tests.plays.cluster --fault all --seconds 60 --seed 1

Each node reaches database and bus by cables of its own, which can be cut. A load remembers what it
was promised, and sends again under the same key what was not answered; readers follow through a
balancer and come back by themselves.
"""

import argparse
import asyncio
import contextlib
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import msgspec

from moothall.client import Hall
from moothall.client.errors import ClientError
from tests.plays.kill_load import (
    COUNTING,
    MEMBERS,
    PASSWORD,
    KilledHall,
    Write,
    check_board,
    encode_call,
    settle_in,
)
from tests.servers.nats import NatsServer
from tests.servers.postgres import PostgresServer
from tests.servers.relay import Place, Relay

WORKERS = 12
READERS = 6
ANSWER_SECONDS_MAX = 12.0
"""How long a call may be without an answer; every fault is noticed sooner."""
RECOVERY_SECONDS_MAX = 10.0
"""From the end of a fault until every node has answered a write."""
FEED = "board/every/moderation"
KEY_FILE = "sealing.key"


class Node(KilledHall):
    """One node, through all its lives; it keeps its port."""

    def __init__(self, folder: Path, database: str, bus: str) -> None:
        super().__init__(folder)
        self._own = (
            "--database",
            database,
            "--bus",
            bus,
            "--metrics-port",
            "-1",
            "--set",
            "connections_per_source_max=5000",
        )
        self.options = self._own
        self.is_up = False

    async def start(self) -> None:
        """Start it, at the port that it had."""
        if self.port:
            self.options = (*self._own, "--port", str(self.port), "--ndjson-port", "0")
        await super().start()
        self.is_up = True

    async def kill(self) -> None:
        """End it without a word."""
        self.is_up = False
        await super().kill()

    async def stop(self) -> int:
        """Ask it to stop."""
        self.is_up = False
        return await super().stop()


@dataclass
class Cluster:
    """The nodes and what they stand on."""

    postgres: PostgresServer
    nats: NatsServer
    nodes: list[Node]
    to_database: list[Relay]
    to_bus: list[Relay]
    balancer: Relay


@asynccontextmanager
async def open_cluster(folder: Path, size: int = 3) -> AsyncIterator[Cluster]:
    """Start everything, the first node first, because it makes the key."""
    async with AsyncExitStack() as opened:
        postgres = await asyncio.to_thread(lambda: PostgresServer(has_port=True, is_safe=True))
        opened.callback(postgres.remove)
        postgres.run_sql("CREATE DATABASE hall")
        nats = await asyncio.to_thread(NatsServer)
        opened.callback(nats.remove)
        nodes: list[Node] = []
        turns = count()

        def next_node() -> Place | None:
            up = [node for node in nodes if node.is_up]
            return ("127.0.0.1", up[next(turns) % len(up)].port) if up else None

        cluster = Cluster(postgres, nats, nodes, [], [], Relay(next_node))
        await opened.enter_async_context(cluster.balancer)
        for number in range(size):
            database = Relay(lambda: ("127.0.0.1", postgres.port))
            bus = Relay(lambda: ("127.0.0.1", nats.port))
            cluster.to_database.append(await opened.enter_async_context(database))
            cluster.to_bus.append(await opened.enter_async_context(bus))
            node = Node(
                folder / f"node{number}",
                f"postgresql://hall@127.0.0.1:{database.port}/hall",
                f"nats://127.0.0.1:{bus.port}",
            )
            if nodes:
                node.folder.mkdir(mode=0o700)
                shutil.copy(nodes[0].folder / KEY_FILE, node.folder / KEY_FILE)
            await node.start()
            nodes.append(node)
            opened.push_async_callback(node.leave)
        yield cluster


# --- the load -------------------------------------------------------------------------------------


@dataclass
class FaultLoad:
    """Members who submit and verify scores at any node, each call under a key of its own."""

    cluster: Cluster
    random: Random
    tokens: dict[str, str] = field(repr=False)
    done: list[Write] = field(default_factory=list)
    refused: int = 0
    """Answers ``unavailable`` and the like, after which the same was sent again."""
    broken: int = 0
    """Connections that broke or stayed silent, likewise."""
    answered_at: dict[int, float] = field(default_factory=dict)
    """When each node last answered a write, by its number."""
    _keys: Any = field(default_factory=lambda: count(1))
    _unverified: list[Write] = field(default_factory=list)
    _ends: bool = False

    async def run(self) -> None:
        """Send calls until :meth:`end`."""
        async with asyncio.TaskGroup() as group:
            for number in range(WORKERS):
                group.create_task(self._work(number))

    def end(self) -> None:
        """Begin no new call; what is under way is sent until it is answered."""
        self._ends = True

    async def _work(self, number: int) -> None:
        while not self._ends:
            write = self._next()
            place = number
            while not await self._send(write, place % len(self.cluster.nodes)):
                place += 1
                await asyncio.sleep(self.random.uniform(0.02, 0.2))
            self.done.append(write)
            if write.action == "leaderboards.submit_score":
                self._unverified.append(write)

    async def _send(self, write: Write, number: int) -> bool:
        """Send a write to a node, and tell whether it was answered."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                status, body = await post(self.cluster.nodes[number].port, write, self.tokens)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            self.broken += 1
            return False
        if status != 200:
            problem = msgspec.json.decode(body)
            retryable = problem["code"] in {"unavailable", "aborted", "deadline_exceeded"}
            assert retryable, f"{write}: {problem}"
            self.refused += 1
            return False
        assert write.reply is None
        write.reply = body
        self.answered_at[number] = perf_counter()
        return True

    def _next(self) -> Write:
        """Make up a score, or now and then the verification of one."""
        key = f"key-{next(self._keys)}"
        name = self.random.choice(list(self.tokens))
        if self._unverified and self.random.random() < 0.3:
            place = self.random.randrange(len(self._unverified))
            entry_id = self._unverified.pop(place).result["entry_id"]
            return Write("leaderboards.verify_entry", {"entry_id": entry_id}, key, name)
        board = self.random.choice(list(COUNTING))
        request = {"board_id": board, "score": self.random.randrange(500)}
        return Write("leaderboards.submit_score", request, key, name)


async def until(holds: Callable[[], bool], seconds: float) -> None:
    """Return when something holds that other tasks bring about."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - many tasks have a part in it
            await asyncio.sleep(0.01)


async def post(port: int, write: Write, tokens: dict[str, str]) -> tuple[int, bytes]:
    """Make one call on a connection of its own, and return its status and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(encode_call(write.action, write.request, tokens[write.name], write.key))
        head = await reader.readuntil(b"\r\n\r\n")
        _, _, rest = head.lower().partition(b"content-length:")
        body = await reader.readexactly(int(rest.partition(b"\r\n")[0]))
        return int(head.split(b" ", 2)[1]), body
    finally:
        writer.transport.abort()


@dataclass
class Reader:
    """A client of the SDK that follows through the balancer and comes back by itself."""

    seqs: list[int] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    async def follow(self, port: int, after: str, is_live: asyncio.Event) -> None:
        async with Hall(f"ws://127.0.0.1:{port}", insecure=True) as hall:
            await hall.sign_in(MEMBERS[0], PASSWORD)
            async with hall.follow(FEED, after=after) as feed:
                is_live.set()
                async for event in feed:
                    self.seqs.append(event.seq)


# --- faults ---------------------------------------------------------------------------------------

Fault = Callable[[Cluster, float], Awaitable[None]]


async def restart_postgres(cluster: Cluster, seconds: float) -> None:
    """Stop the database in good order and start it again."""
    await asyncio.to_thread(cluster.postgres.stop)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(cluster.postgres.start)


async def kill_postgres(cluster: Cluster, seconds: float) -> None:
    """Stop the database as a loss of power does, and start it again."""
    await asyncio.to_thread(cluster.postgres.kill)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(cluster.postgres.start)


async def stop_nats(cluster: Cluster, seconds: float) -> None:
    """Have no bus for a while."""
    await asyncio.to_thread(cluster.nats.stop)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(cluster.nats.start)


async def kill_node(cluster: Cluster, seconds: float) -> None:
    """Lose a node, and start it again."""
    await cluster.nodes[1].kill()
    await asyncio.sleep(seconds)
    await cluster.nodes[1].start()


async def cut_database(cluster: Cluster, seconds: float) -> None:
    """Cut a node off from the database."""
    cluster.to_database[2].cut()
    await asyncio.sleep(seconds)
    cluster.to_database[2].mend()


async def cut_bus(cluster: Cluster, seconds: float) -> None:
    """Cut a node off from the bus."""
    cluster.to_bus[0].cut()
    await asyncio.sleep(seconds)
    cluster.to_bus[0].mend()


async def restart_all(cluster: Cluster, seconds: float) -> None:
    """Restart the nodes one after the other."""
    for node in cluster.nodes:
        assert await node.stop() == 0
        await node.start()
        await asyncio.sleep(min(seconds, 1.0))


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        restart_postgres, kill_postgres, stop_nats, kill_node, cut_database, cut_bus, restart_all,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FaultReport:
    """What came of one fault."""

    fault: str
    recovery_seconds: float
    """From its end until every node had answered a write."""
    writes: int
    refused: int
    broken: int
    events: int

    def __str__(self) -> str:
        return (
            f"{self.fault}: well again after {self.recovery_seconds:.2f} s; {self.writes} writes "
            f"({self.refused} refusals and {self.broken} broken connections repeated), lost 0, "
            f"done twice 0; {READERS} readers, {self.events} events each, none missing"
        )


async def go_through(cluster: Cluster, faults: dict[str, float], seed: int) -> list[FaultReport]:
    """Let faults happen under load, each for so many seconds, and check all that was promised."""
    tokens = await settle_in(cluster.nodes[-1])
    load = FaultLoad(cluster, Random(seed), tokens)
    readers = [Reader() for _ in range(READERS)]
    for reader in readers:
        is_live = asyncio.Event()
        reader.task = asyncio.create_task(reader.follow(cluster.balancer.port, "now", is_live))
        async with asyncio.timeout(20):
            await is_live.wait()
    running = asyncio.create_task(load.run())
    reports = []
    try:
        for name, seconds in faults.items():
            reports.append(await _go_through_one(cluster, load, name, seconds))
    finally:
        load.end()
        await running
    submitted = sum(write.action == "leaderboards.submit_score" for write in load.done)
    told = sum(
        write.action == "leaderboards.submit_score" and write.request["board_id"] == "every"
        for write in load.done
    )
    assert submitted
    await until(lambda: all(len(reader.seqs) >= told for reader in readers), 30)
    for reader in readers:
        assert reader.task is not None
        reader.task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ClientError):
            await reader.task
        start = reader.seqs[0]
        assert reader.seqs == list(range(start, start + len(reader.seqs)))
        assert len(reader.seqs) >= told
    await check_all(cluster, load)
    return [
        FaultReport(name, seconds, len(load.done), load.refused, load.broken, told)
        for name, seconds in reports
    ]


async def _go_through_one(
    cluster: Cluster, load: FaultLoad, name: str, seconds: float
) -> tuple[str, float]:
    """Let one fault happen, and return how long it took to be well again."""
    await asyncio.sleep(0.5)
    await FAULTS[name](cluster, seconds)
    ended = perf_counter()
    load.answered_at.clear()
    await until(lambda: len(load.answered_at) == len(cluster.nodes), 3 * RECOVERY_SECONDS_MAX)
    return name, max(load.answered_at.values()) - ended


async def check_all(cluster: Cluster, load: FaultLoad) -> None:
    """Compare what a client reads with what was acknowledged, and repeat some of it elsewhere."""
    for node in cluster.nodes:
        async with Hall(f"http://127.0.0.1:{node.port}", insecure=True) as client:
            await client.sign_in(MEMBERS[0], PASSWORD)
            for board in COUNTING:
                await check_board(client, board, load.done)
    for write in load.random.sample(load.done, min(100, len(load.done))):
        number = load.random.randrange(len(cluster.nodes))
        status, again = await post(cluster.nodes[number].port, write, load.tokens)
        assert (status, again) == (200, write.reply)
    gaps = "SELECT stream FROM action_event GROUP BY stream HAVING max(seq) <> count(*)"
    assert cluster.postgres.run_sql(gaps, "hall") == ""


async def _main(faults: dict[str, float], seed: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="moothall-cluster-"))
    async with open_cluster(folder) as cluster:
        for report in await go_through(cluster, faults, seed):
            print(report)  # noqa: T201 - its report
    shutil.rmtree(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Three nodes under faults.")
    parser.add_argument("--fault", choices=["all", *FAULTS], default="all")
    parser.add_argument("--seconds", type=float, default=5.0, help="How long each fault lasts.")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    named = list(FAULTS) if given.fault == "all" else [given.fault]
    sys.exit(asyncio.run(_main(dict.fromkeys(named, given.seconds), given.seed)))
