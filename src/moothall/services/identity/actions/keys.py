"""Changing the keys that sign tokens, with overlap, so that nobody notices; or at once."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from moothall.action import (
    READ,
    WRITE,
    Context,
    Id,
    PerActor,
    Request,
    Result,
    Signed,
    action,
    next_cursor,
)
from moothall.core.units import SAFE_INTEGER_MAX
from moothall.services.identity.adapters.keys import SealedKeyRing
from moothall.services.identity.errors import (
    KeyNotFoundError,
    RotationPendingError,
    TooManyKeysError,
)
from moothall.services.identity.events import KeyMade, KeyRetired, tell_servers
from moothall.services.identity.model import KeySettings, KeyState, KeyView, SigningKey
from moothall.services.identity.rules.keys import (
    is_rotation_pending,
    read_cursor,
    show_cursor,
    show_key,
)
from moothall.services.identity.store import keys

LAST = (SAFE_INTEGER_MAX, 0, "")
"""A turn after that of every key."""


class ListKeys(Request):
    """A page of keys; ``after`` is the ``next`` of the page before."""

    after: Annotated[str, Meta(max_length=128)] = ""
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class KeyPage(Result):
    """A page of keys, newest first; ``next`` is None on the last one."""

    keys: list[KeyView]
    next: str | None


class RotateKeys(Request):
    """``now`` for an emergency: the new key signs at once, before others have fetched it."""

    now: bool = False


class RetireKey(Request):
    """The key that shall verify nothing any more."""

    kid: Id


@action(
    access=Signed("keys:rotate"),
    effect=READ,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(),
)
async def list_keys(ctx: Context, request: ListKeys) -> KeyPage:
    """List the signing keys, newest first, by pages; private parts are never shown."""
    published = await keys.list_published(ctx.tx)
    before = read_cursor(request.after) if request.after else LAST
    found = await keys.list_keys(ctx.tx, before, request.limit)
    return KeyPage(
        keys=[show_key(key, published, ctx.now_ms) for key in found],
        next=next_cursor(found, request.limit, show_cursor),
    )


@action(
    access=Signed("keys:rotate"),
    effect=WRITE,
    limit=PerActor(calls=5, window_ms=1_000),
    raises=(RotationPendingError, TooManyKeysError),
    command="key rotate",
)
async def rotate_keys(ctx: Context, request: RotateKeys) -> KeyView:
    """Make the next signing key; the hall does it by itself every 90 days.

    It is published at once and signs after ``keys.publish_ahead_ms``, so that resource
    servers have fetched it by then. What older keys signed stays valid until it expires.

    Args:
        request.now: It signs at once; where the hall has several nodes, after 3 s, when all of
            them know it. Resource servers refuse its tokens until they have fetched it.

    Raises:
        RotationPendingError: failed_precondition. The next key waits for its time already.
        TooManyKeysError: resource_exhausted. ``keys.keys_max`` keys are published.

    Emits:
        KeyMade: once.
    """
    settings = ctx.use(KeySettings)
    published = await keys.list_published_to_change(ctx.tx)
    if not request.now and is_rotation_pending(published, ctx.now_ms):
        raise RotationPendingError(
            kid=published[-1].kid,
            begins_at_ms=published[-1].begins_at_ms,
            remedy="wait until it signs, or rotate with now=true",
        )
    if len(published) >= settings.keys_max:
        raise TooManyKeysError(keys_max=settings.keys_max, remedy="see identity.list_keys")
    made = await make_key(ctx, published, 0 if request.now else settings.publish_ahead_ms)
    return show_key(made, sorted([*published, made], key=lambda key: key.turn), ctx.now_ms)


@action(
    access=Signed("keys:rotate"),
    effect=WRITE,
    limit=PerActor(calls=5, window_ms=1_000),
    raises=(KeyNotFoundError,),
)
async def retire_key(ctx: Context, request: RetireKey) -> KeyView:
    """Let a signing key verify nothing from the next call on; for one that is compromised.

    Whoever holds a token that it signed renews it. If it is the one that signs, a new one
    takes its place at once. Its private part is destroyed.

    Raises:
        KeyNotFoundError: not_found. There is none of this id, or it is retired already.

    Emits:
        KeyRetired: once.
        KeyMade: if it was the one that signs.
    """
    published = await keys.list_published_to_change(ctx.tx)
    found = next((key for key in published if key.kid == request.kid), None)
    if found is None or not await end_key(ctx, found):
        raise KeyNotFoundError(kid=request.kid, remedy="see identity.list_keys")
    if show_key(found, published, ctx.now_ms).state is KeyState.CURRENT:
        # At once even where other nodes do not know it yet: there may be no key that could sign
        # meanwhile. A token that is refused for it is renewed.
        await make_key(ctx, published, 0, is_urgent=True)
    return KeyView(
        kid=found.kid,
        state=KeyState.RETIRED,
        created_at_ms=found.created_at_ms,
        begins_at_ms=found.begins_at_ms,
        retires_at_ms=ctx.now_ms,
    )


async def make_key(
    ctx: Context, published: Sequence[SigningKey], ahead_ms: int, *, is_urgent: bool = False
) -> SigningKey:
    """Make and publish a key that signs after ``ahead_ms``, after those published.

    Where there are several nodes it signs no sooner than all of them know it, unless that is
    urgent.

    Emits:
        KeyMade: once.
    """
    ring = ctx.use(SealedKeyRing)
    begins_at_ms = ctx.now_ms + (ahead_ms if is_urgent else max(ahead_ms, ring.known_after_ms))
    # Later than all others, so that of two keys of one moment the newer one signs.
    created_at_ms = max(ctx.now_ms, *(key.created_at_ms + 1 for key in published))
    key, sealed = ring.make(begins_at_ms, created_at_ms)
    await ring.publish(ctx.tx, key, sealed)
    tell_servers(ctx, KeyMade(kid=key.kid, begins_at_ms=begins_at_ms))
    return key


async def end_key(ctx: Context, key: SigningKey) -> bool:
    """Retire a key as soon as that is durable; False if it was already.

    Emits:
        KeyRetired: once.
    """
    if not await ctx.use(SealedKeyRing).retire(ctx.tx, key.kid, ctx.now_ms):
        return False
    tell_servers(ctx, KeyRetired(kid=key.kid))
    return True
