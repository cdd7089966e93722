"""Tokens for resource servers: each for one of them, and only for those that are registered.

A token for one server is worth nothing at another one, nor at this hall: whoever gets hold
of it there cannot go elsewhere with it (RFC 9068, section 5; RFC 9700, section 2.3).
"""

from typing import Annotated

from msgspec import Meta
from msgspec.structs import replace

from moothall.action import (
    READ,
    WRITE,
    Context,
    PerActor,
    Request,
    Result,
    Secret,
    Signed,
    action,
    next_cursor,
)
from moothall.action.token import sign_token
from moothall.core.errors import InvalidArgumentError
from moothall.ports.keyring import KeyRing
from moothall.services.identity.actions.servers import ServerKey, end_server, register_server
from moothall.services.identity.adapters.keys import TokenIssuer
from moothall.services.identity.errors import (
    AudienceExistsError,
    AudienceNotFoundError,
    ServerKeyTakenError,
    SessionEndedError,
    TooManyAudiencesError,
)
from moothall.services.identity.events import STREAM, AudienceAdded, AudienceRemoved
from moothall.services.identity.model import Audience, TokenSettings
from moothall.services.identity.store import audiences, servers, sessions

AudienceName = Annotated[
    str,
    Meta(
        max_length=255,
        pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[!-~]+(?!\n)$",
        description="An absolute URI, such as https://scores.example, at most 255 characters.",
    ),
]
"""Name of a resource server, as it stands in ``aud`` (RFC 8707, section 2)."""


class IssueToken(Request):
    """For which resource server."""

    audience: AudienceName


class IssuedToken(Result):
    """An access token for one resource server. Whoever holds it is the member there."""

    audience: str
    access_token: Secret
    access_expires_at_ms: int


class AddAudience(Request):
    """A resource server, a few words about it, and its public key if it shall prove itself."""

    audience: AudienceName
    summary: Annotated[str, Meta(max_length=200)] = ""
    server_key: ServerKey | None = None


class SetServerKey(Request):
    """Which resource server, and its public key from now on."""

    audience: AudienceName
    server_key: ServerKey


class ListAudiences(Request):
    """A page of resource servers; ``after`` is the ``next`` of the page before."""

    after: Annotated[str, Meta(max_length=255)] = ""
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class AudiencePage(Result):
    """A page of resource servers by name; ``next`` is None on the last one."""

    audiences: list[Audience]
    next: str | None


class RemoveAudience(Request):
    """Which resource server."""

    audience: AudienceName


class RemovedAudience(Result):
    """What was removed."""

    audience: str


@action(
    access=Signed("account:use"),
    effect=READ,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(AudienceNotFoundError, SessionEndedError),
    secret_reply=True,
)
async def issue_token(ctx: Context, request: IssueToken) -> IssuedToken:
    """Get an access token for one resource server; it lives 5 minutes, as your session does.

    It is refused everywhere else, at this hall too. It carries your name, so that the server
    can greet you without asking this hall.

    Args:
        request.audience: Exactly as an administrator registered it.

    Raises:
        AudienceNotFoundError: not_found. No such resource server is registered.
        SessionEndedError: unauthenticated. Sign in again.
    """
    if not await audiences.has_audience(ctx.tx, request.audience):
        raise AudienceNotFoundError(
            audience=request.audience, remedy="ask an administrator to register it"
        )
    session = await sessions.find_session_to_show(ctx.tx, ctx.session_id)
    if session is None or session.ended_at_ms is not None:
        raise SessionEndedError(remedy="sign in again")
    token, expires_at_ms = sign_token(
        ctx.use(KeyRing),
        issuer=ctx.use(TokenIssuer).issuer,
        audience=request.audience,
        member_id=ctx.actor,
        session_id=ctx.session_id,
        session_expires_at_ms=session.lapses_at_ms,
        token_id=ctx.new_id(),
        now_ms=ctx.now_ms,
        device=session.device,
        name=session.member.name,
    )
    return IssuedToken(
        audience=request.audience, access_token=token, access_expires_at_ms=expires_at_ms
    )


@action(
    access=Signed("audiences:manage"),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(AudienceExistsError, TooManyAudiencesError, ServerKeyTakenError),
)
async def add_audience(ctx: Context, request: AddAudience) -> Audience:
    """Register a resource server, so that members may get tokens for it.

    Args:
        request.audience: What the server takes itself for; it compares letter by letter.
        request.server_key: As the server prints it when it starts. With it the server learns
            at once of sessions that end and members who go; without it within 5 minutes.

    Raises:
        AudienceExistsError: already_exists. It is registered already.
        TooManyAudiencesError: resource_exhausted. ``tokens.audiences_max`` are registered.
        ServerKeyTakenError: already_exists. Another server has this key.

    Emits:
        AudienceAdded: once.
        ServerRegistered: with a key.
    """
    if "#" in request.audience:
        reason = "the name of a resource server has no fragment"
        raise InvalidArgumentError("audience", reason, "leave out '#' and what follows it")
    issuer = ctx.use(TokenIssuer)
    if request.audience in {issuer.issuer, issuer.audience}:
        reason = "this is the hall itself, whose tokens come from signing in"
        raise InvalidArgumentError("audience", reason, "name another server")
    await audiences.lock_audiences(ctx.tx)
    if await audiences.has_audience(ctx.tx, request.audience):
        raise AudienceExistsError(audience=request.audience)
    audiences_max = ctx.use(TokenSettings).audiences_max
    if await audiences.count_audiences(ctx.tx) >= audiences_max:
        raise TooManyAudiencesError(
            audiences_max=audiences_max, remedy="see identity.list_audiences"
        )
    audience = Audience(
        audience=request.audience,
        summary=request.summary,
        added_by=ctx.actor,
        added_at_ms=ctx.now_ms,
    )
    if not await audiences.insert_audience(ctx.tx, audience):
        raise AudienceExistsError(audience=request.audience)
    ctx.emit(STREAM, AudienceAdded(audience=request.audience))
    if request.server_key is None:
        return audience
    server_id = await register_server(ctx, request.audience, request.server_key)
    return replace(audience, server_id=server_id, server_key=request.server_key)


@action(
    access=Signed("audiences:manage"),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(AudienceNotFoundError, ServerKeyTakenError),
    command="audience set-key",
)
async def set_server_key(ctx: Context, request: SetServerKey) -> Audience:
    """Let a resource server prove itself by another key, or by one at all.

    What it signed in with before ends at once. The key that it has already changes nothing.

    Args:
        request.server_key: As the server prints it when it starts.

    Raises:
        AudienceNotFoundError: not_found. No such resource server is registered.
        ServerKeyTakenError: already_exists. Another server has this key.

    Emits:
        ServerEnded: if it had another key.
        ServerRegistered: once, unless it has this key.
    """
    await audiences.lock_audiences(ctx.tx)
    audience = await audiences.find_audience(ctx.tx, request.audience)
    if audience is None:
        raise AudienceNotFoundError(audience=request.audience, remedy="see identity.list_audiences")
    if audience.server_key == request.server_key:
        return audience
    if audience.server_id:
        await end_server(ctx, request.audience, audience.server_id, "server key replaced")
    server_id = await register_server(ctx, request.audience, request.server_key)
    return replace(audience, server_id=server_id, server_key=request.server_key)


@action(
    access=Signed("audiences:manage"),
    effect=READ,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(),
)
async def list_audiences(ctx: Context, request: ListAudiences) -> AudiencePage:
    """List the resource servers for which members may get tokens, by pages."""
    found = await audiences.list_audiences(ctx.tx, request.after, request.limit)
    after = next_cursor(found, request.limit, lambda last: last.audience)
    return AudiencePage(audiences=found, next=after)


@action(
    access=Signed("audiences:manage"),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(AudienceNotFoundError,),
)
async def remove_audience(ctx: Context, request: RemoveAudience) -> RemovedAudience:
    """Make no more tokens for a resource server; those it has seen live 5 minutes at most.

    If it has a key, it proves nothing any more, and what it signed in with ends at once.

    Raises:
        AudienceNotFoundError: not_found. No such resource server is registered.

    Emits:
        AudienceRemoved: once.
        ServerEnded: if it has a key.
    """
    await audiences.lock_audiences(ctx.tx)
    server = await servers.find_server(ctx.tx, request.audience)
    if server is not None:
        await end_server(ctx, request.audience, server.server_id, "server removed")
    if not await audiences.delete_audience(ctx.tx, request.audience):
        raise AudienceNotFoundError(audience=request.audience, remedy="see identity.list_audiences")
    ctx.emit(STREAM, AudienceRemoved(audience=request.audience))
    return RemovedAudience(audience=request.audience)
