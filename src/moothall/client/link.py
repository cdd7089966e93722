"""The way to a hall by connections that stay: opened when needed, signed in, renewed in place."""

import asyncio

from moothall.client.address import Address
from moothall.client.courier import is_stale_token
from moothall.client.errors import CallError, CallTimeoutError, ClientError
from moothall.client.exchange import Answer, Exchange
from moothall.client.frames import Notice
from moothall.client.line import SESSION_CHANGED, Ending, Line, OnNotice
from moothall.client.retry import Limits, may_succeed_later
from moothall.client.tokens import TokenSource
from moothall.client.trust import TrustFinder
from moothall.client.wire import open_wire
from moothall.client.world import World

_CONNECT_TIMEOUT_S = 10.0
_RENEWAL_PAUSE_S = 1.0
"""Between two looks at a token that could not be renewed."""


class Link:
    """One connection at a time to one hall; a ``Carrier``.

    Args:
        address: Of a WebSocket or of JSON lines.
        finder: Knows who is to be trusted.
        tokens: Gives access tokens.
        on_notice: Takes events and endings of feeds.
    """

    def __init__(
        self,
        address: Address,
        finder: TrustFinder,
        tokens: TokenSource,
        limits: Limits,
        world: World,
        on_notice: OnNotice | None = None,
    ) -> None:
        self._address = address
        self._finder = finder
        self._tokens = tokens
        self._limits = limits
        self._world = world
        self._on_notice = on_notice or _pass_over
        self._line: Line | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._bound_to: str | None = None

    async def carry(self, exchange: Exchange, token: str | None, timeout_s: float) -> Answer:
        """Send one request and read the answer; see ``Carrier``."""
        ends_s = self._world.monotonic() + timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._ready(token, is_signed=exchange.is_signed)
        except TimeoutError as error:
            raise CallTimeoutError(
                f"{self._address.url} opened no connection within {timeout_s:.3g} s",
                "try again, or give it more time (--timeout)",
            ) from error
        return await line.call(
            exchange.action,
            exchange.body,
            key=exchange.idempotency_key,
            timeout_s=max(ends_s - self._world.monotonic(), 0.001),
        )

    async def open_signed(self) -> Line:
        """Return a connection that is signed in, if there is a session.

        Raises:
            CallError: The hall refused; the session may be over.
            HallUnreachableError: The hall did not answer.
            CertificateUntrustedError: It is not the one trusted; nothing was sent.
        """
        token = await self._tokens.access_token()
        try:
            return await self._ready(token, is_signed=True)
        except CallError as error:
            if token is None or not is_stale_token(error):
                raise
        return await self._ready(await self._tokens.access_token(token), is_signed=True)

    async def close(self) -> None:
        """Close the connection."""
        line, self._line = self._line, None
        await self._stop_renewal()
        if line is not None:
            await line.close()

    async def _ready(self, token: str | None, *, is_signed: bool) -> Line:
        async with self._opening:
            line = self._line
            if line is not None and (
                not line.is_usable or (is_signed and token is None and line.token is not None)
            ):
                # Who signed out must not go on under the old name.
                await self.close()
                line = None
            if line is None:
                line = self._line = await self._open()
            if is_signed and token is not None and line.token != token:
                await line.authenticate(token, _CONNECT_TIMEOUT_S)
                self._bound_to = self._session_id
                if self._renewal is None:
                    self._renewal = asyncio.create_task(self._keep_signed(line))
            return line

    async def _open(self) -> Line:
        wire = await open_wire(
            self._address,
            self._finder,
            self._world.connect,
            message_bytes_max=self._limits.reply_bytes_max,
            timeout_s=_CONNECT_TIMEOUT_S,
        )
        return Line(self._address.url, wire, self._limits, self._world, self._on_notice)

    async def _keep_signed(self, line: Line) -> None:
        """Renew the token in place before it ends, as long as the connection lives."""
        while line.is_usable:
            await self._world.sleep(max(self._tokens.fresh_s, _RENEWAL_PAUSE_S))
            try:
                token = await self._tokens.access_token()
                if token is None:
                    return
                if self._session_id != self._bound_to:
                    # To rebind the connection would end its feeds without a word.
                    line.end(Ending(SESSION_CHANGED, "another session was opened here"))
                    return
                async with self._opening:
                    if line.token != token:
                        await line.authenticate(token, _CONNECT_TIMEOUT_S)
            except CallError as error:
                if not may_succeed_later(error.answer):
                    # The session is over; the hall tells the connection so by itself.
                    return
            except ClientError:
                continue

    @property
    def _session_id(self) -> str | None:
        session = self._tokens.session
        return None if session is None else session.session_id

    async def _stop_renewal(self) -> None:
        renewal, self._renewal = self._renewal, None
        if renewal is not None:
            renewal.cancel()
            await asyncio.wait([renewal])


def _pass_over(_notice: Notice) -> None:
    """Take no notice: calls need none."""
