"""What becomes of the rows when a backup of them was restored.

A room says in ``restore.py`` what must not come back: ``async def after_restore(ctx, restored)``
runs once as a FLOW does, in a hall that is open and has no doors yet. The framework has a part
of its own: the rows begin a new epoch, so that a cursor of before never means other events.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from moothall.action.context import Context
from moothall.ports.database import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a room is told of the restore.

    Attributes:
        backup_id: Of the backup.
        taken_at_ms: When it was taken, in UTC epoch milliseconds.
        epoch_before: In which the cursors of the backup are written.
        epoch: In which cursors are written from now on.
        keeps_sessions: Whether the operator wants members to stay signed in.
    """

    backup_id: str
    taken_at_ms: int
    epoch_before: str
    epoch: str
    keeps_sessions: bool


AfterRestore = Callable[[Context, Restored], Awaitable[None]]


async def renew_epoch(tx: Transaction, epoch: str) -> str:
    """Begin a new epoch, and return the one before.

    What was swept stays swept; numbers go on where the backup ended.
    """
    row = await tx.fetch_one("SELECT epoch FROM action_epoch WHERE id = 1")
    assert row is not None, "the migration made the row"
    await tx.execute("UPDATE action_epoch SET epoch = $1 WHERE id = 1", epoch)
    return str(row[0])
