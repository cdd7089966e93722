"""What can be followed of the identity room."""

from moothall.action import Context, Signed, feed
from moothall.services.identity.events import REVOCATIONS, STREAM


@feed("identity", access=Signed("sessions:read"))
async def identity(ctx: Context) -> list[str]:  # noqa: ARG001 - one stream for all who may
    """Members who come and go, sessions that end, keys that change; for whoever sees sessions."""
    return [STREAM]


@feed("identity/revocations", access=Signed("revocations:read"))
async def revocations(ctx: Context) -> list[str]:  # noqa: ARG001 - one stream for all servers
    """Sessions that end, members removed or renamed, keys that change; for resource servers."""
    return [REVOCATIONS]
