"""Housekeeping of the identity room."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from moothall.action import Context, job, repeat
from moothall.core.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from moothall.ports.issuer import (
    IssuerRefusedError,
    IssuerUnavailableError,
    IssuerUntrustedError,
)
from moothall.services.identity.actions import following
from moothall.services.identity.actions.connections import end_idle_session
from moothall.services.identity.actions.keys import end_key, make_key
from moothall.services.identity.actions.personal import bury, finish_erasing
from moothall.services.identity.actions.recovery import send_code
from moothall.services.identity.adapters.activity import SessionActivity
from moothall.services.identity.adapters.follower import (
    ENDED_KEPT_MS,
    FeedWatch,
    FollowedKeys,
    KeysWatch,
)
from moothall.services.identity.errors import MemberNeededError, NotAGuestError
from moothall.services.identity.model import KeySettings, RegistrationSettings, SessionSettings
from moothall.services.identity.rules.keys import choose_retired, is_rotation_due
from moothall.services.identity.rules.registration import INVITATION_KEPT_DAYS
from moothall.services.identity.store import (
    contacts,
    keys,
    members,
    passwords,
    registration,
    removal,
    servers,
    sessions,
)
from moothall.services.identity.store import following as followed

CHUNK_ROWS = 500
"""Rows that one step deletes, so that no call waits long for the writer."""

SETTLED_AFTER_MS = MINUTE_MS
"""How long after a removal no call is under way any more that began before it."""

MEMBERS_AT_ONCE = 100
"""Removed members that one run looks at."""


@job(every_ms=HOUR_MS)
async def sweep_sessions(ctx: Context) -> None:
    """Delete sessions that ended or lapsed ``sessions.swept_after_ms`` ago."""
    before_ms = ctx.now_ms - ctx.use(SessionSettings).swept_after_ms
    await repeat(ctx, lambda step: sessions.delete_dead(step.tx, before_ms, CHUNK_ROWS))


@job(every_ms=HOUR_MS)
async def sweep_servers(ctx: Context) -> None:
    """Forget used assertions that are too old, and servers that ended like sessions.

    An hour late, because the clock may be set back meanwhile.
    """
    ended_ms = ctx.now_ms - ctx.use(SessionSettings).swept_after_ms
    before_ms = ctx.now_ms - HOUR_MS
    await repeat(ctx, lambda step: servers.delete_assertions(step.tx, before_ms, CHUNK_ROWS))
    await repeat(ctx, lambda step: servers.delete_ended(step.tx, ended_ms, CHUNK_ROWS))


@job(every_ms=SECOND_MS)
async def end_idle_sessions(ctx: Context) -> None:
    """Sign out who did nothing for ``sessions.idle_timeout_ms``; their connections are told."""
    for session_id in ctx.use(SessionActivity).list_idle(CHUNK_ROWS):
        await ctx.write(partial(end_idle_session, session_id=session_id))


@job(every_ms=SECOND_MS, is_of_each_node=True)
async def tell_activity(ctx: Context) -> None:
    """Tell the other nodes who was active at this one, so that none of them signs them out."""
    activity = ctx.use(SessionActivity)
    session_ids = activity.take_untold()
    if not session_ids:
        return
    try:
        await ctx.write(lambda step: activity.tell(step.tx, session_ids), outcome=None)
    except BaseException:
        activity.give_back(session_ids)
        raise


@job(every_ms=MINUTE_MS)
async def rotate_due_keys(ctx: Context) -> None:
    """Publish the next signing key in time before the one that signs has its age."""
    settings = ctx.use(KeySettings)

    async def is_due(step: Context) -> bool:
        return is_rotation_due(await keys.list_published(step.tx), settings, step.now_ms)

    async def rotate(step: Context) -> None:
        published = await keys.list_published_to_change(step.tx)
        if is_rotation_due(published, settings, step.now_ms):
            await make_key(step, published, settings.publish_ahead_ms)

    if await ctx.read(is_due):
        await ctx.write(rotate)


@job(every_ms=MINUTE_MS)
async def retire_keys(ctx: Context) -> None:
    """Retire keys whose last token has expired, and forget those retired long ago."""
    kept_ms = ctx.use(KeySettings).retired_kept_ms

    async def is_due(step: Context) -> bool:
        return bool(choose_retired(await keys.list_published(step.tx), step.now_ms))

    async def retire(step: Context) -> None:
        published = await keys.list_published_to_change(step.tx)
        for key in choose_retired(published, step.now_ms):
            await end_key(step, key)

    async def forget(step: Context) -> int:
        return await keys.delete_retired(step.tx, step.now_ms - kept_ms)

    if await ctx.read(is_due):
        await ctx.write(retire)
        await ctx.write(forget, outcome=None)


@job(every_ms=10 * SECOND_MS)
async def finish_removals(ctx: Context) -> None:
    """Erase what is left of members who were removed more than a minute ago.

    Not earlier, because a call that began before the removal may still write for half a
    minute. What fails with one member does not keep the others waiting.
    """
    before_ms = ctx.now_ms - SETTLED_AFTER_MS
    failed: list[Exception] = []
    for member_id in await ctx.read(
        lambda step: removal.list_unerased(step.tx, before_ms, MEMBERS_AT_ONCE)
    ):
        try:
            await finish_erasing(ctx, member_id)
        except Exception as error:  # noqa: BLE001 - told below, when all had their turn
            failed.append(error)
    if failed:
        msg = f"{len(failed)} removed members could not be erased"
        raise ExceptionGroup(msg, failed)


@job(every_ms=HOUR_MS)
async def remove_idle_guests(ctx: Context) -> None:
    """Remove guests whose session was over ``registration.guest_kept_ms`` ago.

    They are removed as by ``guest remove``, one in a step; ``finish_removals`` does the rest.
    Somebody whom the hall cannot do without stays, and keeps nobody else waiting.
    """
    before_ms = ctx.now_ms - ctx.use(RegistrationSettings).guest_kept_ms
    after = (0, "")

    async def list_some(step: Context) -> list[tuple[int, str]]:
        return await removal.list_idle_guests(step.tx, before_ms, after, MEMBERS_AT_ONCE)

    while guests := await ctx.read(list_some):
        for after in guests:
            await _remove_idle_guest(ctx, after[1], before_ms)


async def _remove_idle_guest(ctx: Context, member_id: str, before_ms: int) -> None:
    """Remove one guest, unless something has changed since they were listed."""

    async def remove(step: Context) -> None:
        if not await removal.is_idle_guest(step.tx, member_id, before_ms):
            raise NotAGuestError
        await bury(step, member_id)

    with suppress(MemberNeededError, NotAGuestError):
        await ctx.write(remove)


@job(every_ms=HOUR_MS)
async def sweep_registration(ctx: Context) -> None:
    """Forget spent budgets, codes and names whose time is over, and invitations long expired."""
    listed_ms = INVITATION_KEPT_DAYS * DAY_MS
    sweeps: tuple[Callable[[Context], Awaitable[int]], ...] = (
        lambda step: registration.delete_budgets(step.tx, ctx.now_ms // HOUR_MS),
        lambda step: contacts.delete_codes(step.tx, ctx.now_ms),
        lambda step: members.delete_name_holds(step.tx, ctx.now_ms),
        lambda step: registration.delete_invitations(step.tx, ctx.now_ms - listed_ms),
        lambda step: passwords.delete_expired_recovery(
            step.tx, ctx.now_ms - RECOVERY_KEPT_MS, CHUNK_ROWS
        ),
    )
    for sweep in sweeps:
        await repeat(ctx, sweep)


RECOVERY_KEPT_MS = DAY_MS
"""How long a code that has expired is kept, so that no other is sent too soon after it."""

CODES_AT_ONCE = 20
"""Codes for forgotten passwords that one run sends, one after the other."""


@job(every_ms=SECOND_MS)
async def send_recovery_codes(ctx: Context) -> None:
    """Send the codes for forgotten passwords that were asked for since."""
    for code in await ctx.read(
        lambda step: passwords.list_unsent(step.tx, step.now_ms, CODES_AT_ONCE)
    ):
        await send_code(ctx, code)


# --- on resource servers only ---------------------------------------------------------------------

KEYS_EVERY_SECONDS = 30.0
"""How often the issuer is asked for its keys when nobody wants them sooner."""


@job(every_ms=SECOND_MS // 4, is_of_each_node=True)
async def fetch_issuer_keys(ctx: Context) -> None:
    """Fetch the issuer's keys every 30 s, and when one is made or is unknown here."""
    await ctx.use(FollowedKeys).wait_wanted(KEYS_EVERY_SECONDS)
    watch = ctx.use(KeysWatch)
    try:
        await following.fetch_keys(ctx)
    except (IssuerUnavailableError, IssuerUntrustedError, ValueError) as error:
        watch.note_failure("the issuer's keys cannot be fetched; those known are used on", error)
    else:
        watch.note_success()


@job(every_ms=SECOND_MS // 4)
async def follow_issuer(ctx: Context) -> None:
    """Follow the issuer's revocations, for as long as it tells any; then begin anew."""
    watch = ctx.use(FeedWatch)
    try:
        await following.follow(ctx, watch.note_success)
    except IssuerRefusedError as error:
        told = "the issuer does not know this resource server, so it learns of nothing at once"
        watch.note_failure(told, error)
        await watch.pause(REFUSED_SECONDS)
    except (IssuerUnavailableError, IssuerUntrustedError) as error:
        watch.note_failure("the issuer cannot be followed; trying on", error)
        await watch.pause()


REFUSED_SECONDS = 30.0
"""How long after a refusal the issuer is asked again: an administrator must act meanwhile."""


@job(every_ms=10 * MINUTE_MS)
async def sweep_ended_sessions(ctx: Context) -> None:
    """Forget sessions that the issuer ended, when their tokens have run out."""
    before_ms = ctx.now_ms - ENDED_KEPT_MS
    await repeat(ctx, lambda step: followed.delete_ended(step.tx, before_ms, CHUNK_ROWS))
