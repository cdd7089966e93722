"""Public verbs of the echo room."""

from typing import Any

from moothall.action import PUBLIC, READ, Context, PerSource, Request, Result, action


class RepeatValue(Request):
    """Any value."""

    value: Any


class Echo(Result):
    """The value."""

    value: Any


@action(access=PUBLIC, effect=READ, limit=PerSource(calls=1_000, window_ms=1_000), raises=())
async def repeat_value(_ctx: Context, request: RepeatValue) -> Echo:
    """Say again what the caller said."""
    return Echo(value=request.value)
