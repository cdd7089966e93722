"""Tokens for resource servers: each for one of them, and only for those that are registered.

A token for one server is worth nothing at another one, nor at this hall: whoever gets hold
of it there cannot go elsewhere with it (RFC 9068, section 5; RFC 9700, section 2.3).
"""

from typing import Annotated

from msgspec import Meta

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
from moothall.services.identity.adapters.keys import TokenIssuer
from moothall.services.identity.errors import (
    AudienceExistsError,
    AudienceNotFoundError,
    SessionEndedError,
    TooManyAudiencesError,
)
from moothall.services.identity.events import STREAM, AudienceAdded, AudienceRemoved
from moothall.services.identity.model import Audience, TokenSettings
from moothall.services.identity.store import audiences, sessions

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
    """A resource server and a few words about it."""

    audience: AudienceName
    summary: Annotated[str, Meta(max_length=200)] = ""


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

    It is refused everywhere else, at this hall too.

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
    )
    return IssuedToken(
        audience=request.audience, access_token=token, access_expires_at_ms=expires_at_ms
    )


@action(
    access=Signed("audiences:manage"),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(AudienceExistsError, TooManyAudiencesError),
)
async def add_audience(ctx: Context, request: AddAudience) -> Audience:
    """Register a resource server, so that members may get tokens for it.

    Args:
        request.audience: What the server takes itself for; it compares letter by letter.

    Raises:
        AudienceExistsError: already_exists. It is registered already.
        TooManyAudiencesError: resource_exhausted. ``tokens.audiences_max`` are registered.

    Emits:
        AudienceAdded: once.
    """
    if "#" in request.audience:
        reason = "the name of a resource server has no fragment"
        raise InvalidArgumentError("audience", reason, "leave out '#' and what follows it")
    issuer = ctx.use(TokenIssuer)
    if request.audience in {issuer.issuer, issuer.audience}:
        reason = "this is the hall itself, whose tokens come from signing in"
        raise InvalidArgumentError("audience", reason, "name another server")
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
    return audience


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

    Raises:
        AudienceNotFoundError: not_found. No such resource server is registered.

    Emits:
        AudienceRemoved: once.
    """
    if not await audiences.delete_audience(ctx.tx, request.audience):
        raise AudienceNotFoundError(audience=request.audience, remedy="see identity.list_audiences")
    ctx.emit(STREAM, AudienceRemoved(audience=request.audience))
    return RemovedAudience(audience=request.audience)
