"""Whether the hall is there."""

from typing import Literal

from moothall.action import PUBLIC, READ, Context, PerSource, Request, Result, action


class Ping(Request):
    """Asks for nothing."""


class Pong(Result):
    """The hall is there and can read its data."""

    answer: Literal["pong"]
    now_ms: int


@action(
    access=PUBLIC,
    effect=READ,
    limit=PerSource(calls=1_000, window_ms=1_000),
    raises=(),
    is_activity=False,
)
async def ping(ctx: Context, request: Ping) -> Pong:  # noqa: ARG001 - asks for nothing
    """Answer ``pong``, and the time of the hall (UTC epoch milliseconds)."""
    return Pong(answer="pong", now_ms=ctx.now_ms)
