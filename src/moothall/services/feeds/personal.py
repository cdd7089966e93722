"""What the feeds room holds of a member: how far their devices have read."""

from moothall.action import Context
from moothall.action.personal import Holding, PersonalRow, erase_holdings, export_holdings

_HOLDINGS = (
    Holding(
        kind="position",
        table="feeds_position",
        owner="member_id",
        key=("device", "feed"),
        columns=("device", "feed", "cursor", "acknowledged_at_ms"),
        fate="erase",
    ),
)


async def export_rows(
    ctx: Context, member_id: str, after: str, limit: int
) -> tuple[list[PersonalRow], str | None]:
    """Export how far each device has read each feed."""
    return await export_holdings(ctx, _HOLDINGS, member_id, after, limit)


async def erase_rows(ctx: Context, member_id: str) -> bool:
    """Forget it."""
    return await erase_holdings(ctx, _HOLDINGS, member_id)
