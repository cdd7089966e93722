"""Signing in on a connection that stays, and being signed out when nobody is there."""

from moothall.action import FLOW, PUBLIC, Context, PerSource, Request, Result, Secret, action
from moothall.action.connections import CloseReason, Connections
from moothall.action.token import TokenVerifier
from moothall.core.units import SECOND_MS
from moothall.services.identity.actions.sessions import end_session
from moothall.services.identity.adapters.sessions import EndedSessions
from moothall.services.identity.store import sessions


class Authenticate(Request):
    """An access token of this hall."""

    token: Secret


class Authenticated(Result):
    """Who calls on this connection from now on, and until when without another token."""

    member_id: str
    session_id: str
    expires_at_ms: int
    connection_id: str


@action(
    access=PUBLIC,
    effect=FLOW,
    limit=PerSource(calls=2_000, window_ms=10_000),
    raises=(),
    command="connection authenticate",
    is_activity=False,
    is_audited=False,
)
async def authenticate(ctx: Context, request: Authenticate) -> Authenticated:
    """Bind this connection to the member of an access token, or renew the token in place.

    Without it a connection closes after 30 s. When the token expires, calls answer
    ``unauthenticated`` and feeds pause; another token of the session lets them go on where they
    were, and without one the connection closes after 60 s. Another member or session than
    before starts without feeds.
    """
    connection = ctx.connection
    claims = ctx.use(TokenVerifier).verify(request.token)
    ctx.use(Connections).bind(connection, request.token, claims)
    return Authenticated(
        member_id=claims.member_id,
        session_id=claims.session_id,
        expires_at_ms=claims.expires_at * SECOND_MS,
        connection_id=connection.connection_id,
    )


async def end_idle_session(step: Context, session_id: str) -> None:
    """End a session in which nothing was done for too long.

    Emits:
        SessionEnded: With the reason ``idle``, unless it was over.
    """
    session = await sessions.find_session(step.tx, session_id)
    if session is None or not await end_session(
        step, session.member.member_id, session_id, CloseReason.IDLE
    ):
        # It was over already, or lapsed and was swept: let no node ask for it again.
        await step.use(EndedSessions).end(step.tx, session_id, CloseReason.IDLE)
