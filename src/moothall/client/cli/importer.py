"""Carries an import out: boards when they are first met, entries in chunks, several at a time.

The file is read part by part; while one part is sent, the next is read. The order in which
chunks arrive does not matter: what a row becomes depends on nothing but the row. So a lost
answer, a break, or a second run change nothing either: the hall knows the rows it has.

The hall reports the rows that it leaves out. Where it refuses a whole chunk because of one
entry, that row is set aside and the rest is sent again. What concerns more than a row (not
signed in, no hall) ends the import.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from moothall.client.cli.plan import (
    STRIPE_BYTES,
    STRIPE_ROWS,
    BoardPlan,
    Chunk,
    Outcome,
    Planned,
    Planner,
    Refused,
)
from moothall.client.cli.rows import Row
from moothall.client.errors import CallError, ClientError
from moothall.core.codes import Code

if TYPE_CHECKING:
    from moothall.client.hall import Hall

IN_FLIGHT = 3
"""Chunks under way: one that the hall works on, one that arrives, one that is answered."""

_TURN_ROWS = 250
"""Rows that are read before answers are looked at."""

_ENTRY_FIELD = re.compile(r"entries\[(\d+)\]\.?(?P<rest>.*)", re.DOTALL)
_ENDS_ALL = frozenset(
    {
        Code.UNAUTHENTICATED,
        Code.PERMISSION_DENIED,
        Code.RESOURCE_EXHAUSTED,
        Code.DEADLINE_EXCEEDED,
        Code.UNAVAILABLE,
        Code.UNIMPLEMENTED,
        Code.INTERNAL,
    }
)
"""After these another chunk would fare no better."""

Progress = Callable[[int], None]


class Importer:
    """One import.

    Args:
        hall: Where to.
        planner: Makes entries of rows.
        new_board: Fields for boards that are missing; None makes none.
        season: In which entries count; None for the current one.
        progress: Told how many more rows are dealt with.

    Attributes:
        outcome: What is done so far, also if it ends early.
    """

    def __init__(
        self,
        hall: "Hall",
        planner: Planner,
        *,
        new_board: Mapping[str, Any] | None,
        progress: Progress,
        season: int | None = None,
    ) -> None:
        self.outcome = Outcome()
        self._hall = hall
        self._planner = planner
        self._new_board = new_board
        self._season = season
        self._progress = progress
        self._boards: dict[str, asyncio.Task[CallError | None]] = {}
        self._error: ClientError | None = None

    async def run(self, rows: Iterator[Row]) -> None:
        """Send all rows.

        Raises:
            ClientError: What ended it early.
            ValueError: The file is no table.
        """
        stripe = await self._read(rows)
        while stripe:
            chunks = deque(self._planner.cut(stripe))
            del stripe
            reading = asyncio.create_task(self._read(rows))
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(IN_FLIGHT):
                        group.create_task(self._send_all(chunks))
                if self._error is not None:
                    raise self._error
                stripe = await reading
            finally:
                reading.cancel()

    async def preview(self, rows: Iterator[Row]) -> None:
        """Look at all rows and ask which boards there are; change nothing.

        Raises:
            ClientError: The hall does not tell.
            ValueError: The file is no table.
        """
        while await self._read(rows):
            pass
        for board in self._planner.boards.values():
            if not await self._is_there(board):
                self.outcome.created.append(board.board_id)

    async def _read(self, rows: Iterator[Row]) -> list[Planned]:
        """Return the next part of the file, and note the rows that cannot be used."""
        stripe: list[Planned] = []
        size = 0
        while len(stripe) < STRIPE_ROWS and size < STRIPE_BYTES and self._error is None:
            turn = list(islice(rows, _TURN_ROWS))
            if not turn:
                break
            for row in turn:
                try:
                    planned = self._planner.take(row)
                except ValueError as error:
                    self.outcome.refused.append(Refused(row.line, str(error)))
                    self._progress(1)
                else:
                    stripe.append(planned)
                    size += len(planned.body)
            await asyncio.sleep(0)
        return stripe

    async def _send_all(self, chunks: deque[Chunk]) -> None:
        """Send one chunk after the other, until none is left or something ended the import."""
        while chunks and self._error is None:
            chunk = chunks.popleft()
            try:
                refusal = await self._open(chunk.board)
                if refusal is None:
                    await self._send(chunk)
                else:
                    self._set_aside(chunk.lines, chunk.board, refusal)
            except ClientError as error:
                self._stop(error)
            else:
                self._progress(len(chunk.lines))

    def _stop(self, error: ClientError) -> None:
        """End the import; the first error is the one that is told."""
        if self._error is None:
            self._error = error

    async def _open(self, board: BoardPlan) -> CallError | None:
        """Make a board if it is missing; return why it could not be made."""
        if self._new_board is None:
            return None
        making = self._boards.get(board.board_id)
        if making is None:
            making = asyncio.create_task(self._create(board, self._new_board))
            self._boards[board.board_id] = making
        return await asyncio.shield(making)

    async def _create(self, board: BoardPlan, fields: Mapping[str, Any]) -> CallError | None:
        request = {**fields, "name": board.name, "board_id": board.board_id}
        try:
            await self._hall.call("leaderboards.create_board", request)
        except CallError as error:
            return None if error.error_code == Code.ALREADY_EXISTS else error
        self.outcome.created.append(board.board_id)
        return None

    async def _is_there(self, board: BoardPlan) -> bool:
        try:
            await self._hall.call("leaderboards.get_board", {"board_id": board.board_id})
        except CallError as error:
            if error.error_code != Code.NOT_FOUND:
                raise
            return False
        return True

    async def _send(self, chunk: Chunk) -> None:
        """Send a chunk, without the rows that the hall cannot read."""
        lines, bodies = list(chunk.lines), list(chunk.bodies)
        board_id = chunk.board.board_id
        request: dict[str, Any] = {"board_id": board_id}
        if self._season is not None:
            request["season"] = self._season
        while bodies:
            request["entries"] = msgspec.Raw(b"[" + b",".join(bodies) + b"]")
            try:
                report = await self._hall.call("leaderboards.import_entries", request)
            except CallError as error:
                at = _refused_entry(error, len(bodies))
                if at is None:
                    self._set_aside(lines, chunk.board, error)
                    return
                self.outcome.refused.append(Refused(lines[at], _reason(error), board_id))
                del lines[at], bodies[at]
                continue
            self._count(report, lines, board_id)
            return

    def _count(self, report: Any, lines: list[int], board_id: str) -> None:
        """Note what the hall reports of a chunk."""
        left_out = list(_left_out(report, lines, board_id))
        known = report.get("known", 0) if isinstance(report, Mapping) else 0
        outcome = self.outcome
        outcome.refused.extend(left_out)
        outcome.known[board_id] = outcome.known.get(board_id, 0) + known
        done = len(lines) - len(left_out) - known
        outcome.imported[board_id] = outcome.imported.get(board_id, 0) + done

    def _set_aside(self, lines: Sequence[int], board: BoardPlan, error: CallError) -> None:
        """Note rows that are refused together, unless the error concerns all that follow."""
        if error.error_code in _ENDS_ALL:
            raise error
        reason = _reason(error)
        self.outcome.refused.extend(Refused(line, reason, board.board_id) for line in lines)


def _left_out(report: Any, lines: list[int], board_id: str) -> Iterator[Refused]:
    """Return the rows that the hall's report names, by their lines in the file."""
    rows = report.get("refused") if isinstance(report, Mapping) else None
    for one in rows if isinstance(rows, list) else ():
        match one:
            case {"row": int() as at, "reason": str() as reason} if 0 <= at < len(lines):
                field = one.get("field")
                where = f"{field}: " if isinstance(field, str) and field else ""
                yield Refused(lines[at], where + reason, board_id)


def _refused_entry(error: CallError, count: int) -> int | None:
    """Return which entry of a call was refused, if the error names one."""
    name = error.details.get("field")
    found = _ENTRY_FIELD.match(name) if isinstance(name, str) else None
    if found is None or int(found[1]) >= count:
        return None
    return int(found[1])


def _reason(error: CallError) -> str:
    name = error.details.get("field")
    found = _ENTRY_FIELD.match(name) if isinstance(name, str) else None
    where = f"{found['rest']}: " if found and found["rest"] else ""
    return f"{where}{error.reason}"
