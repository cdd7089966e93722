"""Housekeeping of the files room: what nobody goes on with, refers to or needs any more."""

from moothall.action import Context, job, repeat
from moothall.core.units import SECOND_MS
from moothall.services.files import store
from moothall.services.files.model import FileSettings

UPLOADS_AT_ONCE = 100
"""Uploads that one step takes away; their bytes follow by themselves."""

CHUNKS_AT_ONCE = 8
"""Rows of 256 KiB that one step deletes (2 MiB), so that no call waits long for the writer."""


@job(every_ms=10 * SECOND_MS)
async def collect_files(ctx: Context) -> None:
    """Take away uploads past ``unfinished_kept_ms`` or ``unheld_kept_ms``, then their bytes."""
    settings = ctx.use(FileSettings)

    async def expire(step: Context) -> int:
        expired = await store.list_expired(
            step.tx,
            unfinished_before_ms=step.now_ms - settings.unfinished_kept_ms,
            unheld_before_ms=step.now_ms - settings.unheld_kept_ms,
            limit=UPLOADS_AT_ONCE,
        )
        for upload in expired:
            await store.delete_upload(step.tx, upload)
        return len(expired)

    async def sweep(step: Context) -> int:
        return await store.delete_garbage(step.tx, CHUNKS_AT_ONCE)

    await repeat(ctx, expire)
    await repeat(ctx, sweep)
