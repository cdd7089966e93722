"""Signing in, staying signed in, signing out."""

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
from moothall.ports.hasher import PasswordHasher
from moothall.ports.keyring import KeyRing
from moothall.services.identity.adapters.keys import TokenIssuer
from moothall.services.identity.adapters.sessions import EndedSessions, RefreshSeal
from moothall.services.identity.errors import (
    SessionEndedError,
    WrongCredentialsError,
)
from moothall.services.identity.events import STREAM, SessionEnded
from moothall.services.identity.model import OpenedSession, Session
from moothall.services.identity.rules.names import find_key
from moothall.services.identity.rules.passwords import normalise_password
from moothall.services.identity.rules.sessions import (
    SESSION_LIFE_MS,
    RefreshToken,
    Rotation,
    decide_rotation,
)
from moothall.services.identity.store import members, sessions


class OpenSession(Request):
    """Name and password."""

    name: Name
    password: Secret


class RefreshSession(Request):
    """The newest refresh token of a session."""

    refresh_token: Secret


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
    raises=(WrongCredentialsError,),
    secret_reply=True,
)
async def open_session(ctx: Context, request: OpenSession) -> OpenedSession:
    """Sign in: open a session by name and password.

    An unknown name is answered like a wrong password, and takes as long; so is one that
    nobody can have.

    Raises:
        WrongCredentialsError: unauthenticated. Name and password do not belong together.
    """
    hasher, password = ctx.use(PasswordHasher), normalise_password(request.password)
    key = find_key(request.name) or ""
    found = await ctx.read(lambda step: members.find_credentials(step.tx, key))
    known = None if found is None else found.password_hash
    if found is not None:
        ctx.concern(path=f"member/{found.member.member_id}")
    is_right = await hasher.verify(known, password)
    if not is_right or found is None or known is None:
        raise WrongCredentialsError
    renewed = await hasher.hash(password) if hasher.is_outdated(known) else None

    async def insert(step: Context) -> Session:
        if renewed is not None:
            await members.update_password_hash(step.tx, found.member.member_id, known, renewed)
        session = Session(
            session_id=step.new_id(),
            member=found.member,
            generation=1,
            rotated_at_ms=step.now_ms,
            expires_at_ms=step.now_ms + SESSION_LIFE_MS,
            ended_at_ms=None,
        )
        await sessions.insert_session(step.tx, session, step.source)
        step.concern(actor=found.member.member_id)
        return session

    return _give_tokens(ctx, await ctx.write(insert))


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

    Raises:
        SessionEndedError: unauthenticated. Sign in again.
    """
    token = ctx.use(RefreshSeal).open(request.refresh_token)
    if token is None:
        raise SessionEndedError(remedy="sign in again")
    session = await ctx.write(lambda step: _rotate(step, token))
    if session is None:
        raise SessionEndedError(remedy="sign in again")
    return _give_tokens(ctx, session)


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
    await _end(ctx, ctx.actor, ctx.session_id, "closed")
    return SessionClosed(session_id=ctx.session_id, ended_at_ms=ctx.now_ms)


async def _rotate(step: Context, token: RefreshToken) -> Session | None:
    """Carry out what the rules decide; None where that was to end the session."""
    session = await sessions.find_session(step.tx, token.session_id)
    decision = decide_rotation(session, token, step.now_ms)
    if session is None or decision is Rotation.REFUSE:
        raise SessionEndedError(remedy="sign in again")
    step.concern(actor=session.member.member_id)
    if decision is Rotation.END:
        await _end(step, session.member.member_id, session.session_id, "refresh token reused")
        return None
    if decision is Rotation.REPEAT:
        return session
    generation = session.generation + 1
    await sessions.update_generation(step.tx, session.session_id, generation, step.now_ms)
    return Session(
        session.session_id,
        session.member,
        generation,
        step.now_ms,
        session.expires_at_ms,
        None,
    )


async def _end(ctx: Context, member_id: str, session_id: str, reason: str) -> None:
    """End a session, and refuse its tokens as soon as that is durable."""
    if not await sessions.update_ended(ctx.tx, session_id, ctx.now_ms):
        return  # two calls ended it in the same moment
    ended, now_ms = ctx.use(EndedSessions), ctx.now_ms
    ctx.tx.on_commit(lambda: ended.add(session_id, now_ms))
    ctx.emit(STREAM, SessionEnded(member_id=member_id, session_id=session_id, reason=reason))


def _give_tokens(ctx: Context, session: Session) -> OpenedSession:
    """Return the tokens of a session's present generation."""
    issuer = ctx.use(TokenIssuer)
    access_token, expires_at_ms = sign_token(
        ctx.use(KeyRing),
        issuer=issuer.issuer,
        audience=issuer.audience,
        member_id=session.member.member_id,
        session_id=session.session_id,
        session_expires_at_ms=session.expires_at_ms,
        token_id=ctx.new_id(),
        now_ms=ctx.now_ms,
    )
    return OpenedSession(
        member_id=session.member.member_id,
        name=session.member.name,
        session_id=session.session_id,
        refresh_token=ctx.use(RefreshSeal).token(session.session_id, session.generation),
        refresh_expires_at_ms=session.expires_at_ms,
        access_token=access_token,
        access_expires_at_ms=expires_at_ms,
    )
