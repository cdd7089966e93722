"""Housekeeping of the feeds room."""

from collections.abc import Awaitable, Callable

from moothall.action import Context, job
from moothall.core.units import HOUR_MS
from moothall.services.feeds import store
from moothall.services.feeds.model import EventSettings

CHUNK_ROWS = 500
"""Rows that one step deletes, so that no call waits long for the writer."""


@job(every_ms=HOUR_MS)
async def sweep_events(ctx: Context) -> None:
    """Delete events older than ``events.retention_ms``, and cursors nobody has moved since."""
    before_ms = ctx.now_ms - ctx.use(EventSettings).retention_ms
    sweeps: tuple[Callable[[Context], Awaitable[int]], ...] = (
        lambda step: store.delete_events(step.tx, before_ms, CHUNK_ROWS),
        lambda step: store.delete_positions(step.tx, before_ms, CHUNK_ROWS),
    )
    for sweep in sweeps:
        while await ctx.write(sweep, outcome=None) == CHUNK_ROWS:
            pass  # each step is a transaction of its own, so calls pass between two
