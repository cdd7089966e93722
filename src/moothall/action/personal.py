"""What is held of one member: the tools of a room's ``personal.py``, and the framework's share.

A room says once which of its tables hold what of a member (:class:`Holding`); the statements
that export and erase are made of that, so that they cannot part ways. What a room cannot say
so it does by hand.

Whoever adds a table with a member's id to a room: add a holding to its ``personal.py``.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from moothall.action.model import Result
from moothall.action.service import Personal
from moothall.core.errors import InvalidArgumentError

if TYPE_CHECKING:
    from moothall.action.context import Context

ERASED_ROWS_MAX = 500
"""Rows that one step erases, so that neighbours need not wait long."""

Fate = Literal["erase", "keep"]
EraseRows = Callable[["Context", str], Awaitable[bool]]

_AS = " AS "


class PersonalRow(Result):
    """One thing that a room holds of a member."""

    kind: str
    """What it is: ``session``, ``entry``."""
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Rows of one table that belong to a member.

    Attributes:
        kind: What one row is, in the export.
        table: Where they stand.
        owner: Column with the member's id; an index begins with it, or ``where`` says how
            the rows are found.
        key: Columns of the primary key, for paging.
        columns: What is exported, each a column or ``expression AS name``. Secrets are never
            among them.
        fate: Whether the rows go with the member, or stay under the id because others rely
            on them.
        blanks: Columns of rows that stay which are emptied all the same.
        where: Which rows, with the member's id as ``$1``; by default those of ``owner``.
    """

    kind: str
    table: str
    owner: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    fate: Fate
    blanks: tuple[str, ...] = ()
    where: str = ""
    _first: str = field(init=False)
    _after: str = field(init=False)
    _erase: str | None = field(init=False)

    def __post_init__(self) -> None:
        """Make the statements."""
        where = self.where or f"{self.owner} = $1"
        key = ", ".join(self.key)
        marks = ", ".join(f"${number}" for number in range(3, 3 + len(self.key)))
        columns = ", ".join((*self.key, *self.columns))
        found = f"SELECT {columns} FROM {self.table} WHERE {where}"
        order = f"ORDER BY {key} LIMIT $2"
        some = f"({key}) IN (SELECT {key} FROM {self.table} WHERE {where}"
        erase = None
        if self.fate == "erase":
            erase = f"DELETE FROM {self.table} WHERE {some} LIMIT $2)"
        elif self.blanks:
            changes = ", ".join(f"{column} = ''" for column in self.blanks)
            full = " OR ".join(f"{column} <> ''" for column in self.blanks)
            erase = f"UPDATE {self.table} SET {changes} WHERE {some} AND ({full}) LIMIT $2)"
        put = object.__setattr__
        put(self, "_first", f"{found} {order}")
        put(self, "_after", f"{found} AND ({key}) > ({marks}) {order}")
        put(self, "_erase", erase)

    async def list_rows(
        self, ctx: "Context", member_id: str, after: Sequence[object], limit: int
    ) -> tuple[list[PersonalRow], Sequence[object]]:
        """Return at most ``limit`` rows after the key ``after``, and the key of the last one."""
        sql = self._after if after else self._first
        rows = await ctx.tx.fetch_all(sql, member_id, limit, *after)
        names = [column.rpartition(_AS)[2] for column in self.columns]
        width = len(self.key)
        found = [
            PersonalRow(kind=self.kind, data=dict(zip(names, row[width:], strict=True)))
            for row in rows
        ]
        return found, rows[-1][:width] if rows else ()

    async def erase_rows(self, ctx: "Context", member_id: str) -> int:
        """Erase or empty at most 500 rows and return how many; 0 when nothing is left to do."""
        if self._erase is None:
            return 0
        return await ctx.tx.execute(self._erase, member_id, ERASED_ROWS_MAX)


async def export_holdings(
    ctx: "Context", holdings: Sequence[Holding], member_id: str, after: str, limit: int
) -> tuple[list[PersonalRow], str | None]:
    """Return a page of all ``holdings``, one after the other; the body of an ``export_rows``.

    Raises:
        InvalidArgumentError: ``after`` is not a cursor that a page before gave.
    """
    index, key = _read_cursor(holdings, after)
    found: list[PersonalRow] = []
    for holding in holdings[index:]:
        rows, last = await holding.list_rows(ctx, member_id, key, limit - len(found))
        found += rows
        if len(found) == limit:
            return found, f"{holding.kind} {msgspec.json.encode(last).decode()}"
        key = ()
    return found, None


async def erase_holdings(ctx: "Context", holdings: Sequence[Holding], member_id: str) -> bool:
    """Take one step of erasing ``holdings`` in their order; True when nothing is left to do."""
    for holding in holdings:
        if await holding.erase_rows(ctx, member_id):
            return False
    return True


async def erase_member(ctx: "Context", member_id: str, steps_max: int) -> bool:
    """Let each room erase what may go of a removed member; True when nothing is left.

    Args:
        ctx: Of a FLOW or a job.
        member_id: A tombstone.
        steps_max: Stop after so many steps that found something.
    """
    for personal in ctx.personal_rooms().values():
        erase_rows = personal.erase_rows

        async def work(step: "Context", erase_rows: "EraseRows" = erase_rows) -> bool:
            return await erase_rows(step, member_id)

        while not await ctx.write(work, outcome=None):
            steps_max -= 1
            if not steps_max:
                return False
    return True


def _read_cursor(holdings: Sequence[Holding], after: str) -> tuple[int, tuple[object, ...]]:
    """Return which holding a page goes on with, and the key that was last."""
    if not after:
        return 0, ()
    kind, _, text = after.partition(" ")
    for index, holding in enumerate(holdings):
        if holding.kind == kind:
            try:
                key = msgspec.json.decode(text, type=tuple[str | int | float, ...])
            except msgspec.DecodeError:
                break
            if len(key) == len(holding.key):
                return index, key
    raise InvalidArgumentError("after", "this is no cursor", "give `next` of the page before")


# --- The framework's own table --------------------------------------------------------------------

# Replies are kept by day, and there is no index on the actor: it goes from day to day.
_DAYS = """
  day IN (
    WITH RECURSIVE known (day) AS (
      SELECT min(day) FROM action_reply
      UNION ALL
      SELECT (SELECT min(r.day) FROM action_reply AS r WHERE r.day > known.day) FROM known
      WHERE known.day IS NOT NULL
    )
    SELECT day FROM known WHERE day IS NOT NULL
  ) AND actor = $1
"""

_HOLDINGS = (
    Holding(
        kind="remembered_reply",
        table="action_reply",
        owner="actor",
        key=("day", "actor", "action", "key"),
        columns=("day", "action", "key"),
        fate="erase",
        where=_DAYS,
    ),
)


async def _export_rows(
    ctx: "Context", member_id: str, after: str, limit: int
) -> tuple[list[PersonalRow], str | None]:
    """Export which replies are remembered; what they say stands in the rooms' own rows."""
    return await export_holdings(ctx, _HOLDINGS, member_id, after, limit)


async def _erase_rows(ctx: "Context", member_id: str) -> bool:
    """Forget the member's remembered replies."""
    return await erase_holdings(ctx, _HOLDINGS, member_id)


FRAMEWORK_PERSONAL = Personal(_export_rows, _erase_rows)
"""What the framework itself holds of a member, exported under the name ``action``."""
