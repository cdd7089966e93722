"""What can be followed of the access room."""

from moothall.action import Context, Signed, feed
from moothall.services.access.events import STREAM


@feed("access", access=Signed("audit:read"))
async def access(ctx: Context) -> list[str]:  # noqa: ARG001 - one stream for all who may
    """Roles, bindings, teams and bans as they change; for whoever reads the audit trail."""
    return [STREAM]
