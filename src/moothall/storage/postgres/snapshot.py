"""A READ's view: it begins a transaction only where it needs one.

A statement alone sees one state of the data by itself; around it, BEGIN and ROLLBACK would be two
of three round trips. Which statements are alone is learned, by their text: a read begins with a
transaction unless the same first statement was mostly the only one lately. Where a second one
follows all the same, the transaction is begun then, and the first one asked again in it: if the
answer is the same, both belong to one state; if not, the read is run again, in a transaction from
the beginning.
"""

from collections.abc import Callable
from typing import Any

import asyncpg

from moothall.ports.database import Horizon
from moothall.storage.postgres.transaction import PostgresTransaction

TEXTS_MAX = 1_000
CREDIT_MAX = 8
BEGIN_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

First = tuple[Callable[..., Any], tuple[Any, ...], Any]
"""A statement that was asked outside a transaction, and its answer."""


class Experience:
    """How often first statements of reads were the only ones. Shared by all reads of a node."""

    def __init__(self) -> None:
        """Begin without any; every read has a transaction then."""
        self._credit: dict[str, int] = {}

    def expects_no_other(self, sql: str) -> bool:
        """Tell whether this statement was the only one of most reads lately."""
        return self._credit.get(sql, 0) > 0

    def learn(self, sql: str, *, is_alone: bool) -> None:
        """Remember how a read went that began with this statement.

        Being wrong costs one or two round trips, either way. So no single read, as of a thing
        that is not there, decides for the others.
        """
        if len(self._credit) >= TEXTS_MAX and sql not in self._credit:
            self._credit.clear()
        credit = self._credit.get(sql, 0) + (1 if is_alone else -1)
        self._credit[sql] = max(-CREDIT_MAX, min(credit, CREDIT_MAX))


class Snapshot(PostgresTransaction):
    """Implements ``ports.database.Transaction`` for a read, on a connection that only reads.

    Attributes:
        has_begun: Whether there is a transaction to end.
    """

    __slots__ = ("_asked", "_experience", "_first", "_first_sql", "_is_second_run", "has_begun")

    def __init__(
        self, connection: Any, seconds: float, experience: Experience, *, is_second_run: bool
    ) -> None:
        """Read on ``connection``, which is in no transaction."""
        super().__init__(connection, seconds)
        self._is_second_run = is_second_run
        self._experience = experience
        self._first: First | None = None
        self._first_sql = ""
        self._asked = 0
        self.has_begun = False

    async def find_horizon(self) -> Horizon:
        """Return how far the numbers have come: of no state of the data, so without beginning."""
        return await self._find_horizon(super()._wait)

    def end(self) -> None:
        """Remember how it went, and refuse what is still asked."""
        if self._asked:
            self._experience.learn(self._first_sql, is_alone=self._asked == 1)
        super().end()

    async def _wait(self, method: Callable[..., Any], *arguments: Any) -> Any:
        self._asked += 1
        if self._asked == 1:
            self._first_sql = arguments[0]
            if not self._is_second_run and self._experience.expects_no_other(self._first_sql):
                answer = await super()._wait(method, *arguments)
                self._first = method, arguments, answer
                return answer
        if not self.has_begun:
            await self._begin()
        return await super()._wait(method, *arguments)

    async def _begin(self) -> None:
        """Begin the transaction, of which the first statement must have been a part."""
        self.has_begun = True
        await super()._wait(self._connection.execute, BEGIN_READ)
        if self._first is not None:
            method, arguments, answer = self._first
            if await super()._wait(method, *arguments) != answer:
                raise asyncpg.SerializationError("the data changed between two statements")
