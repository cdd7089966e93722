"""One hall, as a program sees it.

`Hall.call` is the whole of it. Read on in `exchange.py` for what happens to a call that
fails, in `sessions.py` for tokens, in `retry.py` for the rules, in `trust.py` for who is
spoken to.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import msgspec

from moothall.client import files
from moothall.client.address import parse_address
from moothall.client.catalog import Catalog
from moothall.client.channel import Channel
from moothall.client.courier import Courier
from moothall.client.description import Description
from moothall.client.documents import Documents
from moothall.client.errors import (
    BusyError,
    CallError,
    CallTimeoutError,
    HallUnreachableError,
    SessionElsewhereError,
)
from moothall.client.exchange import Answer, Exchange
from moothall.client.feed import Feed, OnBreak
from moothall.client.line import OnNotice
from moothall.client.link import Link
from moothall.client.retry import Effect, Limits, is_safe_to_repeat
from moothall.client.room import Room
from moothall.client.sessions import SessionKeeper, read_session, read_token
from moothall.client.store import IssuedToken, MemoryStore, Session, Store
from moothall.client.tokens import TokenSource
from moothall.client.trust import Pin, TrustFinder
from moothall.client.world import World

T = TypeVar("T")
Request = Mapping[str, Any] | msgspec.Struct | None

_RENEWAL_ATTEMPT_MS = 3_000
"""A hall repeats a renewal for about ten seconds; a lost reply must be noticed before."""


class Hall:
    """A connection to one hall, for programs. Use it in ``async with``.

    Args:
        url: Address and door: ``https://hall.example:8443`` sends each call as a request,
            ``wss://hall.example:8443`` (WebSocket) and ``ndjson://hall.example:8444`` (JSON
            lines) send all calls by one connection that stays.
        certificate_pem: Trust this certificate and no other.
        fingerprint: Trust the certificate with this fingerprint (``sha256:...``) and no
            other. Without either, an authority of the system must vouch for the hall.
        insecure: Allow plain text (``http://``, ``ws://``, ``ndjson+plain://``) to this machine.
        https_port: Where the hall answers HTTPS, for its description; needed only where
            JSON lines are spoken at another port than the one after it.
        store: Where the session and the description of the hall are kept; in memory by
            default.
        tokens: Where access tokens come from, if not from a session at this hall: a resource
            server takes those of its identity server (``IssuedTokens``).
        limits: Times, repetitions and sizes.
        world: Time, chance and network; tests bring their own.
    """

    def __init__(  # noqa: PLR0913 - all but the address by name, and each has a default
        self,
        url: str,
        *,
        certificate_pem: str | None = None,
        fingerprint: str | None = None,
        insecure: bool = False,
        https_port: int | None = None,
        store: Store | None = None,
        tokens: TokenSource | None = None,
        limits: Limits | None = None,
        world: World | None = None,
    ) -> None:
        self.address = parse_address(url, insecure=insecure)
        self.limits = limits or Limits()
        self._world = world or World()
        self._store = store or MemoryStore()
        self._finder = TrustFinder(Pin(certificate_pem, fingerprint), self._world.connect)
        self._keeper = (
            SessionKeeper(self._store, self._renew, self._world) if tokens is None else None
        )
        self._tokens: TokenSource = tokens or self._own()
        courier = Courier(self._make_channel(https_port), self.limits, self._world)
        self._documents = Documents(courier, self._store, self.address, self.limits)
        self._courier = courier
        if not self.address.is_http:
            self._courier = Courier(self._make_link(None), self.limits, self._world)
        self._feeds: set[Feed] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections and feeds; the session stays open."""
        await asyncio.gather(*(feed.close() for feed in list(self._feeds)))
        await self._tokens.close()
        await self._courier.close()
        await self._documents.close()

    def __getattr__(self, room: str) -> Room:
        if room.startswith("_"):
            raise AttributeError(room)
        return Room(self, room)

    @property
    def session(self) -> Session | None:
        """The open session, here or where the tokens come from; None without one."""
        return self._tokens.session

    @overload
    async def call(
        self,
        action: str,
        request: Request = None,
        *,
        type: None = None,
        effect: Effect | str | None = None,
        idempotency_key: str | None = None,
        timeout_ms: int | None = None,
    ) -> Any: ...
    @overload
    async def call(
        self,
        action: str,
        request: Request = None,
        *,
        type: type[T],
        effect: Effect | str | None = None,
        idempotency_key: str | None = None,
        timeout_ms: int | None = None,
    ) -> T: ...
    async def call(
        self,
        action: str,
        request: Request = None,
        *,
        type: type[T] | None = None,  # noqa: A002 - msgspec's own word for it
        effect: Effect | str | None = None,
        idempotency_key: str | None = None,
        timeout_ms: int | None = None,
    ) -> Any:
        """Call an action and return its result.

        Args:
            action: Wire name, such as ``leaderboards.get_rank``.
            request: Its fields.
            type: Type of the result; a dictionary by default.
            effect: What the action does, if the hall need not be asked. It is then taken
                for one of signed-in members.
            idempotency_key: For a write that another run may repeat; made up otherwise.
            timeout_ms: Time for the whole call, instead of the limit of this client.

        Raises:
            CallError: The hall refused.
            CallTimeoutError: The time is up.
            HallUnreachableError: The hall did not answer, or its answer is not understood.
            CertificateUntrustedError: The hall is not the one trusted.
        """
        limit_ms = self.limits.timeout_ms if timeout_ms is None else timeout_ms
        try:
            async with asyncio.timeout(limit_ms / 1_000):
                known, is_public = (
                    (Effect(effect), False) if effect else await self._documents.look_up(action)
                )
                key = None
                if known is Effect.WRITE and not is_public:
                    key = idempotency_key or self._world.new_key()
                exchange = Exchange(
                    action=action,
                    idempotency_key=key,
                    body=msgspec.json.encode({} if request is None else request),
                    is_signed=not is_public,
                    is_safe=is_safe_to_repeat(known, key),
                )
                answer = await self._courier.deliver(exchange, self._tokens.access_token, limit_ms)
        except TimeoutError as error:
            raise self._late(limit_ms, outcome_unknown=True) from error
        return _read_result(action, answer, type)

    def follow(
        self, feed: str, *, after: str | None = None, on_break: OnBreak | None = None
    ) -> Feed:
        """Follow what happens; see :class:`Feed`. It has a connection of its own.

        Args:
            feed: Its name, such as ``board/kart``.
            after: A cursor; ``now``; or None for where this device acknowledged last, and if
                it never did, now.
            on_break: Called when the connection broke, with a sentence and the seconds until
                the next is tried.

        Raises:
            BusyError: This client follows as many as it may.
        """
        if len(self._feeds) >= self.limits.feeds_max:
            raise BusyError(
                f"this client follows {self.limits.feeds_max} feeds already", "close one first"
            )
        following = Feed(
            feed,
            after=after,
            make_link=self._make_link,
            acknowledge=self._acknowledge,
            forget=self._feeds.discard,
            on_break=on_break,
            limits=self.limits,
            world=self._world,
        )
        self._feeds.add(following)
        return following

    async def catalog(self, *, is_fresh: bool = False) -> Catalog:
        """Return what the hall offers; asked for once, then remembered.

        Args:
            is_fresh: Ask the hall whether it has changed since.
        """
        return await self._documents.catalog(is_fresh=is_fresh)

    async def get_registration(self, name: str = "") -> Any:
        """Tell how one gets an account at this hall, and in an open hall if ``name`` is free.

        Raises:
            CallError: invalid_argument. Nobody can have such a name; or another refusal.
        """
        answer = await self._ask_identity("get_registration", {"name": name}, is_safe=True)
        return _read_result("identity.get_registration", answer, None)

    async def request_contact(self, contact: str) -> Any:
        """Have a code sent to an address, to register with it.

        Raises:
            CallError: unavailable. The hall cannot send now; or another refusal.
        """
        answer = await self._ask_identity("request_contact", {"contact": contact}, is_safe=False)
        return _read_result("identity.request_contact", answer, None)

    async def register(self, name: str, password: str, **proofs: str) -> Any:
        """Make an account; nobody is signed in by it.

        Args:
            name: Of the member.
            password: Of the member.
            proofs: What this hall asks for besides: ``invitation``, or ``contact`` and ``code``.

        Raises:
            CallError: already_exists. Another member has this name; or another refusal.
        """
        asked = {"name": name, "password": password, **proofs}
        answer = await self._ask_identity("register", asked, is_safe=False)
        return _read_result("identity.register", answer, None)

    async def sign_in(self, name: str, password: str, *, device: str = "") -> Session:
        """Open a session; calls carry it from now on.

        Args:
            name: Of the member.
            password: Of the member.
            device: What the member recognises the session by, at most 64 printable characters;
                :func:`moothall.client.describe_device` makes one of this machine's name.

        Raises:
            CallError: unauthenticated. Name or password is wrong; or another refusal.
        """
        asked = {"name": name, "password": password, **_label(device)}
        session = await self._ask_session("open_session", asked, is_safe=False)
        await self._own().replace(session)
        return session

    async def sign_in_guest(self, *, device: str = "") -> Session:
        """Open a session as a guest, without name and password, if the hall has guests.

        Args:
            device: See :meth:`sign_in`.

        Raises:
            CallError: failed_precondition. It has none; or another refusal.
        """
        session = await self._ask_session("register_guest", _label(device), is_safe=False)
        await self._own().replace(session)
        return session

    async def sign_out(self) -> None:
        """End the session on the hall and forget it here, also if the hall is away.

        Raises:
            HallUnreachableError: The session is forgotten here only.
        """
        keeper = self._own()
        try:
            if self.session is not None:
                await self.call("identity.close_session", effect=Effect.WRITE)
        except CallError as error:
            if error.error_name != "unauthenticated":
                raise
        finally:
            await keeper.replace(None)

    async def issue_token(self, audience: str, *, timeout_ms: int | None = None) -> IssuedToken:
        """Ask this identity server for a token for another server; see ``IssuedTokens``.

        Args:
            audience: The server that takes it, as an administrator registered it here.
            timeout_ms: Time for it, instead of the limit of this client.

        Raises:
            CallError: not_found. No such server is registered; or another refusal.
            CallTimeoutError: The time is up.
            HallUnreachableError: The hall did not answer.
        """
        limit_ms = self.limits.timeout_ms if timeout_ms is None else timeout_ms
        session = self._own().session
        exchange = Exchange(
            action="identity.issue_token",
            body=msgspec.json.encode({"audience": audience}),
            is_signed=True,
            is_safe=True,
        )
        try:
            async with asyncio.timeout(limit_ms / 1_000):
                asked_at_ms = None if self.address.is_http else await self._ask_time()
                answer = await self._deliver(exchange, limit_ms=limit_ms)
        except TimeoutError as error:
            raise self._late(limit_ms) from error
        now_ms = self._world.now_ms()
        return read_token(answer, session.session_id if session else "", asked_at_ms, now_ms)

    async def describe(self) -> Description | None:
        """Return what kind of server this is; None for one that is too old to tell.

        Raises:
            HallUnreachableError: It did not answer, or is no hall.
            CertificateUntrustedError: It is not the one trusted.
        """
        return await self._documents.describe()

    # --- files ------------------------------------------------------------------------------------

    async def upload(self, source: files.Source, *, progress: files.Progress | None = None) -> str:
        """Upload a file and return its SHA-256; see :func:`moothall.client.files.upload`."""
        return await files.upload(self._ask_files, source, progress)

    async def download(
        self,
        sha256: str,
        path: str | Path,
        *,
        is_replacing: bool = False,
        progress: files.Progress | None = None,
    ) -> Path:
        """Fetch a file to ``path``; see :func:`moothall.client.files.download`."""
        return await files.download(
            self._ask_files, sha256, Path(path), is_replacing=is_replacing, progress=progress
        )

    async def _ask_files(self, verb_noun: str, asked: Mapping[str, Any]) -> Any:
        """Call an action of the room of files; each of them may arrive twice."""
        exchange = Exchange(
            action=f"files.{verb_noun}",
            body=msgspec.json.encode(asked),
            is_signed=True,
            is_safe=True,
            attempt_timeout_ms=files.CHUNK_ATTEMPT_MS,
        )
        return _read_result(exchange.action, await self._deliver(exchange), None)

    # --- connections ------------------------------------------------------------------------------

    def _make_channel(self, https_port: int | None) -> Channel:
        return Channel(
            self.address.at_https(https_port),
            self._finder,
            reply_bytes_max=self.limits.reply_bytes_max,
            transport=self._world.transport,
        )

    def _make_link(self, on_notice: OnNotice | None) -> Link:
        return Link(
            self.address.at_feeds(),
            self._finder,
            self._tokens,
            self.limits,
            self._world,
            on_notice,
        )

    async def _acknowledge(self, feed: str, cursor: str) -> None:
        """Tell how far a feed was read; a second time changes nothing, so it may be repeated."""
        body = msgspec.json.encode({"feed": feed, "cursor": cursor})
        await self._deliver(
            Exchange(action="feeds.acknowledge", body=body, is_signed=True, is_safe=True)
        )

    # --- sessions ---------------------------------------------------------------------------------

    async def _renew(self, session: Session) -> Session:
        """Exchange the refresh token for its successor.

        A reply that was lost may be asked for again at once: the hall then gives the same
        successor. So this is repeated, though it is no read.
        """
        asked = {"refresh_token": session.refresh_token}
        return await self._ask_session("refresh_session", asked, is_safe=True)

    async def _ask_session(
        self, verb_noun: str, asked: Mapping[str, str], *, is_safe: bool
    ) -> Session:
        # HTTPS tells the time of the hall with each answer. Elsewhere it is asked for first, so
        # that nothing stands between an answer and its place in the store.
        asked_at_ms = None if self.address.is_http else await self._ask_time()
        answer = await self._ask_identity(verb_noun, asked, is_safe=is_safe)
        return read_session(answer, asked_at_ms, self._world.now_ms())

    async def _ask_time(self) -> int:
        answer = await self._deliver(Exchange(action="hall.ping", is_signed=False, is_safe=True))
        now_ms: int = _read_result("hall.ping", answer, _Pong).now_ms
        return now_ms

    async def _ask_identity(
        self, verb_noun: str, asked: Mapping[str, str], *, is_safe: bool
    ) -> Answer:
        self._own()
        return await self._deliver(
            Exchange(
                action=f"identity.{verb_noun}",
                body=msgspec.json.encode(asked),
                is_signed=False,
                is_safe=is_safe,
                attempt_timeout_ms=_RENEWAL_ATTEMPT_MS if is_safe else None,
            )
        )

    async def _deliver(self, exchange: Exchange, *, limit_ms: int | None = None) -> Answer:
        return await self._courier.deliver(
            exchange, self._tokens.access_token, limit_ms or self.limits.timeout_ms
        )

    def _late(self, limit_ms: int, *, outcome_unknown: bool = False) -> CallTimeoutError:
        return CallTimeoutError(
            f"{self.address.url} did not answer within {limit_ms / 1_000:.3g} s",
            "try again, or give it more time (--timeout)",
            outcome_unknown=outcome_unknown,
        )

    def _own(self) -> SessionKeeper:
        """Return the sessions at this hall; no password must go to one that has none."""
        if self._keeper is None:
            raise SessionElsewhereError(
                f"sessions are not opened at {self.address.url}: it takes tokens of another server",
                "sign in at its identity server",
            )
        return self._keeper


class _Pong(msgspec.Struct, frozen=True):
    """Result of ``hall.ping``."""

    now_ms: int


def _label(device: str) -> dict[str, str]:
    """Return the field of a device's label, if there is one."""
    return {"device": device} if device else {}


def _read_result(action: str, answer: Answer, type_: type[T] | None) -> Any:
    try:
        return msgspec.json.decode(answer.body, type=Any if type_ is None else type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HallUnreachableError(
            f"the answer to {action} is not understood: {error}", outcome_unknown=True
        ) from error
