"""What a resource server does with what its issuer tells (decision 0010).

Each event is written together with the cursor of the feed, so that a restart goes on where it
stopped. No action stands here: the jobs ``follow_issuer`` and ``fetch_issuer_keys`` call it.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import msgspec
import structlog

from moothall.action import Context
from moothall.action.personal import erase_member
from moothall.core.errors import ActionError
from moothall.ports.issuer import CursorLostError, Issuer, IssuerEvent
from moothall.services.identity.adapters.follower import (
    ENDED_KEPT_MS,
    FollowedKeys,
    FollowedMembers,
    FollowedSessions,
    read_keys,
    show_keys,
)
from moothall.services.identity.store import following, removal

NAMES_AT_ONCE = 500
"""Members whose names one question asks for."""

STEPS_AT_ONCE = 20
"""Steps of erasing a member, of at most 500 rows each, before the next event is taken."""

Leave = Callable[[Context, str], Awaitable[str | None]]

_log = structlog.get_logger("moothall.identity")


class _NeededError(Exception):
    """A room would rather keep a member; says why."""


class _Session(msgspec.Struct, frozen=True):
    """What is read of ``identity.session_ended``."""

    session_id: str
    reason: str = ""


class _Member(msgspec.Struct, frozen=True):
    """What is read of ``identity.member_removed`` and ``identity.member_renamed``."""

    member_id: str


class _Key(msgspec.Struct, frozen=True):
    """What is read of ``identity.key_retired``."""

    kid: str


async def fetch_keys(ctx: Context) -> None:
    """Fetch the issuer's keys, write them down and verify with them.

    A hall of another name at the issuer's address is not believed: its keys are left alone.

    Raises:
        IssuerUnavailableError: It did not answer, or what it answers is not understood.
        IssuerUntrustedError: Somebody else answers at the address.
    """
    ring = ctx.use(FollowedKeys)
    fetched = await ctx.use(Issuer).fetch_keys()
    keys = read_keys(fetched.jwks)

    async def take(step: Context) -> bool:
        row = await following.find_issuer(step.tx)
        if row is None or row.issuer != fetched.issuer:
            return False
        await following.update_keys(step.tx, show_keys(ring.without_retired(keys)), step.now_ms)
        step.tx.on_commit(lambda: ring.take(keys))
        return True

    if not await ctx.write(take, outcome=None):
        _log.error(
            "the issuer has another name than before: its keys are not taken",
            url=ctx.use(Issuer).url,
            issuer=fetched.issuer,
        )


async def follow(ctx: Context, on_open: Callable[[], None]) -> None:
    """Take what the issuer tells, event by event, until it tells nothing more.

    Args:
        ctx: Of a job.
        on_open: Called when the issuer lets itself be followed.

    Raises:
        IssuerUnavailableError: The connection broke and cannot be had again.
        IssuerUntrustedError: Somebody else answers at the address.
        IssuerRefusedError: The key of this resource server is not registered there.
    """
    issuer = ctx.use(Issuer)
    row = await ctx.read(lambda step: following.find_issuer(step.tx))
    after = None if row is None else row.cursor
    try:
        async with issuer.follow(after) as feed:
            on_open()
            _log.info("following the issuer", url=issuer.url)
            if after is None:
                # After the feed was opened, so that nothing falls between the two.
                await _compare_all(ctx)
                cursor = feed.cursor
                await ctx.write(lambda step: following.update_cursor(step.tx, cursor), outcome=None)
            async for event in feed:
                await take_event(ctx, event)
    except CursorLostError:
        _log.warning("what the issuer told meanwhile is lost: asking for all names and keys anew")
        # A restored issuer has new keys, and let no token of before be good.
        ctx.use(FollowedKeys).want()
        await ctx.write(lambda step: following.update_cursor(step.tx, None), outcome=None)


async def take_event(ctx: Context, event: IssuerEvent) -> None:
    """Take one event, and write down how far the feed was read."""
    ring = ctx.use(FollowedKeys)
    match event.kind:
        case "identity.session_ended":
            await _end_session(ctx, event, msgspec.convert(event.data, _Session))
        case "identity.member_removed":
            await _remove(ctx, msgspec.convert(event.data, _Member).member_id, event.cursor)
        case "identity.member_renamed":
            await _compare(ctx, [msgspec.convert(event.data, _Member).member_id], event.cursor)
        case "identity.key_retired":
            # Refused before it is written: a call that comes meanwhile must not pass.
            kid = msgspec.convert(event.data, _Key).kid
            left = show_keys(ring.retire(kid))

            async def forget(step: Context) -> None:
                await ring.tell_retired(step.tx, kid)
                await following.update_keys(step.tx, left, step.now_ms)
                await following.update_cursor(step.tx, event.cursor)

            await ctx.write(forget, outcome=None)
            ring.want()
        case _:
            await ctx.write(
                lambda step: following.update_cursor(step.tx, event.cursor), outcome=None
            )
            if event.kind == "identity.key_made":
                ring.want()


async def _end_session(ctx: Context, event: IssuerEvent, session: _Session) -> None:
    """Refuse the tokens of a session, and end its connections."""

    async def end(step: Context) -> None:
        await following.update_cursor(step.tx, event.cursor)
        if event.at_ms <= step.now_ms - ENDED_KEPT_MS:
            return  # its tokens have run out long ago
        now_ms = step.now_ms
        await following.insert_ended(step.tx, session.session_id, now_ms)
        await step.use(FollowedSessions).end(step.tx, session.session_id, session.reason)

    await ctx.write(end, outcome=None)


async def _remove(ctx: Context, member_id: str, cursor: str) -> None:
    """Make a tombstone of a member, and erase what may go."""

    async def remove(step: Context) -> None:
        await bury_followed(step, member_id)
        await following.update_cursor(step.tx, cursor)

    if await ctx.read(lambda step: _is_here(step, member_id)):
        await ctx.write(remove)
        await _erase_some(ctx, member_id)
    else:
        await ctx.write(lambda step: following.update_cursor(step.tx, cursor), outcome=None)


async def _is_here(step: Context, member_id: str) -> bool:
    """Tell whether a member is known here and not removed."""
    known = await following.find_known(step.tx, member_id)
    return known is not None and not known.is_removed


async def bury_followed(step: Context, member_id: str) -> None:
    """Make a tombstone of a member whom the issuer has removed, and end their connections.

    No room can keep them: it is asked to let go, and what it holds of them is erased later all
    the same.
    """
    step.concern(path=f"member/{member_id}")
    for room, personal in step.personal_rooms().items():
        if personal.leave is None:
            continue
        leave, before = personal.leave, len(step.events)

        async def let_go(leave: Leave = leave) -> None:
            if reason := await leave(step, member_id):
                raise _NeededError(reason)

        try:
            await step.tx.nested(let_go)
        except _NeededError as error:
            del step.events[before:]
            _log.warning("a member who was needed was removed", room=room, reason=str(error))
    await removal.update_removed(step.tx, member_id, step.now_ms)
    await step.use(FollowedMembers).remove(step.tx, member_id)


async def _erase_some(ctx: Context, member_id: str) -> None:
    """Take away at once what fits, so that roles are gone; ``finish_removals`` does the rest."""
    with suppress(ActionError):
        await erase_member(ctx, member_id, STEPS_AT_ONCE)


async def _compare_all(ctx: Context) -> None:
    """Ask for the names of all who came from the issuer: this tells removals too."""
    after = ""

    async def list_some(step: Context) -> list[str]:
        return await following.list_followed(step.tx, after, NAMES_AT_ONCE)

    while member_ids := await ctx.read(list_some):
        await _compare(ctx, member_ids, None)
        after = member_ids[-1]


async def _compare(ctx: Context, member_ids: list[str], cursor: str | None) -> None:
    """Ask for the names of some, and take them."""
    told = await ctx.use(Issuer).name_members(member_ids)
    for member_id in told.removed:
        if await ctx.read(partial(_is_here, member_id=member_id)):
            await ctx.write(partial(bury_followed, member_id=member_id))
            await _erase_some(ctx, member_id)

    async def rename(step: Context) -> None:
        for member_id, name in told.names.items():
            await step.use(FollowedMembers).rename(step.tx, member_id, name, step.now_ms)
        if cursor is not None:
            await following.update_cursor(step.tx, cursor)

    await ctx.write(rename, outcome=None)
