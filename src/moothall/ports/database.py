"""Database and Transaction: rows, and the promise that what is acknowledged stays.

There are two engines, SQLite and PostgreSQL, and one SQL text serves both: parameters are written
``$1``, ``$2``, in any order and as often as needed; a ``$1`` in a literal, a quoted name or a
comment is text. Statements may use ``ON CONFLICT`` and ``RETURNING``. A call ends its transaction
by returning or raising, never by a ``COMMIT`` or ``ROLLBACK`` of its own.

On SQLite there is one writer, so a WRITE is alone. On PostgreSQL writes of all nodes run side by
side at READ COMMITTED: what a call decides on, it reads with ``lock_rows``; an invariant over a
set of rows locks the row of their parent, or a name by ``lock``. A write that breaks a unique or
foreign key because another was quicker is run again, and then sees the other's rows.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

T = TypeVar("T")

Row: TypeAlias = tuple[Any, ...]
"""Columns in the order of the statement; a store turns them into models."""


class Horizon(NamedTuple):
    """How far the hall's numbers (of events, audit rows and notices) have come."""

    settled: int
    """Every number up to this one that will ever appear is seen by reads that begin from now on."""
    last: int
    """The last number that was given out; some below it may still be under way."""


class Transaction(Protocol):
    """One view of the data, and in a write the right to change it.

    All methods are awaited, because another engine suspends. On SQLite they never do, which is
    what lets the writer run many calls one after the other in a single commit.

    Attributes:
        engine: ``sqlite`` or ``postgres``, for the few statements that have a twin.
    """

    engine: str

    async def fetch_one(self, sql: str, *params: object) -> Row | None:
        """Return the first row, or None."""
        ...

    async def fetch_all(self, sql: str, *params: object) -> list[Row]:
        """Return all rows; the statement carries its own LIMIT."""
        ...

    async def execute(self, sql: str, *params: object) -> int:
        """Run one ``INSERT``, ``UPDATE`` or ``DELETE`` and return how many rows it changed.

        Rows that a foreign key or a trigger changed are not counted. The number means
        nothing after any other statement.
        """
        ...

    async def append(self, sql: str, *params: object) -> None:
        """Insert rows of which nobody asks anything more, now or a little later.

        PostgreSQL sends what was appended together, with one round trip: before the next other
        statement of this transaction, or before its commit. So a broken key is told there.
        """
        ...

    async def append_returning(self, sql: str, *params: object) -> Row | None:
        """Append, with all that was appended before, and return the first row of ``RETURNING``.

        The statement does not see what it is sent together with.
        """
        ...

    async def execute_script(self, sql: str) -> None:
        """Run several statements without parameters; for migrations only."""
        ...

    async def lock_rows(self, sql: str, *params: object) -> list[Row]:
        """Read rows on which the call decides, and keep others from changing them.

        ``sql`` names its rows in key order, from one table or joined without ``OUTER``.
        PostgreSQL adds ``FOR NO KEY UPDATE``; SQLite has one writer and adds nothing. Within a
        READ it locks nothing on either.
        """
        ...

    async def lock(self, name: str) -> None:
        """Hold the lock ``name`` until the transaction ends; who else asks for it waits.

        For a decision on rows that may not exist yet, or on how many there are. Several are
        taken in the order of their names. Nothing on SQLite.
        """
        ...

    async def lift_limits(self) -> None:
        """Let this transaction, and its waiting for others, take as long as it takes.

        For the start of a hall, when nobody waits for an answer. Nothing on SQLite.
        """
        ...

    async def find_horizon(self) -> Horizon | None:
        """Return how far the numbers have come; None where they appear in their order.

        On PostgreSQL a transaction may commit after a later one that took higher numbers.
        """
        ...

    async def tell_nodes(self, topic: str, key: str) -> None:
        """Let every node read anew what its Learner of ``topic`` remembers of ``key``.

        It acts when the change is committed; beside ``on_commit``, which changes the memory of
        this node at once. Nothing on SQLite, where there is one node.
        """
        ...

    async def nested(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run ``work`` in a savepoint of its own: if it raises, only it is undone."""
        ...

    def on_commit(self, hook: Callable[[], None]) -> None:
        """Call ``hook`` once the change is durable and before it is acknowledged.

        For what is kept in memory beside the rows. A hook must not raise and must
        not wait. They run in the order of the calls and of their registration. A read that
        starts after a hook has run sees its change. Hooks of work that is rolled back are
        dropped; those of a read are never called.
        """
        ...


class Database(Protocol):
    """Transactions, one per call of ``read`` or ``write``.

    ``work`` may be run more than once, each time on a fresh transaction after the
    one before was rolled back, so it must keep nothing from an earlier run. It may await
    only its transaction; if it suspends on anything else it is rolled back, and
    ``SuspendedError`` (``storage.errors``) names the line.

    A write that was acknowledged is seen by every read that starts afterwards.

    Attributes:
        engine: ``sqlite`` or ``postgres``.
    """

    engine: str

    async def read(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run ``work`` on a snapshot.

        Raises:
            DeadlineExceededError: It took longer than 5 s.
            OverloadedError: Too many long reads wait already.
            StorageUnavailableError: The disk cannot be read.
        """
        ...

    async def write(self, work: Callable[[Transaction], Awaitable[T]], *, lane: str = "") -> T:
        """Run ``work`` and return its result once its changes are durable.

        Args:
            work: See above.
            lane: What it changes, where others are likely to change the same: any text; empty for
                nothing that others change. PostgreSQL runs only a few writes of one lane at once.
                More would wait for each other's locks there, on connections that others could use.

        Raises:
            OverloadedError: Too many calls wait already.
            StorageUnavailableError: The disk is full or cannot be written.
        """
        ...

    async def close(self) -> None:
        """Finish what waits and close; later calls are refused."""
        ...
