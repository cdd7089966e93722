"""NearIssuer: a hall of a test as the issuer of another one, without a network between them."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from moothall.action.assertion import show_server_key, sign_assertion
from moothall.action.call import Reply
from moothall.ports.issuer import (
    CursorLostError,
    IssuerEvent,
    IssuerFeed,
    IssuerKeys,
    IssuerNames,
    IssuerRefusedError,
    IssuerUnavailableError,
)
from moothall.testing.connection import OpenConnection

if TYPE_CHECKING:
    from moothall.testing.hall import OpenHall

FEED = "identity/revocations"

_assertions = itertools.count()


class _Token(msgspec.Struct, frozen=True):
    """Of ``identity.open_server_session``."""

    access_token: str


class NearIssuer:
    """Implements the Issuer port by calls of a hall that is open in the same test.

    Every call takes the whole road there, with assertions, tokens and limits.

    Attributes:
        hall: The hall that signs people in.
        audience: Name of the resource server.
        server_key: What its administrator registers: ``identity.add_audience``.
        url: Where a real one would be.
    """

    def __init__(self, hall: "OpenHall", audience: str) -> None:
        """Let ``hall`` be the issuer of the resource server of this audience."""
        self.hall = hall
        self.url = "https://issuer.test"
        self.audience = audience
        self._key = Ed25519PrivateKey.from_private_bytes(hall.hall.house.entropy.random_bytes(32))
        self.server_key = show_server_key(self._key.public_key().public_bytes_raw())
        self._is_away = False
        self._feeds: set[NearFeed] = set()

    @property
    def settings(self) -> dict[str, str]:
        """What makes a hall the resource server."""
        return {"issuer": self.url, "public_url": self.audience}

    @property
    def is_followed(self) -> bool:
        """Whether somebody follows what resource servers are told."""
        return bool(self._feeds)

    def go_away(self) -> None:
        """Play an issuer that nobody reaches; feeds break."""
        self._is_away = True
        for feed in list(self._feeds):
            feed.cut()

    def come_back(self) -> None:
        """Answer again."""
        self._is_away = False

    async def fetch_keys(self) -> IssuerKeys:
        """Return the hall's name and its keys."""
        self._check_there()
        return IssuerKeys(self.hall.hall.issuer, self.hall.hall.public_jwks())

    @asynccontextmanager
    async def follow(self, after: str | None) -> AsyncIterator[IssuerFeed]:
        """Follow what resource servers are told."""
        token = await self._prove()
        connection = OpenConnection(self.hall, "198.51.100.250")
        await connection.call("identity.authenticate", token=token)
        reply = await connection.answer("feeds.subscribe", feed=FEED, after=after or "now")
        body = _body_of(reply)
        feed = NearFeed(connection, msgspec.json.decode(body)["cursor"])
        self._feeds.add(feed)
        try:
            yield feed
        finally:
            self._feeds.discard(feed)
            connection.leave()

    async def name_members(self, member_ids: Sequence[str]) -> IssuerNames:
        """Return the names of members."""
        reply = await self.hall.answer(
            "identity.name_members", {"member_ids": list(member_ids)}, token=await self._prove()
        )
        return msgspec.json.decode(_body_of(reply), type=IssuerNames)

    async def close(self) -> None:
        """Do nothing: the hall is closed by who opened it."""

    async def _prove(self) -> str:
        """Return a token for a server that proves itself by its key."""
        self._check_there()
        assertion = sign_assertion(
            self._key,
            server=self.audience,
            issuer=self.hall.hall.issuer,
            assertion_id=f"assertion {next(_assertions)}",
            now_ms=self.hall.clock.now_ms(),
        )
        reply = await self.hall.answer("identity.open_server_session", {"assertion": assertion})
        return msgspec.json.decode(_body_of(reply), type=_Token).access_token

    def _check_there(self) -> None:
        if self._is_away:
            msg = f"{self.url} does not answer"
            raise IssuerUnavailableError(msg)


class NearFeed:
    """Implements IssuerFeed by a connection in memory."""

    def __init__(self, connection: OpenConnection, cursor: str) -> None:
        """Take a connection that follows the feed from ``cursor`` on."""
        self.cursor = cursor
        self._connection = connection
        self._cut = asyncio.Event()

    def cut(self) -> None:
        """Break the connection."""
        self._cut.set()

    def __aiter__(self) -> Self:
        """Return what happens."""
        return self

    async def __anext__(self) -> IssuerEvent:
        """Return the next event, however long it takes."""
        came = asyncio.ensure_future(self._connection.wait_event())
        cut = asyncio.ensure_future(self._cut.wait())
        try:
            await asyncio.wait((came, cut), return_when=asyncio.FIRST_COMPLETED)
            event = None if self._cut.is_set() else await came
        finally:
            came.cancel()
            cut.cancel()
        if event is None:
            msg = f"the connection broke: {self._connection.reason or 'cut off'}"
            raise IssuerUnavailableError(msg)
        self.cursor = event.cursor
        return IssuerEvent(event.cursor, event.kind, event.at_ms, event.data)


def _body_of(reply: Reply) -> bytes:
    """Return what a reply brings, or raise what it means to a resource server."""
    if reply.problem is None:
        assert reply.body is not None
        return reply.body
    told = f"{reply.problem.name}: {reply.problem.title}"
    if reply.problem.name == "cursor_expired":
        raise CursorLostError(told)
    if reply.problem.code in {"unauthenticated", "permission_denied"}:
        raise IssuerRefusedError(told)
    raise IssuerUnavailableError(told)
