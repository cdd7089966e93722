"""A request, sent until it is answered: `Courier.deliver` is the road of a call.

What is repeated follows from the rules in `retry.py`; by which door it goes is the carrier's.
"""

from moothall.client.errors import CallError, HallUnreachableError
from moothall.client.exchange import (
    HTTP_NOT_MODIFIED,
    HTTP_OK,
    Answer,
    Carrier,
    Exchange,
    FindToken,
)
from moothall.client.problems import read_problem
from moothall.client.retry import Limits, may_succeed_later, wait_ms
from moothall.client.world import World


class Courier:
    """Takes requests to one hall and brings the answers."""

    def __init__(self, carrier: Carrier, limits: Limits, world: World) -> None:
        self._carrier = carrier
        self._limits = limits
        self._world = world

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
            if token and rejected is None and is_stale_token(outcome):
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
        await self._carrier.close()

    async def _try_once(
        self, exchange: Exchange, token: str | None, ends_s: float
    ) -> Answer | CallError | HallUnreachableError:
        left_s = max(ends_s - self._world.monotonic(), 0.001)
        if exchange.is_safe and self._limits.retries:
            attempt_ms = exchange.attempt_timeout_ms or self._limits.attempt_timeout_ms
            left_s = min(left_s, attempt_ms / 1_000)
        try:
            answer = await self._carrier.carry(exchange, token, left_s)
        except (CallError, HallUnreachableError) as error:
            return error
        if answer.status in {HTTP_OK, HTTP_NOT_MODIFIED}:
            return answer
        return read_problem(answer)


def is_stale_token(failure: CallError | HallUnreachableError) -> bool:
    """Tell whether the hall refused the token itself, and not what was proven with it."""
    return isinstance(failure, CallError) and failure.error_name == "unauthenticated"


def _may_repeat(exchange: Exchange, failure: CallError | HallUnreachableError) -> bool:
    if isinstance(failure, CallError):
        return exchange.is_safe and may_succeed_later(failure.answer)
    return exchange.is_safe or not failure.outcome_unknown
