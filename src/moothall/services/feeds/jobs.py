"""Housekeeping of the feeds room."""

from moothall.action import Context, job, repeat
from moothall.action.cursor import delete_events
from moothall.core.units import HOUR_MS
from moothall.services.feeds import store
from moothall.services.feeds.model import EventSettings

CHUNK_ROWS = 500
"""Rows that one step deletes, so that no call waits long for the writer."""


@job(every_ms=HOUR_MS)
async def sweep_events(ctx: Context) -> None:
    """Delete events older than ``events.retention_ms``, and cursors nobody has moved since."""
    before_ms = ctx.now_ms - ctx.use(EventSettings).retention_ms
    await repeat(ctx, lambda step: delete_events(step.tx, before_ms, CHUNK_ROWS))
    await repeat(ctx, lambda step: store.delete_positions(step.tx, before_ms, CHUNK_ROWS))
