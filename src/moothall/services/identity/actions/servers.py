"""Resource servers that prove themselves, so that they learn of revocations at once (R5).

A server signs in with an assertion by a key of its own, and gets a token for the principal
``server:<id>``. What that may, one role says (``resource_server``); it is no member, and
holds nothing of what everyone holds. The id belongs to the key: whoever takes the key away, or
puts another in its place, ends the id like a session, with its tokens and connections.
"""

from typing import Annotated

from msgspec import Meta

from moothall.action import FLOW, PUBLIC, Context, PerSource, Request, action
from moothall.action.assertion import Assertion, is_proven, read_assertion, read_server_key
from moothall.action.token import LIFE_SECONDS, TOKEN_LENGTH_MAX, sign_token
from moothall.core.errors import InvalidArgumentError
from moothall.core.units import SECOND_MS
from moothall.ports.keyring import KeyRing
from moothall.services.identity.adapters.keys import TokenIssuer
from moothall.services.identity.adapters.sessions import EndedSessions
from moothall.services.identity.errors import ServerKeyTakenError, ServerRefusedError
from moothall.services.identity.events import STREAM, ServerEnded, ServerRegistered
from moothall.services.identity.model import SERVER_PREFIX, Server, ServerSession
from moothall.services.identity.store import servers

ServerKey = Annotated[
    str,
    Meta(
        max_length=128,
        pattern=r"^ed25519:[A-Za-z0-9_-]+(?!\n)$",
        description="Public key of a resource server, as it prints it: ed25519:...",
    ),
]
"""``ed25519:`` and 32 bytes in base64url."""


class OpenServerSession(Request):
    """The proof of who calls."""

    assertion: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=TOKEN_LENGTH_MAX,
            description="A signed assertion (RFC 7523), at most 2,048 characters.",
            extra_json_schema={"format": "password", "writeOnly": True},
        ),
    ]


@action(
    access=PUBLIC,
    effect=FLOW,
    limit=PerSource(calls=120, window_ms=60_000),
    raises=(ServerRefusedError,),
    secret_reply=True,
    is_activity=False,
)
async def open_server_session(ctx: Context, request: OpenServerSession) -> ServerSession:
    """Let a resource server in, to follow ``identity/revocations``; for servers, not for people.

    The assertion is a JWT of the type ``client-authentication+jwt``, signed with EdDSA by the
    key that an administrator registered: ``iss`` and ``sub`` are the audience, ``aud`` is the
    name of this hall as in ``iss`` of its tokens, ``exp`` is at most 60 s after ``iat``, and
    ``jti`` is another one each time. The token lives 5 minutes; for the next one the server
    proves itself again.

    Raises:
        ServerRefusedError: unauthenticated. The assertion is altered, too old, used, for another
            hall, or of a server that is not registered with this key.
    """
    said = read_assertion(request.assertion)
    if said is None:
        raise _refused()
    server = await ctx.read(lambda step: servers.find_server(step.tx, said.server))
    issuer, ring = ctx.use(TokenIssuer).issuer, ctx.use(KeyRing)
    key = None if server is None else read_server_key(server.server_key)
    # A server that nobody knows costs a signature too, and is refused whatever comes of it.
    tried = ring.signing_key() if key is None else key
    is_right = is_proven(request.assertion, said, tried, issuer=issuer, now_ms=ctx.now_ms)
    if server is None or key is None or not is_right:
        raise _refused()
    await ctx.write(lambda step: _use_up(step, server, said))
    token, expires_at_ms = sign_token(
        ring,
        issuer=issuer,
        audience=ctx.use(TokenIssuer).audience,
        member_id=SERVER_PREFIX + server.server_id,
        session_id=server.server_id,
        session_expires_at_ms=ctx.now_ms + LIFE_SECONDS * SECOND_MS,
        token_id=ctx.new_id(),
        now_ms=ctx.now_ms,
    )
    return ServerSession(
        server_id=server.server_id, access_token=token, access_expires_at_ms=expires_at_ms
    )


async def register_server(ctx: Context, audience: str, server_key: str) -> str:
    """Let the server of an audience that has no key prove itself by this one; return its id.

    Raises:
        InvalidArgumentError: It is no key.
        ServerKeyTakenError: already_exists. Another server has it.

    Emits:
        ServerRegistered: once.
    """
    if read_server_key(server_key) is None:
        raise InvalidArgumentError(
            "server_key",
            "this is no public key: 'ed25519:' and 32 bytes in base64url",
            "copy the whole key that the server printed when it started",
        )
    server = Server(ctx.new_id(), server_key)
    if not await servers.insert_server(ctx.tx, server, audience, ctx.now_ms):
        raise ServerKeyTakenError(remedy="see identity.list_audiences for whose it is")
    ctx.emit(STREAM, ServerRegistered(audience=audience, server_id=server.server_id))
    return server.server_id


async def end_server(ctx: Context, audience: str, server_id: str, reason: str) -> None:
    """Let a server prove itself no more; refuse its tokens as soon as that is durable.

    Emits:
        ServerEnded: once, unless it is over already.
    """
    if not await servers.update_ended(ctx.tx, server_id, ctx.now_ms):
        return
    await ctx.use(EndedSessions).end(ctx.tx, server_id, reason)
    ctx.emit(STREAM, ServerEnded(audience=audience, server_id=server_id))


async def _use_up(step: Context, server: Server, said: Assertion) -> None:
    """Take an assertion once, while the key that it was proven by is registered.

    Raises:
        ServerRefusedError: It was used before, or the key has gone meanwhile.
    """
    step.concern(actor=SERVER_PREFIX + server.server_id)
    if await servers.find_server(step.tx, said.server) != server or (
        not await servers.insert_assertion(
            step.tx, server.server_id, said.jti, said.refused_from_ms
        )
    ):
        raise _refused()


def _refused() -> ServerRefusedError:
    """Return one answer for every wrong assertion, so that nothing is learnt from it."""
    return ServerRefusedError(remedy="let an administrator register the key that the server prints")
