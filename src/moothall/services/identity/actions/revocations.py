"""Where members are signed in, and how a session is ended from elsewhere."""

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
from moothall.core.ids import is_id
from moothall.services.identity.actions.members import NameOrId
from moothall.services.identity.actions.sessions import SessionClosed, end_session, end_sessions
from moothall.services.identity.errors import MemberNotFoundError, SessionNotFoundError
from moothall.services.identity.model import Member, SessionView
from moothall.services.identity.rules.names import find_key
from moothall.services.identity.store import members, sessions

PageSize = Annotated[int, Meta(ge=1, le=500)]
Cursor = Annotated[str, Meta(max_length=128)]


class ListSessions(Request):
    """A page of one's own sessions; ``after`` is the ``next`` of the page before."""

    after: Cursor = ""
    limit: PageSize = 100


class ListSessionsOf(Request):
    """A page of a member's sessions; ``after`` is the ``next`` of the page before."""

    member: NameOrId
    after: Cursor = ""
    limit: PageSize = 100


class SessionPage(Result):
    """A page of sessions, oldest first; ``next`` is None on the last one."""

    sessions: list[SessionView]
    next: str | None


class RevokeSession(Request):
    """One of one's own sessions."""

    session_id: Id


class CloseOtherSessions(Request):
    """Asks for nothing; the session of the call stays."""


class RevokeSessionsOf(Request):
    """Whose sessions end."""

    member: NameOrId


class SessionsEnded(Result):
    """How many sessions ended."""

    member_id: str
    ended_count: int


@action(
    access=Signed("sessions:own"),
    effect=READ,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(),
)
async def list_sessions(ctx: Context, request: ListSessions) -> SessionPage:
    """List where you are signed in, oldest first, by pages.

    The session of the call is marked.
    """
    return await _list_page(ctx, ctx.actor, request.after, request.limit)


@action(
    access=Signed("sessions:read"),
    effect=READ,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(MemberNotFoundError,),
    command="member sessions",
    is_protected=True,
)
async def list_sessions_of(ctx: Context, request: ListSessionsOf) -> SessionPage:
    """List where a member is signed in, oldest first, by pages. Each look is audited.

    Raises:
        MemberNotFoundError: not_found. There is no such member.
    """
    member = await _get_member(ctx, request.member)
    return await _list_page(ctx, member.member_id, request.after, request.limit)


@action(
    access=Signed("sessions:own"),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(SessionNotFoundError,),
)
async def revoke_session(ctx: Context, request: RevokeSession) -> SessionClosed:
    """End one of your sessions; its tokens are refused from now on.

    Somebody else's session is answered like one that does not exist.

    Raises:
        SessionNotFoundError: not_found. You have no open session of this id.

    Emits:
        SessionEnded: once.
    """
    session = await sessions.find_session(ctx.tx, request.session_id)
    is_own = session is not None and session.member.member_id == ctx.actor
    if not (is_own and await end_session(ctx, ctx.actor, request.session_id, "revoked")):
        raise SessionNotFoundError(
            session_id=request.session_id, remedy="see identity.list_sessions"
        )
    return SessionClosed(session_id=request.session_id, ended_at_ms=ctx.now_ms)


@action(
    access=Signed("sessions:own"),
    effect=WRITE,
    limit=PerActor(calls=10, window_ms=1_000),
    raises=(),
    command="session close-others",
)
async def close_other_sessions(
    ctx: Context,
    request: CloseOtherSessions,  # noqa: ARG001 - asks for nothing
) -> SessionsEnded:
    """Sign out everywhere else: end all your sessions but the one of this call.

    Emits:
        SessionEnded: once per session.
    """
    # Locked, so that a sign-in comes before it, and ends too, or after it.
    await members.find_member_to_change(ctx.tx, ctx.actor)
    count = await end_sessions(ctx, ctx.actor, "closed from another session", but=ctx.session_id)
    return SessionsEnded(member_id=ctx.actor, ended_count=count)


@action(
    access=Signed("sessions:revoke"),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(MemberNotFoundError,),
    command="member sign-out",
)
async def revoke_sessions_of(ctx: Context, request: RevokeSessionsOf) -> SessionsEnded:
    """Sign a member out everywhere: end all their sessions; they may sign in again.

    Raises:
        MemberNotFoundError: not_found. There is no such member.

    Emits:
        SessionEnded: once per session.
    """
    member = await _get_member(ctx, request.member)
    await members.find_member_to_change(ctx.tx, member.member_id)  # as above
    count = await end_sessions(ctx, member.member_id, "revoked by an administrator")
    return SessionsEnded(member_id=member.member_id, ended_count=count)


async def _get_member(ctx: Context, name_or_id: str) -> Member:
    """Return the member whom a request names."""
    member = None
    if is_id(name_or_id):  # no name has the form of an id
        member = await members.find_member(ctx.tx, name_or_id)
    elif key := find_key(name_or_id):
        member = await members.find_member_by_name(ctx.tx, key)
    if member is None:
        raise MemberNotFoundError(member=name_or_id, remedy="see identity.list_members")
    ctx.concern(path=f"member/{member.member_id}")
    return member


async def _list_page(ctx: Context, member_id: str, after: str, limit: int) -> SessionPage:
    """Return one page of a member's sessions."""
    found = await sessions.list_session_views(
        ctx.tx, member_id, ctx.now_ms, after, limit, ctx.session_id
    )
    return SessionPage(sessions=found, next=next_cursor(found, limit, lambda last: last.session_id))
