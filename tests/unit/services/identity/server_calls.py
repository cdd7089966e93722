"""Resource servers as tests play them: a key each, and what they prove with it."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from moothall.action.assertion import show_server_key, sign_assertion
from moothall.services.identity.model import KeyView, ServerSession
from moothall.testing import OpenConnection, OpenHall, Visitor
from moothall.testing.hall import ISSUER

BOARDS, SHOP = "https://boards.example", "urn:shop"
KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))
FEED = "identity/revocations"


def shown(key: Ed25519PrivateKey) -> str:
    """Return the public half as a server prints it."""
    return show_server_key(key.public_key().public_bytes_raw())


def assertion(
    hall: OpenHall,
    number: int = 1,
    *,
    key: Ed25519PrivateKey = KEY,
    server: str = BOARDS,
    issuer: str = ISSUER,
) -> str:
    """Return an assertion as a resource server makes it."""
    return sign_assertion(
        key,
        server=server,
        issuer=issuer,
        assertion_id=f"a{number}",
        now_ms=hall.clock.now_ms(),
    )


async def open_session(hall: OpenHall, text: str) -> ServerSession:
    opened: ServerSession = await hall.call("identity.open_server_session", {"assertion": text})
    return opened


async def rotate_now(hall: OpenHall, boss: Visitor) -> KeyView:
    """Make a key that signs as soon as may be, and let the time pass until it does."""
    made: KeyView = await hall.call("identity.rotate_keys", {"now": True}, as_=boss)
    hall.clock.advance(made.begins_at_ms - hall.clock.now_ms())
    return made


def as_visitor(session: ServerSession) -> Visitor:
    member_id = f"server:{session.server_id}"
    return Visitor(member_id, "", session.server_id, session.access_token)


async def follow(hall: OpenHall, server: Visitor, after: str = "now") -> OpenConnection:
    """Return a connection of the server that follows the feed."""
    reader = await hall.connect(server)
    await reader.call("feeds.subscribe", feed=FEED, after=after)
    return reader


async def is_refused(hall: OpenHall, server: Visitor) -> bool:
    answer = await hall.answer("identity.list_members", token=server.token)
    return answer.problem is not None and answer.problem.code == "unauthenticated"
