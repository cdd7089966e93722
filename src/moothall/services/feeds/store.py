"""Rows of acknowledged cursors."""

from moothall.ports.database import Transaction
from moothall.services.feeds.model import POSITIONS_PER_MEMBER_MAX


async def lock_positions(tx: Transaction, member_id: str) -> None:
    """Keep others from changing a member's positions until the transaction ends."""
    await tx.lock(f"feeds.positions:{member_id}")


async def find_position(tx: Transaction, member_id: str, device: str, feed: str) -> str | None:
    """Return the cursor that a device has acknowledged, or None."""
    row = await tx.fetch_one(
        "SELECT cursor FROM feeds_position WHERE member_id = $1 AND device = $2 AND feed = $3",
        member_id,
        device,
        feed,
    )
    return None if row is None else str(row[0])


async def update_position(
    tx: Transaction, member_id: str, device: str, feed: str, cursor: str, now_ms: int
) -> None:
    """Keep how far a device has read; forget the oldest of a member who has too many."""
    await tx.execute(
        """
        INSERT INTO feeds_position (member_id, device, feed, cursor, acknowledged_at_ms)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (member_id, device, feed)
        DO UPDATE SET cursor = excluded.cursor, acknowledged_at_ms = excluded.acknowledged_at_ms
        """,
        member_id,
        device,
        feed,
        cursor,
        now_ms,
    )
    await tx.execute(
        """
        DELETE FROM feeds_position WHERE member_id = $1 AND (device, feed) IN (
          SELECT device, feed FROM feeds_position WHERE member_id = $1
          ORDER BY acknowledged_at_ms DESC, device, feed LIMIT 1000 OFFSET $2)
        """,
        member_id,
        POSITIONS_PER_MEMBER_MAX,
    )


async def update_epoch(tx: Transaction, before: str, epoch: str) -> None:
    """Write the cursors of one epoch as those of another, in which they mean the same."""
    await tx.execute(
        """
        UPDATE feeds_position SET cursor = $2 || substr(cursor, length($1) + 1)
        WHERE substr(cursor, 1, length($1) + 1) = $1 || '.'
        """,
        before,
        epoch,
    )


async def delete_positions(tx: Transaction, before_ms: int, limit: int) -> int:
    """Forget cursors that were acknowledged before then; return how many."""
    return await tx.execute(
        """
        DELETE FROM feeds_position WHERE (member_id, device, feed) IN (
          SELECT member_id, device, feed FROM feeds_position
          WHERE acknowledged_at_ms < $1 ORDER BY acknowledged_at_ms LIMIT $2)
          AND acknowledged_at_ms < $1 -- or one that is moved at this moment would go
        """,
        before_ms,
        limit,
    )
