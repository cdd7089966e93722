"""Time, chance and network as a client meets them; tests bring their own."""

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moothall.client.trust import Connect, connect

if TYPE_CHECKING:
    import httpx


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _new_key() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Time, chance and network.

    Attributes:
        monotonic: Seconds that never go back; every duration is measured with it.
        now_ms: UTC epoch milliseconds; only for what outlives the process.
        sleep: Waits for a number of seconds.
        fraction: Random number, 0 to 1.
        new_key: A fresh idempotency key.
        connect: Opens a connection that stays.
        transport: Stands in for the network where HTTP requests go.
    """

    monotonic: Callable[[], float] = time.monotonic
    now_ms: Callable[[], int] = _now_ms
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    fraction: Callable[[], float] = random.random
    new_key: Callable[[], str] = _new_key
    connect: Connect = connect
    transport: "httpx.AsyncBaseTransport | None" = None
