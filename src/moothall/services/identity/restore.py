"""What must not come back with a backup: tokens, sessions, and codes (decision 0014)."""

from collections.abc import Awaitable, Callable

from moothall.action import Context, Restored, repeat
from moothall.core.units import SAFE_INTEGER_MAX
from moothall.services.identity.actions.keys import end_key, make_key
from moothall.services.identity.actions.sessions import end_session
from moothall.services.identity.store import (
    contacts,
    following,
    keys,
    passwords,
    registration,
    sessions,
)

CHUNK_ROWS = 500
"""Rows that one transaction changes."""

REASON = "restored"
"""Why the sessions end."""


async def after_restore(ctx: Context, restored: Restored) -> None:
    """Renew the signing keys, end all sessions unless they are kept, and void all codes.

    The keys are renewed in any case: these rows know nothing of sessions that were opened after
    the backup, and their tokens would verify. A resource server signs nobody in; what ended
    meanwhile it learns from its issuer, from where its rows say that it stopped.
    """
    if await ctx.read(lambda step: following.find_issuer(step.tx)) is not None:
        return
    await ctx.write(_renew_keys, outcome=None)
    works: list[Callable[[Context], Awaitable[int]]] = [
        lambda step: contacts.delete_codes(step.tx, SAFE_INTEGER_MAX),
        lambda step: passwords.delete_expired_recovery(step.tx, SAFE_INTEGER_MAX, CHUNK_ROWS),
        lambda step: registration.revoke_some_invitations(step.tx, step.now_ms, CHUNK_ROWS),
    ]
    if not restored.keeps_sessions:
        works.append(_end_sessions)
    for work in works:
        await repeat(ctx, work)


async def _renew_keys(step: Context) -> None:
    """Let nothing verify that was signed before."""
    published = await keys.list_published_to_change(step.tx)
    await make_key(step, published, 0, is_urgent=True)
    for key in published:
        await end_key(step, key)


async def _end_sessions(step: Context) -> int:
    """End some sessions that are open, and tell who follows; return how many."""
    found = await sessions.list_some_open(step.tx, CHUNK_ROWS)
    for session_id, member_id in found:
        await end_session(step, member_id, session_id, REASON)
    return len(found)
