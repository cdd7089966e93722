"""The HTTPS door: a request to the hall and its answer, or an error that says how far it came.

All that is known of httpx stands here. Errors are translated at this one spot, and tell
apart what the retry rules need: nothing was sent, or the outcome is unknown.
"""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

import httpx

from moothall import __version__
from moothall.client.address import Address
from moothall.client.errors import CallTimeoutError, HallUnreachableError
from moothall.client.exchange import Answer, Exchange
from moothall.client.trust import Trust, TrustFinder, make_tls, unreachable

_CONNECT_TIMEOUT_S = 10.0
_CONNECTIONS_MAX = 32
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class Channel:
    """Connections to one hall, opened when needed and kept for the next call; a ``Carrier``."""

    def __init__(
        self,
        address: Address,
        finder: TrustFinder,
        *,
        reply_bytes_max: int,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._address = address
        self._finder = finder
        self._trust = Trust("insecure")
        self._reply_bytes_max = reply_bytes_max
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()

    async def carry(self, exchange: Exchange, token: str | None, timeout_s: float) -> Answer:
        """Send one request and read the answer; see ``Carrier``."""
        headers = dict(exchange.headers)
        method, path = "GET", exchange.path
        if exchange.action:
            method, path = "POST", f"/v1/{exchange.action}"
            headers["content-type"] = "application/json"
        if exchange.idempotency_key:
            headers["idempotency-key"] = exchange.idempotency_key
        if token:
            headers["authorization"] = f"Bearer {token}"
        phases = httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S))
        client = await self._open()
        try:
            async with asyncio.timeout(timeout_s):
                return await self._exchange(
                    client.stream(
                        method, path, content=exchange.body, headers=headers, timeout=phases
                    )
                )
        except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout) as error:
            raise CallTimeoutError(
                f"{self._address.url} did not answer within {timeout_s:.3g} s",
                "try again, or give it more time (--timeout)",
                outcome_unknown=True,
            ) from error
        except httpx.HTTPError as error:
            raise await self._translate(error) from error

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _open(self) -> httpx.AsyncClient:
        async with self._opening:
            if self._client is None:
                address = self._address
                self._trust = await self._finder.find(address)
                self._client = httpx.AsyncClient(
                    base_url=address.url,
                    verify=make_tls(self._trust) or False,
                    transport=self._transport,
                    headers={"user-agent": f"moothall/{__version__}", "accept": "application/json"},
                    limits=httpx.Limits(max_connections=_CONNECTIONS_MAX),
                    # A proxy must never see plain text, and has no way to this machine.
                    trust_env=address.is_tls and not address.is_loopback,
                    follow_redirects=False,
                )
            return self._client

    async def _exchange(self, request: AbstractAsyncContextManager[httpx.Response]) -> Answer:
        async with request as response:
            pieces: list[bytes] = []
            size = 0
            async for piece in response.aiter_bytes():
                size += len(piece)
                if size > self._reply_bytes_max:
                    raise HallUnreachableError(
                        f"the answer is larger than {self._reply_bytes_max} bytes",
                        "ask for fewer rows",
                        outcome_unknown=True,
                    )
                pieces.append(piece)
            return Answer(response.status_code, dict(response.headers.items()), b"".join(pieces))

    async def _translate(self, error: httpx.HTTPError) -> Exception:
        for cause in _causes(error):
            if isinstance(cause, ssl.SSLCertVerificationError):
                return await self._finder.explain(self._address, self._trust, cause.verify_message)
        if isinstance(error, _NOT_SENT):
            return unreachable(self._address, error)
        return HallUnreachableError(
            f"the connection to {self._address.url} broke ({type(error).__name__})",
            "look whether the deed was done before trying again",
            outcome_unknown=True,
        )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Walk from an error to those that it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
