"""One hall, as a program sees it.

`Hall.call` is the whole of it. Read on in `exchange.py` for what happens to a call that
fails, in `sessions.py` for tokens, in `retry.py` for the rules, in `trust.py` for who is
spoken to.
"""

import asyncio
import email.utils
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import msgspec

from moothall.client.address import parse_address
from moothall.client.catalog import Catalog, read_catalog
from moothall.client.channel import Answer
from moothall.client.errors import CallError, CallTimeoutError, HallUnreachableError
from moothall.client.exchange import HTTP_NOT_MODIFIED, Courier, Exchange, Pin
from moothall.client.retry import Effect, Limits, is_safe_to_repeat
from moothall.client.sessions import SessionKeeper
from moothall.client.store import MemoryStore, Session, Store
from moothall.client.world import World

T = TypeVar("T")
Request = Mapping[str, Any] | msgspec.Struct | None

_ACCESS_LIFETIME_MS_MAX = 3_600_000
_ACCESS_LIFETIME_MS_UNKNOWN = 60_000
_RENEWAL_ATTEMPT_MS = 3_000
"""A hall repeats a renewal for about ten seconds; a lost reply must be noticed before."""

_JSON = {"content-type": "application/json"}


class Hall:
    """A connection to one hall, for programs. Use it in ``async with``.

    Args:
        url: Address, such as ``https://hall.example:8443``.
        certificate_pem: Trust this certificate and no other.
        fingerprint: Trust the certificate with this fingerprint (``sha256:...``) and no
            other. Without either, an authority of the system must vouch for the hall.
        insecure: Allow ``http://`` to this machine.
        store: Where the session and the description of the hall are kept; in memory by
            default.
        limits: Times, repetitions and sizes.
        world: Time, chance and network; tests bring their own.
    """

    def __init__(
        self,
        url: str,
        *,
        certificate_pem: str | None = None,
        fingerprint: str | None = None,
        insecure: bool = False,
        store: Store | None = None,
        limits: Limits | None = None,
        world: World | None = None,
    ) -> None:
        self.address = parse_address(url, insecure=insecure)
        self.limits = limits or Limits()
        self._world = world or World()
        self._store = store or MemoryStore()
        self._courier = Courier(
            self.address, Pin(certificate_pem, fingerprint), self.limits, self._world
        )
        self._keeper = SessionKeeper(self._store, self._renew, self._world)
        self._catalog: Catalog | None = None
        self._describing = asyncio.Lock()

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
        """Close all connections; the session stays open."""
        await self._keeper.close()
        await self._courier.close()

    def __getattr__(self, room: str) -> "Room":
        if room.startswith("_"):
            raise AttributeError(room)
        return Room(self, room)

    @property
    def session(self) -> Session | None:
        """The open session, if there is one."""
        return self._keeper.session

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
                    (Effect(effect), False) if effect else await self._look_up(action)
                )
                key = None
                if known is Effect.WRITE and not is_public:
                    key = idempotency_key or self._world.new_key()
                exchange = Exchange(
                    method="POST",
                    path=f"/v1/{action}",
                    headers={**_JSON, "idempotency-key": key} if key else _JSON,
                    body=msgspec.json.encode({} if request is None else request),
                    is_signed=not is_public,
                    is_safe=is_safe_to_repeat(known, key),
                )
                answer = await self._courier.deliver(exchange, self._keeper.access_token, limit_ms)
        except TimeoutError as error:
            raise CallTimeoutError(
                f"{self.address.url} did not answer within {limit_ms / 1_000:.3g} s",
                "try again, or give it more time (--timeout)",
                outcome_unknown=True,
            ) from error
        return _read_result(action, answer, type)

    async def catalog(self, *, is_fresh: bool = False) -> Catalog:
        """Return what the hall offers; asked for once, then remembered.

        Args:
            is_fresh: Ask the hall whether it has changed since.
        """
        async with self._describing:
            if self._catalog is None or is_fresh:
                self._catalog = await self._fetch_catalog()
            return self._catalog

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
        answer = await self._ask_identity("open_session", asked, is_safe=False)
        session = self._read_session(answer)
        await self._keeper.replace(session)
        return session

    async def sign_in_guest(self, *, device: str = "") -> Session:
        """Open a session as a guest, without name and password, if the hall has guests.

        Args:
            device: See :meth:`sign_in`.

        Raises:
            CallError: failed_precondition. It has none; or another refusal.
        """
        answer = await self._ask_identity("register_guest", _label(device), is_safe=False)
        session = self._read_session(answer)
        await self._keeper.replace(session)
        return session

    async def sign_out(self) -> None:
        """End the session on the hall and forget it here, also if the hall is away.

        Raises:
            HallUnreachableError: The session is forgotten here only.
        """
        try:
            if self.session is not None:
                await self.call("identity.close_session", effect=Effect.WRITE)
        except CallError as error:
            if error.error_name != "unauthenticated":
                raise
        finally:
            await self._keeper.replace(None)

    # --- what the hall offers ---------------------------------------------------------------------

    async def _look_up(self, action: str) -> tuple[Effect | None, bool]:
        """Return what an action does, and whether it is public; unknown is None."""
        for is_fresh in (False, True):
            operation = (await self.catalog(is_fresh=is_fresh)).operations.get(action)
            if operation is not None:
                return operation.effect, operation.is_public
        return None, False

    async def _fetch_catalog(self) -> Catalog:
        kept = self._store.load_catalog()
        exchange = Exchange(
            method="GET",
            path="/openapi.json",
            headers={"if-none-match": kept[0]} if kept else {},
            is_signed=False,
            is_safe=True,
        )
        answer = await self._deliver(exchange)
        if answer.status == HTTP_NOT_MODIFIED and kept:
            return read_catalog(kept[1])
        catalog = read_catalog(answer.body)
        if etag := answer.headers.get("etag"):
            self._store.save_catalog(etag, answer.body)
        return catalog

    # --- sessions ---------------------------------------------------------------------------------

    async def _renew(self, session: Session) -> Session:
        """Exchange the refresh token for its successor.

        A reply that was lost may be asked for again at once: the hall then gives the same
        successor. So this is repeated, though it is no read.
        """
        asked = {"refresh_token": session.refresh_token}
        return self._read_session(await self._ask_identity("refresh_session", asked, is_safe=True))

    async def _ask_identity(
        self, verb_noun: str, asked: Mapping[str, str], *, is_safe: bool
    ) -> Answer:
        return await self._deliver(
            Exchange(
                method="POST",
                path=f"/v1/identity.{verb_noun}",
                headers=_JSON,
                body=msgspec.json.encode(asked),
                is_signed=False,
                is_safe=is_safe,
                attempt_timeout_ms=_RENEWAL_ATTEMPT_MS if is_safe else None,
            )
        )

    async def _deliver(self, exchange: Exchange) -> Answer:
        return await self._courier.deliver(
            exchange, self._keeper.access_token, self.limits.timeout_ms
        )

    def _read_session(self, answer: Answer) -> Session:
        try:
            opened = msgspec.json.decode(answer.body, type=_OpenedSession)
        except msgspec.DecodeError as error:
            raise HallUnreachableError(f"the new session is not understood: {error}") from error
        now_ms = self._world.now_ms()
        return Session(
            name=opened.name,
            member_id=opened.member_id,
            session_id=opened.session_id,
            refresh_token=opened.refresh_token,
            refresh_expires_at_ms=opened.refresh_expires_at_ms,
            access_token=opened.access_token,
            access_lifetime_ms=_lifetime_ms(opened.access_expires_at_ms, answer, now_ms),
            received_at_ms=now_ms,
        )


class Room:
    """The actions of one room as methods: ``hall.leaderboards.get_rank(board_id="7")``."""

    def __init__(self, hall: Hall, name: str) -> None:
        self._hall = hall
        self._name = name

    def __getattr__(self, verb_noun: str) -> Callable[..., Awaitable[Any]]:
        if verb_noun.startswith("_"):
            raise AttributeError(verb_noun)

        def method(**request: Any) -> Awaitable[Any]:
            return self._hall.call(f"{self._name}.{verb_noun}", request)

        return method


class _OpenedSession(msgspec.Struct, frozen=True):
    """Result of ``identity.open_session`` and ``identity.refresh_session``."""

    session_id: str
    member_id: str
    name: str
    refresh_token: str
    refresh_expires_at_ms: int
    access_token: str
    access_expires_at_ms: int


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


def _lifetime_ms(expires_at_ms: int, answer: Answer, now_ms: int) -> int:
    """Return the life of a token, by the hall's own clock where its answer tells it."""
    try:
        sent = email.utils.parsedate_to_datetime(answer.headers.get("date", ""))
        now_ms = int(sent.timestamp() * 1_000)
    except (ValueError, TypeError):
        pass
    lifetime_ms = expires_at_ms - now_ms
    if 0 < lifetime_ms <= _ACCESS_LIFETIME_MS_MAX:
        return lifetime_ms
    return _ACCESS_LIFETIME_MS_UNKNOWN
