"""The world of several nodes on PostgreSQL: one hall, whose nodes die, stall and come back.

All nodes live in one process and share its server, a network for their hints, and one clock. What
goes over their connections to the server is watched, so that a fault strikes in the middle of a
statement, before a COMMIT, while it is under way, or after it:

- a node is killed: all of its connections are aborted at this moment, nothing that it says from
  then on reaches anybody, and it is begun anew on its folder;
- the server ends all connections of a node, which goes on;
- the bus is cut, so that nodes learn of each other only by looking;
- a COMMIT is held up, so that what took a number earlier is seen later.

Real sockets make it impossible to repeat a run exactly: the seed decides what is planned and where
faults strike, not how the calls interleave.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from enum import StrEnum
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, cast

import asyncpg

from moothall.action.call import Call, Reply
from moothall.action.hub import FeedHub
from moothall.action.push import Push
from moothall.action.tail import Tail
from moothall.bus import MemoryBus, MemoryNetwork
from moothall.core.errors import StorageUnavailableError
from moothall.storage.postgres import PostgresDatabase
from moothall.testing import ManualClock, OpenHall, open_test_hall
from moothall.testing.postgres import drop_databases
from tests.simulation.world import Life

if TYPE_CHECKING:
    from moothall.app.foundation import Shared

PAUSE_SECONDS = 0.001
CATCH_UP_SECONDS_MAX = 15.0
"""After which a node that does not know everything is broken."""

STATEMENTS_MAX = 40
"""After how many statements of a node, at most, the fault strikes that comes in one."""

HELD_SECONDS_MAX = 0.02
HELD_PROBABILITY = 0.15
"""Of a COMMIT, and for how long."""

_NEWEST = """
SELECT GREATEST((SELECT COALESCE(max(cursor), 0) FROM action_event),
                (SELECT COALESCE(max(number), 0) FROM action_notice))
"""
_LAST_TOLD = "SELECT stream, max(seq) FROM action_event WHERE cursor > $1 GROUP BY stream"
_END = "SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid"
_ALIVE = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY ($1::int[])"


class Fault(StrEnum):
    """What happens to a node."""

    KILL = "a node is killed"
    END = "the server ends the connections of a node"


class Moment(StrEnum):
    """When it happens."""

    IN_STATEMENT = "in a statement"
    BEFORE_COMMIT = "before a COMMIT"
    IN_COMMIT = "in a COMMIT"
    AFTER_COMMIT = "after a COMMIT"
    AT_TURN = "at some moment"


class Node(Life):
    """One node, from its start to its end, and its connections to the server."""

    def __init__(self, number: int, place: int, world: "NodesWorld") -> None:
        """Begin; the world opens its hall.

        Args:
            number: Of the life.
            place: Of the node, whose folder stays.
            world: Where it lives.
        """
        super().__init__(number)
        self.place = place
        self.world = world
        self.connections: set[Watched] = set()
        self.pushed: dict[str, int] = {}
        """Of each stream: the number of the event that was given to the hub last."""
        self.misorders: list[str] = []
        """What was given to the hub before what precedes it."""
        self.began_at = 0
        """Number of the newest event when it began."""

    @property
    def databases(self) -> list[PostgresDatabase]:
        """The one for calls, and the one for the tail and the lease."""
        foundation = cast("Shared", self.hall.hall.foundation)
        return [cast("PostgresDatabase", one) for one in (foundation.database, foundation._aside)]

    @property
    def tail(self) -> Tail:
        """How it follows the others."""
        assert self.hall.hall.foundation.tail is not None
        return self.hall.hall.foundation.tail

    def watch(self) -> None:
        """Watch all connections that it has and will have, and what it tells its followers."""
        hub = self.hall.hall.house.use(FeedHub)
        setattr(hub, "publish", self._watch_pushes(hub.publish))  # noqa: B010 - a method
        self.began_at = self.tail._events.newest
        for database in self.databases:
            for pool in (database._writers, database._readers):
                pool._idle[:] = [Watched(one, self) for one in pool._idle]
                pool._connect = partial(self._connect, pool._connect)  # type: ignore[method-assign]

    async def _connect(self, connect: Callable[[], Awaitable[Any]]) -> "Watched":
        """Watch a new connection, unless its node is dead."""
        if self.is_dead:
            raise ConnectionRefusedError(NodesWorld.told_of_death)
        return Watched(await connect(), self)

    def _watch_pushes(
        self, publish: Callable[[Sequence[Push]], None]
    ) -> Callable[[Sequence[Push]], None]:
        """Note how far each stream has come; within one, events come one after the other."""

        def watched(pushes: Sequence[Push]) -> None:
            for push in pushes:
                last = self.pushed.get(push.stream)
                if last is not None and push.seq != last + 1:
                    self.misorders.append(f"{push.stream} {push.seq} came after {last}")
                self.pushed[push.stream] = push.seq
            publish(pushes)

        return watched

    def kill(self) -> None:
        """Abort all connections, and let no other be made."""
        self.is_dead = True
        for connection in self.connections:
            connection.abort()

    async def quiet(self) -> None:
        """Return when no write runs any more, also none that nobody waits for."""
        for database in self.databases:
            while database._running:
                await asyncio.wait(database._running)


class Watched:
    """A connection of a node; stands in its pool where the driver's would."""

    def __init__(self, connection: Any, node: Node) -> None:
        """Watch the driver's ``connection``."""
        self._connection = connection
        self._node = node
        self.pid: int = connection.get_server_pid()
        node.connections.add(self)
        if node.is_dead:  # it was killed meanwhile
            self.abort()

    def __getattr__(self, name: str) -> Any:
        """Be the driver's in all that is not watched."""
        return getattr(self._connection, name)

    def abort(self) -> None:
        """Let it break, as if its process were gone."""
        if not self._connection.is_closed():
            self._connection._transport.abort()

    async def execute(self, sql: str, *params: Any, **options: Any) -> Any:
        """Run a statement."""
        if sql == "COMMIT":
            return await self._node.world.commit(self._node, self._connection.execute, options)
        return await self._watch(self._connection.execute, sql, *params, **options)

    async def fetch(self, *params: Any, **options: Any) -> Any:
        """Run a statement."""
        return await self._watch(self._connection.fetch, *params, **options)

    async def fetchrow(self, *params: Any, **options: Any) -> Any:
        """Run a statement."""
        return await self._watch(self._connection.fetchrow, *params, **options)

    async def _watch(self, method: Any, *params: Any, **options: Any) -> Any:
        if not self._node.world.comes(self._node, Moment.IN_STATEMENT):
            return await method(*params, **options)
        return await self._node.world.strike_during(method(*params, **options))


class NodesWorld:
    """Nodes on one database. Implements World.

    Attributes:
        lives: How many lives the nodes have had together.
    """

    engine = "postgres"
    pause_seconds = PAUSE_SECONDS
    told_of_death = "this node is dead"

    def __init__(self, folder: Path, seed: int, clock: ManualClock, nodes: int) -> None:
        """Let ``nodes`` nodes keep their data in ``folder``."""
        self._folder = folder
        self._seed = seed
        self._chance = Random(f"nodes {seed}")
        self._clock = clock
        self._count = nodes
        self._numbers = count(1)
        self._network = MemoryNetwork()
        self._nodes: list[Node] = []
        self._first: OpenHall | None = None
        self._stack = AsyncExitStack()
        self._admin: Any = None
        self._threat: tuple[Fault, Moment, Node] | None = None
        self._left = 0
        """How many such moments of that node come before."""
        self.faults: dict[str, int] = {}
        self._pids: set[int] = set()
        """Of connections of killed nodes; the server may still carry out what they sent."""

    # --- the nodes ----------------------------------------------------------------------------

    @property
    def hall(self) -> OpenHall:
        """Any node."""
        return self.choose().hall

    @property
    def halls(self) -> list[OpenHall]:
        """All nodes that live."""
        return [node.hall for node in self._living]

    @property
    def _living(self) -> list[Node]:
        return [node for node in self._nodes if not node.is_dead]

    def choose(self) -> Node:
        """Return any node that lives."""
        return self._chance.choice(self._living)

    async def open(self) -> None:
        """Begin the nodes one after the other."""
        self._stack.push_async_callback(drop_databases)
        for place in range(self._count):
            self._nodes.append(await self._begin(place))
        assert self._first is not None
        self._admin = await asyncpg.connect(self._first.settings.database)

    async def close(self) -> None:
        """End all nodes, and delete the database."""
        self._threat = None
        for node in self._nodes:
            await node.stack.aclose()
        if self._admin is not None:
            await self._admin.close()
        await self._stack.aclose()

    async def _begin(self, place: int) -> Node:
        """Begin a node, on its folder."""
        node = Node(next(self._numbers), place, self)
        context = open_test_hall(
            self._folder / f"node-{place}",
            clock=self._clock,
            seed=self._seed * 1_000 + node.number,
            node_of=self._first,
            bus=MemoryBus("hall", self._network),
        )
        node.hall = await node.stack.enter_async_context(context)
        node.narrow()
        node.watch()
        self._first = self._first or node.hall
        return node

    async def restart(self, life: Life, chance: Random) -> None:
        """End a node in good order and begin it again."""
        index = self._nodes.index(cast("Node", life))
        await life.stack.aclose()
        self._nodes[index] = await self._begin(self._nodes[index].place)

    async def rise(self) -> None:
        """Let go of nodes that were killed, and begin them again on their folders."""
        for index, node in enumerate(self._nodes):
            if node.is_dead:
                # Not an end in good order: nothing of it reaches the server any more.
                await node.stack.aclose()
                self._pids |= {connection.pid for connection in node.connections}
                self._nodes[index] = await self._begin(node.place)

    @property
    def has_died(self) -> bool:
        """Whether a node was killed."""
        return len(self._living) < len(self._nodes)

    async def quiet(self) -> None:
        """Return when all writes have ended, also those whose node is dead."""
        for node in self._nodes:
            await node.quiet()
        async with asyncio.timeout(CATCH_UP_SECONDS_MAX):
            while self._pids and await self._admin.fetchval(_ALIVE, sorted(self._pids)):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(PAUSE_SECONDS)
        self._pids.clear()

    async def catch_up(self) -> None:
        """Return when each node knows all that was committed."""
        newest = await self._admin.fetchval(_NEWEST)
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS_MAX):
                for node in self._living:
                    while node.tail.settled < newest:  # noqa: ASYNC110 - it tells nobody
                        await asyncio.sleep(PAUSE_SECONDS)
        except TimeoutError:
            settled = [node.tail.settled for node in self._living]
            msg = f"nodes know of {settled}, and there is {newest}"
            raise AssertionError(msg) from None
        for node in self._living:
            rows = await self._admin.fetch(_LAST_TOLD, node.began_at)
            missed = [row for row in rows if node.pushed.get(row[0], 0) < row[1]]
            assert missed == [], f"node {node.place} never told {missed}"
            assert node.misorders == [], f"node {node.place}: {node.misorders}"

    # --- faults -------------------------------------------------------------------------------

    async def threaten(self, chance: Random) -> str:
        """Cut the bus, or let a fault strike a node in what comes next."""
        if chance.random() < 0.25:
            self._network.cut()
            self._note("the bus is cut")
            return "the bus is cut"
        fault, moment = chance.choice(list(Fault)), chance.choice(list(Moment))
        if len(self._living) < 2:
            fault = Fault.END
        self._threat = (fault, moment, self._nodes[chance.randrange(len(self._nodes))])
        self._left = chance.randint(0, STATEMENTS_MAX if moment is Moment.IN_STATEMENT else 2)
        return f"{fault} {moment}"

    async def pass_turn(self, *, may_strike: bool) -> None:
        """Let a moment go by, in which the server may do something."""
        await asyncio.sleep(PAUSE_SECONDS)
        if may_strike and self._threat is not None and self._threat[1] is Moment.AT_TURN:
            await self.strike()

    async def strike(self) -> None:
        """Let the fault happen now."""
        if self._threat is None:
            return
        (fault, moment, node), self._threat = self._threat, None
        if node.is_dead:
            return
        self._note(f"{fault} {moment}")
        if fault is Fault.KILL:
            node.kill()
        else:
            pids = [one.pid for one in node.connections if not one.is_closed()]
            await self._admin.execute(_END, pids)

    async def calm(self) -> None:
        """Let nothing happen any more; the bus mostly comes back."""
        self._threat = None
        if self._chance.random() < 0.5:
            self._network.restore()

    def comes(self, node: Node, moment: Moment) -> bool:
        """Tell whether the fault that is to come strikes now."""
        if self._threat is None or self._threat[1:] != (moment, node):
            return False
        self._left -= 1
        return self._left < 0

    async def strike_during(self, statement: Any) -> Any:
        """Strike while the server works on a statement."""
        task = asyncio.ensure_future(statement)
        await asyncio.sleep(0)  # it is sent
        await self.strike()
        return await task

    async def commit(self, node: Node, execute: Any, options: Any) -> Any:
        """Commit, and strike before, meanwhile, or after."""
        if self._chance.random() < HELD_PROBABILITY:
            await asyncio.sleep(self._chance.uniform(0, HELD_SECONDS_MAX))
        if self.comes(node, Moment.BEFORE_COMMIT):
            await self.strike()
        if self.comes(node, Moment.IN_COMMIT):
            return await self.strike_during(execute("COMMIT", **options))
        status = await execute("COMMIT", **options)
        if self.comes(node, Moment.AFTER_COMMIT):
            await self.strike()
        return status

    def _note(self, what: str) -> None:
        self.faults[what] = self.faults.get(what, 0) + 1

    # --- calls --------------------------------------------------------------------------------

    async def answer(self, call: Call) -> Reply | None:
        """Answer a call at any node; None if it was killed before the caller heard."""
        node = self.choose()
        reply = await node.hall.hall.pipeline.answer(call)
        return None if node.is_dead else reply

    async def run_job(self, name: str) -> bool:
        """Run a job at any node, whoever holds the lease, as a node that was stopped may do."""
        node = self.choose()
        jobs = node.hall.hall.jobs
        found = jobs._jobs[name]
        before = sum(self.faults.values())
        try:
            await found.handler(jobs._context(found))
        except Exception as error:
            # Of several pieces of work, a job raises what became of each.
            causes = error.exceptions if isinstance(error, ExceptionGroup) else (error,)
            was_struck = node.is_dead or sum(self.faults.values()) > before
            if was_struck and all(isinstance(one, StorageUnavailableError) for one in causes):
                return False
            raise
        return not node.is_dead
