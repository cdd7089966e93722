"""Signing in, staying signed in, signing out.

Other ways to sign in open their session by :func:`open_session_for` and answer with
:func:`give_tokens`; whatever shuts a member out calls :func:`end_sessions`.
"""

from typing import Annotated

from msgspec import Meta
from msgspec.structs import replace

from moothall.action import (
    FLOW,
    PUBLIC,
    WRITE,
    Context,
    Name,
    PerActor,
    PerSource,
    Request,
    Result,
    Secret,
    Signed,
    action,
)
from moothall.action.token import sign_token
from moothall.ports.keyring import KeyRing
from moothall.services.identity.actions.proof import accept, give_back, prove_by_name
from moothall.services.identity.adapters.activity import SessionActivity
from moothall.services.identity.adapters.keys import TokenIssuer
from moothall.services.identity.adapters.sessions import EndedSessions, RefreshSeal
from moothall.services.identity.errors import (
    AccountLockedError,
    HallFullError,
    SessionEndedError,
    WrongCredentialsError,
)
from moothall.services.identity.events import SessionEnded, tell_servers
from moothall.services.identity.model import Member, OpenedSession, Session, SessionSettings
from moothall.services.identity.rules.sessions import (
    RefreshToken,
    Rotation,
    check_device,
    choose_ended,
    decide_rotation,
)
from moothall.services.identity.store import sessions

Device = Annotated[
    str,
    Meta(max_length=64, description="A label of the device, at most 64 characters on one line."),
]
"""What a client calls the device it runs on, so that people recognise their sessions."""


class OpenSession(Request):
    """Name and password, and what the device is called."""

    name: Name
    password: Secret
    device: Device = ""


class RefreshSession(Request):
    """The newest refresh token of a session; a new label of the device, if it has one."""

    refresh_token: Secret
    device: Device | None = None


class CloseSession(Request):
    """Asks for nothing; the session is the one of the call."""


class SessionClosed(Result):
    """The session that ended."""

    session_id: str
    ended_at_ms: int


@action(
    access=PUBLIC,
    effect=FLOW,
    limit=PerSource(calls=30, window_ms=60_000),
    raises=(AccountLockedError, WrongCredentialsError, HallFullError),
    secret_reply=True,
)
async def open_session(ctx: Context, request: OpenSession) -> OpenedSession:
    """Sign in: open a session by name and password.

    An unknown name is answered like a wrong password, and takes as long; so is one that
    nobody can have. A member who opens more sessions than they may have loses the oldest.

    Three wrong passwords in a row (``lockout.attempts_max``), from wherever they come, lock the
    account for a minute (``lockout.duration_ms``): until then no password is looked at, not
    even the right one. Open sessions go on, and ``identity.unlock_account`` ends the lock.

    Args:
        request.device: A label by which the member recognises the session; printable.

    Raises:
        AccountLockedError: failed_precondition. Too many wrong passwords;
            ``details.retry_after_ms`` says how long the account stays locked.
        WrongCredentialsError: unauthenticated. Name and password do not belong together; with
            ``details.retry_after_ms``, this one has locked the account.
        HallFullError: resource_exhausted. The hall has as many open sessions as it may.

    Emits:
        SessionEnded: for each session that had to make room.
    """
    device = check_device(request.device)
    async with prove_by_name(ctx, request.name, request.password) as proof:

        async def insert(step: Context) -> Session:
            await accept(step, proof)
            return await open_session_for(step, proof.member, device)

        try:
            session = await ctx.write(insert)
        except HallFullError:
            await give_back(ctx, proof.guess)  # The password was right: nobody is locked for it.
            raise
    return give_tokens(ctx, session)


@action(
    access=PUBLIC,
    effect=FLOW,
    limit=PerSource(calls=120, window_ms=60_000),
    raises=(SessionEndedError,),
    secret_reply=True,
    is_activity=False,
)
async def refresh_session(ctx: Context, request: RefreshSession) -> OpenedSession:
    """Renew a session's tokens; the refresh token that was used is spent.

    The one before the newest may be repeated for 10 s, in case its reply was lost. Any
    older one ends the session, because somebody else may have it.

    Args:
        request.device: A new label of the device; left out, the old one stays.

    Raises:
        SessionEndedError: unauthenticated. Sign in again.

    Emits:
        SessionEnded: if the token had been used before.
    """
    device = None if request.device is None else check_device(request.device)
    token = ctx.use(RefreshSeal).open(request.refresh_token)
    if token is None:
        raise SessionEndedError(remedy="sign in again")
    session = await ctx.write(lambda step: _rotate(step, token, device))
    if session is None:
        raise SessionEndedError(remedy="sign in again")
    return give_tokens(ctx, session)


@action(
    access=Signed("sessions:own"),
    effect=WRITE,
    limit=PerActor(calls=10, window_ms=1_000),
    raises=(),
)
async def close_session(ctx: Context, request: CloseSession) -> SessionClosed:  # noqa: ARG001
    """Sign out: end the session of this call; its tokens are refused from now on.

    Emits:
        SessionEnded: once per session.
    """
    await end_session(ctx, ctx.actor, ctx.session_id, "closed")
    return SessionClosed(session_id=ctx.session_id, ended_at_ms=ctx.now_ms)


async def open_session_for(step: Context, member: Member, device: str = "") -> Session:
    """Open a session of ``member`` in this step, whoever they proved to be, and however.

    The step's audit row tells that the member did it. The oldest session ends if the member
    would have more than they may.

    Args:
        step: A WRITE, or a step of a FLOW (``ctx.write``).
        member: Whose session it is. The step has locked the row of the account, or made it, so
            that no other step opens a session of theirs, or removes them, meanwhile.
        device: A label that :func:`check_device` has passed.

    Raises:
        HallFullError: resource_exhausted. Whoever calls lists it in ``raises``.
    """
    settings = step.use(SessionSettings)
    expires_at_ms = step.now_ms + settings.life_ms
    session = Session(
        session_id=step.new_id(),
        member=member,
        generation=1,
        rotated_at_ms=step.now_ms,
        expires_at_ms=expires_at_ms,
        ended_at_ms=None,
        lapses_at_ms=min(expires_at_ms, step.now_ms + settings.idle_ms),
        device=device,
        source=step.source,
    )
    await sessions.insert_session(step.tx, session)
    open_ids = await sessions.list_open(step.tx, member.member_id, step.now_ms)
    for session_id in choose_ended(open_ids, session.session_id, settings.per_member_max):
        await end_session(step, member.member_id, session_id, "too many sessions")
    await step.use(SessionActivity).begin(step.tx, session.session_id)
    step.concern(actor=member.member_id)
    # Last, because until the commit nobody else in the hall opens or ends a session.
    if await sessions.count_opened(step.tx) > settings.per_hall_max:
        raise HallFullError(remedy="try again later, or ask an administrator")
    return session


async def end_session(ctx: Context, member_id: str, session_id: str, reason: str) -> bool:
    """End a session, and refuse its tokens as soon as that is durable; False if it was over.

    Emits:
        SessionEnded: once.
    """
    if not await sessions.update_ended(ctx.tx, session_id, ctx.now_ms):
        return False  # two calls ended it in the same moment
    await ctx.use(EndedSessions).end(ctx.tx, session_id, reason)
    tell_servers(ctx, SessionEnded(member_id=member_id, session_id=session_id, reason=reason))
    return True


async def end_sessions(ctx: Context, member_id: str, reason: str, *, but: str = "") -> int:
    """End all sessions of a member in this transaction, and return how many.

    Their tokens are refused as soon as that is durable. A member has a bounded number of
    sessions, so this fits into one transaction.

    Args:
        ctx: A WRITE, or a step of a FLOW (``ctx.write``).
        member_id: Whose sessions end.
        reason: A few words for the member, such as ``password changed``.
        but: Id of a session that stays, such as the one of the call.

    Emits:
        SessionEnded: once per session.
    """
    count = 0
    # Those that have lapsed too, lest a clock that is set back bring one to life.
    for session_id in await sessions.list_open(ctx.tx, member_id, 0):
        if session_id != but:
            count += await end_session(ctx, member_id, session_id, reason)
    return count


def give_tokens(ctx: Context, session: Session) -> OpenedSession:
    """Return the tokens of a session's present generation, once its row is durable."""
    issuer = ctx.use(TokenIssuer)
    access_token, expires_at_ms = sign_token(
        ctx.use(KeyRing),
        issuer=issuer.issuer,
        audience=issuer.audience,
        member_id=session.member.member_id,
        session_id=session.session_id,
        session_expires_at_ms=session.lapses_at_ms,
        token_id=ctx.new_id(),
        now_ms=ctx.now_ms,
        device=session.device,
    )
    return OpenedSession(
        member_id=session.member.member_id,
        name=session.member.name,
        session_id=session.session_id,
        refresh_token=ctx.use(RefreshSeal).token(session.session_id, session.generation),
        refresh_expires_at_ms=session.lapses_at_ms,
        access_token=access_token,
        access_expires_at_ms=expires_at_ms,
        device=session.device,
    )


async def _rotate(step: Context, token: RefreshToken, device: str | None) -> Session | None:
    """Carry out what the rules decide; None where that was to end the session."""
    session = await sessions.find_session(step.tx, token.session_id)
    decision = decide_rotation(session, token, step.now_ms)
    if session is None or decision is Rotation.REFUSE:
        raise SessionEndedError(remedy="sign in again")
    step.concern(actor=session.member.member_id)
    if decision is Rotation.END:
        reason = "refresh token reused"
        await end_session(step, session.member.member_id, session.session_id, reason)
        return None
    if decision is Rotation.REPEAT:
        return session
    idle_ms = step.use(SessionSettings).idle_ms
    rotated = replace(
        session,
        generation=session.generation + 1,
        rotated_at_ms=step.now_ms,
        lapses_at_ms=min(session.expires_at_ms, step.now_ms + idle_ms),
        device=session.device if device is None else device,
        source=step.source,
    )
    await sessions.update_rotated(step.tx, rotated)
    return rotated
