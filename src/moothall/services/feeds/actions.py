"""Public verbs of the feeds room."""

from typing import Annotated

from msgspec import Meta

from moothall.action import FLOW, Context, PerActor, Request, Signed, action
from moothall.action.connections import Connections
from moothall.action.cursor import (
    CURSOR_LENGTH_MAX,
    Cursors,
    Extent,
    Place,
    find_extent,
    find_now,
    read_cursor,
)
from moothall.action.feed import FEED_NAME_LENGTH_MAX, FeedIndex, OpenFeed
from moothall.action.hub import FeedHub
from moothall.services.feeds import store
from moothall.services.feeds.errors import (
    CursorExpiredError,
    FeedNotFoundError,
    TooManyFeedsError,
)
from moothall.services.feeds.model import Acknowledged, Subscribed, Unsubscribed

NOW = "now"

FeedName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=FEED_NAME_LENGTH_MAX,
        description="Name of a feed, such as board/7.",
    ),
]
Cursor = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=CURSOR_LENGTH_MAX,
        description="A cursor as an event or a subscription gave it.",
    ),
]


class Subscribe(Request):
    """Which feed, and from where on.

    Without ``after`` it begins where this device has acknowledged last, and if it never did, now;
    ``now`` begins now in any case.
    """

    feed: FeedName
    after: Cursor | None = None


class Unsubscribe(Request):
    """Which feed."""

    feed: FeedName


class Acknowledge(Request):
    """How far a feed was read on this device."""

    feed: FeedName
    cursor: Cursor


@action(
    access=Signed("feeds:own"),
    effect=FLOW,
    limit=PerActor(calls=600, window_ms=60_000),
    raises=(FeedNotFoundError, CursorExpiredError, TooManyFeedsError),
    is_activity=False,
    is_audited=False,
)
async def subscribe(ctx: Context, request: Subscribe) -> Subscribed:
    """Follow a feed on this connection: what happened after the cursor, then what happens.

    Events may arrive before this answer. A feed that is followed already begins anew from the
    cursor. Each event has a number in its stream, without gaps. Who comes back with the cursor of
    the last event that came gets no event twice. Only a feed of more than four streams, on
    PostgreSQL, may repeat some; a client drops a (stream, seq) that it has. On server-sent events
    this is ``GET /v1/feeds/<feed>``.

    Raises:
        FeedNotFoundError: not_found. No room has such a feed, or what it is about is not there.
        CursorExpiredError: failed_precondition. Subscribe with ``after`` ``now``, then fetch anew.
        TooManyFeedsError: resource_exhausted. Unsubscribe from one, or open another connection.
    """
    connection = ctx.connection

    async def look(step: Context) -> tuple[OpenFeed, Place]:
        feed = await step.use(FeedIndex).open(step, request.feed)
        if feed is None:
            near = step.use(FeedIndex).near(request.feed)
            told = {"remedy": f"did you mean {', '.join(near)}?"} if near else {}
            raise FeedNotFoundError(f"there is no feed {request.feed!r}", **told)
        return feed, await _find_start(step, request, feed)

    feed, start = await ctx.read(look)
    limit = ctx.use(Connections).bounds.subscriptions_max
    if request.feed not in connection.subscriptions and len(connection.subscriptions) >= limit:
        raise TooManyFeedsError(f"a connection follows at most {limit} feeds")
    ctx.use(FeedHub).subscribe(connection, feed, start, ctx.actor)
    return Subscribed(feed=feed.name, cursor=ctx.use(Cursors).text(start))


@action(
    access=Signed("feeds:own"),
    effect=FLOW,
    limit=PerActor(calls=600, window_ms=60_000),
    raises=(FeedNotFoundError,),
    is_activity=False,
    is_audited=False,
)
async def unsubscribe(ctx: Context, request: Unsubscribe) -> Unsubscribed:
    """Follow a feed no more on this connection; events that are on their way still arrive.

    Raises:
        FeedNotFoundError: not_found. This connection does not follow it.
    """
    subscription = ctx.connection.subscriptions.get(request.feed)
    if subscription is None:
        raise FeedNotFoundError(f"this connection does not follow {request.feed!r}")
    subscription.cancel()
    return Unsubscribed(feed=request.feed)


@action(
    access=Signed("feeds:own"),
    effect=FLOW,
    limit=PerActor(calls=600, window_ms=60_000),
    raises=(CursorExpiredError,),
    is_activity=False,
    is_audited=False,
)
async def acknowledge(ctx: Context, request: Acknowledge) -> Acknowledged:
    """Say how far a feed was read on this device, so that it goes on there next time.

    A device is what the session was opened with as its label; a session without one is a
    device of its own. An older cursor than the last one changes nothing.

    Raises:
        CursorExpiredError: failed_precondition. It is no cursor of this hall, or too old.
    """

    async def keep(step: Context) -> str:
        await store.lock_positions(step.tx, step.actor)
        extent = await find_extent(step.tx)
        place = _read(request.cursor, extent)
        known = await store.find_position(step.tx, step.actor, step.device, request.feed)
        before = None if known is None else read_cursor(known, extent)
        if known is not None and before is not None and not place.is_newer(before):
            return known
        await store.update_position(
            step.tx, step.actor, step.device, request.feed, request.cursor, step.now_ms
        )
        return request.cursor

    cursor = await ctx.write(keep, outcome=None)
    return Acknowledged(feed=request.feed, cursor=cursor)


async def _find_start(step: Context, request: Subscribe, feed: OpenFeed) -> Place:
    """Return the place after which a feed begins."""
    extent = await find_extent(step.tx)
    after = request.after or await store.find_position(
        step.tx, step.actor, step.device, request.feed
    )
    if after is None or after == NOW:
        return await find_now(step.tx, feed.streams, extent)
    return _read(after, extent)


def _read(cursor: str, extent: Extent) -> Place:
    """Return the place of a cursor.

    Raises:
        CursorExpiredError: What lies after it cannot be told any more.
    """
    place = read_cursor(cursor, extent)
    if place is None:
        raise CursorExpiredError(
            "the events after this cursor are not kept any more",
            remedy="subscribe with after 'now', then fetch anew",
        )
    return place
