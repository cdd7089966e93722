"""Where devices stand after a backup was restored."""

from moothall.action import Context, Restored
from moothall.services.feeds import store


async def after_restore(ctx: Context, restored: Restored) -> None:
    """Take the acknowledged cursors of the backup over into the new epoch.

    They lie before it, so they mean the same events. Cursors that clients keep may lie behind
    it; those are refused, because their epoch is over.
    """
    await ctx.write(
        lambda step: store.update_epoch(step.tx, restored.epoch_before, restored.epoch),
        outcome=None,
    )
