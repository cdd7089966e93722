"""Carries an import plan out: boards first, then entries in chunks.

The hall reports the rows that it leaves out. Where it refuses a whole chunk because of one
entry, that row is set aside and the rest is sent again. What concerns more than a row (not
signed in, no hall) ends the import; repeating the command then goes on where it stopped,
because each chunk has a key of its own.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moothall.client.cli.plan import BoardPlan, Chunk, Plan, Refused, chunks_of, make_key
from moothall.client.errors import CallError, ClientError
from moothall.core.codes import Code

if TYPE_CHECKING:
    from moothall.client.hall import Hall

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


@dataclass(slots=True)
class Outcome:
    """What was done.

    Attributes:
        imported: Number of entries by board.
        created: Boards that were made.
        refused: Rows set aside.
        stopped_by: The error that ended the import early.
    """

    imported: dict[str, int] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    stopped_by: ClientError | None = None


async def upload(
    hall: "Hall",
    plan: Plan,
    *,
    file_hash: str,
    new_board: Mapping[str, Any] | None,
    progress: Progress,
) -> Outcome:
    """Send all boards and entries of a plan.

    Args:
        hall: Where to.
        plan: What.
        file_hash: Names the file in the idempotency keys.
        new_board: Fields for boards that are missing; None makes none.
        progress: Told how many more rows are dealt with.
    """
    outcome = Outcome(refused=list(plan.refused))
    progress(len(plan.refused))
    try:
        for board in plan.boards:
            await _send_board(hall, board, outcome, file_hash, new_board, progress)
    except ClientError as error:
        outcome.stopped_by = error
    return outcome


async def _send_board(
    hall: "Hall",
    board: BoardPlan,
    outcome: Outcome,
    file_hash: str,
    new_board: Mapping[str, Any] | None,
    progress: Progress,
) -> None:
    if new_board is not None:
        try:
            await _create(hall, board, outcome, new_board)
        except CallError as error:
            _set_aside(board.lines, board, outcome, error)
            progress(len(board.lines))
            return
    for chunk in chunks_of(board):
        await _send_chunk(hall, chunk, outcome, file_hash)
        progress(len(chunk.lines))


async def _create(
    hall: "Hall", board: BoardPlan, outcome: Outcome, new_board: Mapping[str, Any]
) -> None:
    request = {**new_board, "name": board.name, "board_id": board.board_id}
    try:
        await hall.call("leaderboards.create_board", request)
        outcome.created.append(board.board_id)
    except CallError as error:
        if error.error_code != Code.ALREADY_EXISTS:
            raise


async def _send_chunk(hall: "Hall", chunk: Chunk, outcome: Outcome, file_hash: str) -> None:
    lines, entries = list(chunk.lines), list(chunk.entries)
    while entries:
        try:
            report = await hall.call(
                "leaderboards.import_entries",
                {"board_id": chunk.board.board_id, "entries": entries},
                idempotency_key=make_key(file_hash, chunk, entries),
            )
        except CallError as error:
            at = _refused_entry(error, len(entries))
            if at is None:
                _set_aside(lines, chunk.board, outcome, error)
                return
            reason = _reason(error)
            outcome.refused.append(Refused(lines[at], reason, chunk.board.board_id))
            del lines[at], entries[at]
            continue
        board_id = chunk.board.board_id
        left_out = list(_left_out(report, lines, board_id))
        outcome.refused.extend(left_out)
        done = outcome.imported.get(board_id, 0)
        outcome.imported[board_id] = done + len(entries) - len(left_out)
        return


def _left_out(report: Any, lines: Sequence[int], board_id: str) -> Iterator[Refused]:
    """Return the rows that the hall's report names, by their lines in the file."""
    rows = report.get("refused") if isinstance(report, Mapping) else None
    for one in rows if isinstance(rows, list) else ():
        match one:
            case {"row": int() as at, "reason": str() as reason} if 0 <= at < len(lines):
                field = one.get("field")
                where = f"{field}: " if isinstance(field, str) and field else ""
                yield Refused(lines[at], where + reason, board_id)


def _set_aside(lines: Sequence[int], board: BoardPlan, outcome: Outcome, error: CallError) -> None:
    """Note rows that are refused together, unless the error concerns all that follow."""
    if error.error_code in _ENDS_ALL:
        raise error
    outcome.refused.extend(Refused(line, _reason(error), board.board_id) for line in lines)


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
    return f"{where}{error}"
