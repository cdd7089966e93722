"""A request, sent until it is answered: `Courier.deliver` is the road of a call.

What is repeated follows from the rules in `retry.py`; who is spoken to, from `trust.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from moothall.client.address import Address
from moothall.client.channel import Answer, Channel
from moothall.client.errors import CallError, CertificateUntrustedError, HallUnreachableError
from moothall.client.problems import read_problem
from moothall.client.retry import Limits, may_succeed_later, wait_ms
from moothall.client.trust import (
    Trust,
    fetch_certificate,
    fingerprint_of,
    is_same_fingerprint,
)
from moothall.client.world import World

HTTP_OK = 200
HTTP_NOT_MODIFIED = 304

FindToken = Callable[[str | None], Awaitable[str | None]]
"""From a token that was refused, or None, to one that should be valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request as it is sent, each time the same.

    Attributes:
        method: HTTP method.
        path: Path at the hall.
        headers: Headers, with the idempotency key, without the token.
        body: JSON text.
        is_signed: It carries the access token.
        is_safe: It does no harm if it arrives twice.
        attempt_timeout_ms: Time for one attempt, where it is not the usual one.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    is_signed: bool
    is_safe: bool
    attempt_timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Pin:
    """By what a hall is to be known; without either, by an authority of the system."""

    certificate_pem: str | None = None
    fingerprint: str | None = None


class Courier:
    """Takes requests to one hall and brings the answers."""

    def __init__(self, address: Address, pin: Pin, limits: Limits, world: World) -> None:
        self._address = address
        self._pin = pin
        self._limits = limits
        self._world = world
        self._channel: Channel | None = None
        self._opening = asyncio.Lock()

    async def deliver(self, exchange: Exchange, find_token: FindToken, limit_ms: int) -> Answer:
        """Send, and send again where the rules allow it.

        Raises:
            CallError: The hall refused.
            CallTimeoutError: The time is up.
            HallUnreachableError: The hall did not answer.
            CertificateUntrustedError: The hall is not the one trusted.
        """
        ends_s = self._world.monotonic() + limit_ms / 1_000
        repetition = 0
        rejected: str | None = None
        while True:
            token = await find_token(rejected) if exchange.is_signed else None
            outcome = await self._try_once(exchange, token, ends_s)
            if isinstance(outcome, Answer):
                return outcome
            if token and rejected is None and _is_stale_token(outcome):
                rejected = token
                continue
            repetition += 1
            if repetition > self._limits.retries or not _may_repeat(exchange, outcome):
                raise outcome
            asked_ms = outcome.retry_after_ms if isinstance(outcome, CallError) else None
            wait_s = wait_ms(self._limits, repetition, self._world.fraction(), asked_ms) / 1_000
            if self._world.monotonic() + wait_s >= ends_s:
                raise outcome
            await self._world.sleep(wait_s)

    async def close(self) -> None:
        """Close all connections."""
        if self._channel is not None:
            await self._channel.close()

    async def _try_once(
        self, exchange: Exchange, token: str | None, ends_s: float
    ) -> Answer | CallError | HallUnreachableError:
        headers = dict(exchange.headers)
        if token:
            headers["authorization"] = f"Bearer {token}"
        left_s = max(ends_s - self._world.monotonic(), 0.001)
        if exchange.is_safe and self._limits.retries:
            attempt_ms = exchange.attempt_timeout_ms or self._limits.attempt_timeout_ms
            left_s = min(left_s, attempt_ms / 1_000)
        try:
            channel = await self._open()
            answer = await channel.send(
                exchange.method,
                exchange.path,
                body=exchange.body,
                headers=headers,
                timeout_s=left_s,
            )
        except HallUnreachableError as error:
            return error
        if answer.status in {HTTP_OK, HTTP_NOT_MODIFIED}:
            return answer
        return read_problem(answer)

    async def _open(self) -> Channel:
        async with self._opening:
            if self._channel is None:
                self._channel = Channel(
                    self._address,
                    await self._find_trust(),
                    reply_bytes_max=self._limits.reply_bytes_max,
                    transport=self._world.transport,
                )
            return self._channel

    async def _find_trust(self) -> Trust:
        if not self._address.is_tls:
            return Trust("insecure")
        if self._pin.certificate_pem is not None:
            return Trust("pinned", self._pin.certificate_pem)
        if self._pin.fingerprint is None:
            return Trust("system")
        shown = await fetch_certificate(self._address)
        check_fingerprint(self._address, self._pin.fingerprint, shown)
        return Trust("pinned", shown)


def check_fingerprint(address: Address, expected: str, certificate_pem: str) -> None:
    """Refuse a certificate that has not the fingerprint expected.

    Raises:
        CertificateUntrustedError: It has another one.
    """
    shown = fingerprint_of(certificate_pem)
    if not is_same_fingerprint(expected, shown):
        raise CertificateUntrustedError(
            f"{address.url} shows another certificate than the expected one",
            "ask the operator of the hall for the fingerprint",
            expected=expected,
            shown=shown,
        )


def _is_stale_token(failure: CallError | HallUnreachableError) -> bool:
    """Tell whether the hall refused the token itself, and not what was proven with it."""
    return isinstance(failure, CallError) and failure.error_name == "unauthenticated"


def _may_repeat(exchange: Exchange, failure: CallError | HallUnreachableError) -> bool:
    if isinstance(failure, CallError):
        return exchange.is_safe and may_succeed_later(failure.answer)
    return exchange.is_safe or not failure.outcome_unknown
