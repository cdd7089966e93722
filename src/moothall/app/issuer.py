"""A resource server's way to its issuer, by the SDK: keys, revocations, names (decision 0010).

Every connection goes over TLS to the certificate that the operator pinned, or that an authority
vouches for; whoever shows another one is sent nothing, no assertion and no token. Imported only
where there is an issuer: others need no HTTP client.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Self

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from moothall.action.assertion import sign_assertion
from moothall.app.config import Settings
from moothall.client.channel import Channel
from moothall.client.courier import Courier
from moothall.client.description import PATH, read_description
from moothall.client.errors import (
    AddressError,
    CallError,
    CertificateUntrustedError,
    ClientError,
)
from moothall.client.exchange import Answer, Exchange
from moothall.client.feed import Feed
from moothall.client.hall import Hall
from moothall.client.retry import Limits
from moothall.client.store import Session
from moothall.client.trust import Pin, TrustFinder
from moothall.client.world import World
from moothall.core.codes import Code
from moothall.core.errors import ConfigurationError, MoothallError
from moothall.ports.clock import Clock
from moothall.ports.database import Database
from moothall.ports.entropy import Entropy
from moothall.ports.issuer import (
    CursorLostError,
    Issuer,
    IssuerEvent,
    IssuerFeed,
    IssuerKeys,
    IssuerNames,
    IssuerRefusedError,
    IssuerUnavailableError,
    IssuerUntrustedError,
)
from moothall.services.identity.adapters.follower import read_keys, show_keys
from moothall.services.identity.store import following

FEED = "identity/revocations"
JWKS_PATH = "/.well-known/jwks.json"

MEET_SECONDS_MAX = 10.0
"""How long the first start waits for an issuer that was never reached."""

MEET_EVERY_SECONDS = 0.5

_LIMITS = Limits(timeout_ms=10_000, retries=0, reconnect_max_ms=5_000)
"""What fails is tried again by the jobs of the identity room, which tell of it."""

_FRESH_SECONDS = 240.0
"""A token lives 5 minutes; it is renewed a minute before."""

_REFUSED = frozenset({Code.UNAUTHENTICATED, Code.PERMISSION_DENIED, Code.UNIMPLEMENTED})

_log = structlog.get_logger("moothall.issuer")


class _ServerSession(msgspec.Struct, frozen=True):
    """Result of ``identity.open_server_session``."""

    access_token: str


class ServerTokens:
    """Tokens of this resource server at its issuer; a ``TokenSource`` of the SDK.

    Each is got by an assertion that the server signs with a key of its own (RFC 7523).
    """

    def __init__(
        self, hall: Hall, audience: str, key: Ed25519PrivateKey, clock: Clock, entropy: Entropy
    ) -> None:
        """Ask ``hall``, the issuer, for tokens of the server that is registered as ``audience``."""
        self.issuer = ""
        """Name of the issuer, once it is known."""
        self._hall = hall
        self._audience = audience
        self._key = key
        self._clock = clock
        self._entropy = entropy
        self._token: str | None = None
        self._fresh_until = 0.0
        self._asking = asyncio.Lock()

    @property
    def session(self) -> Session | None:
        """None: no member is signed in here."""
        return None

    @property
    def fresh_s(self) -> float:
        """For how many seconds the token need not be renewed."""
        return max(0.0, self._fresh_until - time.monotonic())

    async def access_token(self, rejected: str | None = None) -> str | None:
        """Return a token that should be valid now.

        Raises:
            CallError: The issuer refused; it may not know the key.
            HallUnreachableError: It did not answer.
        """
        async with self._asking:
            if self._token is None or self._token == rejected or not self.fresh_s:
                assertion = sign_assertion(
                    self._key,
                    server=self._audience,
                    issuer=self.issuer,
                    assertion_id=self._entropy.random_bytes(16).hex(),
                    now_ms=self._clock.now_ms(),
                )
                opened = await self._hall.call(
                    "identity.open_server_session", {"assertion": assertion}, type=_ServerSession
                )
                self._token = opened.access_token
                self._fresh_until = time.monotonic() + _FRESH_SECONDS
            return self._token

    async def close(self) -> None:
        """Let go of the connections that tokens are asked for by."""
        await self._hall.close()


class IssuerClient:
    """Implements the Issuer port by the SDK.

    Args:
        settings: With an issuer.
        key: The server's own key, which an administrator of the issuer registers.
        clock: For assertions, which the issuer compares with its own.
        entropy: For the ids of assertions.

    Raises:
        ConfigurationError: The issuer's address cannot be used.
    """

    def __init__(
        self, settings: Settings, key: Ed25519PrivateKey, clock: Clock, entropy: Entropy
    ) -> None:
        pin = settings.issuer_fingerprint or None

        def open_hall(tokens: ServerTokens | None) -> Hall:
            return Hall(
                settings.issuer,
                fingerprint=pin,
                insecure=settings.insecure,
                tokens=tokens,
                limits=_LIMITS,
            )

        try:
            asking = open_hall(None)
        except AddressError as error:
            msg = f"issuer: {error}; {error.remedy}"
            raise ConfigurationError(msg) from None
        self.url = asking.address.url
        self._tokens = ServerTokens(asking, settings.audience, key, clock, entropy)
        self._hall = open_hall(self._tokens)
        world = World()
        channel = Channel(
            asking.address.at_https(),
            TrustFinder(Pin(fingerprint=pin), world.connect),
            reply_bytes_max=_LIMITS.reply_bytes_max,
        )
        self._documents = Courier(channel, _LIMITS, world)

    def name(self, issuer: str) -> None:
        """Say what the issuer calls itself: for it alone are assertions made."""
        self._tokens.issuer = issuer

    async def fetch_keys(self) -> IssuerKeys:
        """Return the issuer's name and its keys."""
        try:
            described = read_description(await self._fetch(PATH))
            jwks = await self._fetch(JWKS_PATH)
        except ClientError as error:
            raise translate(error) from error
        if not described.is_issuer:
            msg = f"{self.url} is a resource server itself; give the address of its issuer"
            raise IssuerUnavailableError(msg)
        return IssuerKeys(described.issuer, jwks.body)

    @asynccontextmanager
    async def follow(self, after: str | None) -> AsyncIterator[IssuerFeed]:
        """Follow the feed of revocations after a cursor, or from now on."""
        feed = self._hall.follow(FEED, after=after or "now", on_break=_tell_break)
        try:
            try:
                await feed.open()
            except ClientError as error:
                raise translate(error) from error
            yield FollowedFeed(feed)
        finally:
            await feed.close()

    async def name_members(self, member_ids: Sequence[str]) -> IssuerNames:
        """Return the names of at most 500 members."""
        try:
            told = await self._hall.call(
                "identity.name_members",
                {"member_ids": list(member_ids)},
                type=IssuerNames,
                effect="read",
            )
        except ClientError as error:
            raise translate(error) from error
        return told

    async def close(self) -> None:
        """Close all connections."""
        await self._hall.close()
        await self._tokens.close()
        await self._documents.close()

    async def _fetch(self, path: str) -> Answer:
        exchange = Exchange(path=path, is_signed=False, is_safe=True)
        return await self._documents.deliver(exchange, _no_token, _LIMITS.timeout_ms)


class FollowedFeed:
    """Implements IssuerFeed by a feed of the SDK."""

    def __init__(self, feed: Feed) -> None:
        """Take a feed that is open."""
        self._feed = feed

    @property
    def cursor(self) -> str:
        """Where one would go on."""
        assert self._feed.cursor is not None, "it is open"
        return self._feed.cursor

    def __aiter__(self) -> Self:
        """Return what happens."""
        return self

    async def __anext__(self) -> IssuerEvent:
        """Return the next event, waiting for it as long as it takes."""
        try:
            event = await anext(self._feed)
        except ClientError as error:
            raise translate(error) from error
        return IssuerEvent(event.cursor, event.kind, event.at_ms, event.data)


def translate(error: ClientError) -> MoothallError:
    """Return what an error of the SDK means to a resource server. Pure."""
    told = f"{str(error).rstrip('.')}; {error.remedy}" if error.remedy else str(error)
    if isinstance(error, CertificateUntrustedError):
        return IssuerUntrustedError(told)
    if isinstance(error, CallError):
        if error.error_name == "cursor_expired":
            return CursorLostError(told)
        if error.error_code in _REFUSED:
            return IssuerRefusedError(told)
    return IssuerUnavailableError(told)


async def meet_issuer(database: Database, issuer: Issuer, clock: Clock) -> str:
    """Return the issuer's name: from the rows, or by asking it where it was never reached.

    Raises:
        ConfigurationError: It cannot be reached or trusted, or the data folder belongs to a
            hall that signs people in itself.
    """
    known = await database.read(following.find_issuer)
    if known is not None:
        return known.issuer
    if await database.read(following.has_own_keys):
        msg = (
            "data: this folder belongs to a hall that signs people in itself; a resource server "
            "needs a folder of its own, or leave out --issuer"
        )
        raise ConfigurationError(msg)
    fetched = await _ask_patiently(issuer)
    try:
        jwks = show_keys(read_keys(fetched.jwks))
    except ValueError as error:
        msg = f"issuer: the keys of {issuer.url} are not understood: {error}"
        raise ConfigurationError(msg) from None
    now_ms = clock.now_ms()
    await database.write(lambda tx: following.insert_issuer(tx, fetched.issuer, jwks, now_ms))
    return fetched.issuer


async def _ask_patiently(issuer: Issuer) -> IssuerKeys:
    """Return the keys of an issuer that may just be starting too.

    Raises:
        ConfigurationError: It did not answer for 10 s, or somebody else did.
    """
    ends = time.monotonic() + MEET_SECONDS_MAX
    while True:
        try:
            return await issuer.fetch_keys()
        except IssuerUntrustedError as error:
            msg = f"issuer: {issuer.url} cannot be trusted: {error}"
            raise ConfigurationError(msg) from None
        except IssuerUnavailableError as error:
            if time.monotonic() + MEET_EVERY_SECONDS >= ends:
                msg = (
                    f"issuer: {issuer.url} was never reached, and without its keys nobody can be "
                    f"let in: {error}"
                )
                raise ConfigurationError(msg) from None
            await asyncio.sleep(MEET_EVERY_SECONDS)


async def _no_token(_rejected: str | None) -> None:
    """Give none: documents are for anybody."""


def _tell_break(reason: str, wait_s: float) -> None:
    """Tell the log why nothing comes for a while."""
    _log.info("the connection to the issuer broke", reason=reason, again_in_s=round(wait_s, 1))
