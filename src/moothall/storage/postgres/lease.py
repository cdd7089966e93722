"""RowLease: which node keeps house, by one row and the database's own clock."""

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from moothall.ports.database import Database

LEASE_SECONDS = 8.0
"""How long a node that is gone is waited for."""

RENEW_SECONDS = 2.0

_NOW = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_TAKE = f"""
INSERT INTO action_lease (name, holder, until_ms) VALUES ($1, $2, {_NOW} + $3)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms
WHERE action_lease.holder = excluded.holder OR action_lease.until_ms <= {_NOW}
"""
_RELEASE = "DELETE FROM action_lease WHERE name = $1 AND holder = $2"
_NAME = "jobs"

_log = structlog.get_logger("moothall.lease")


class RowLease:
    """Implements Lease: one lease for all jobs of the hall, renewed every two seconds.

    A node believes that it holds the lease for less long than the database does, whatever the
    clocks are: it counts from before it asked.

    Attributes:
        on_lost: Called when it holds the lease no more, also if only its time has run out.
    """

    def __init__(
        self,
        database: Database,
        holder: str,
        *,
        lease_seconds: float = LEASE_SECONDS,
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        """Hold it as ``holder``, a name that no other process has."""
        self._database = database
        self._holder = holder
        self._lease_seconds = lease_seconds
        self._renew_seconds = renew_seconds
        self.on_lost: Callable[[], None] = lambda: None
        self._until = float("-inf")
        self._end: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._asking = asyncio.Lock()

    def is_held(self) -> bool:
        """Tell whether this node holds it."""
        return asyncio.get_running_loop().time() < self._until

    async def start(self) -> None:
        """Ask for it now, and renew or ask again until the end."""
        await self._ask()
        self._task = asyncio.get_running_loop().create_task(self._repeat())

    async def close(self) -> None:
        """Let another node have it at once."""
        if self._task is None:
            return
        async with self._asking:  # a renewal that is under way must not come after the release
            self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._believe_until(float("-inf"))  # before another node can have it
        with contextlib.suppress(Exception):  # it runs out by itself
            await self._database.write(lambda tx: tx.execute(_RELEASE, _NAME, self._holder))

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(self._renew_seconds)
            async with self._asking:
                await self._ask()

    async def _ask(self) -> None:
        """Take or renew it, if nobody else has it."""
        began = asyncio.get_running_loop().time()
        milliseconds = int(self._lease_seconds * 1_000)
        was_held = self.is_held()
        try:
            taken = await self._database.write(
                lambda tx: tx.execute(_TAKE, _NAME, self._holder, milliseconds)
            )
        except Exception as error:  # noqa: BLE001 - it is tried again, or runs out
            _log.warning("the lease was not renewed", error=str(error))
            return
        self._believe_until(began + self._lease_seconds if taken else float("-inf"))
        if bool(taken) is not was_held:
            _log.info("this node keeps house" if taken else "another node keeps house")

    def _believe_until(self, until: float) -> None:
        """Hold it until then, by the clock of the running loop, unless it is renewed."""
        loop = asyncio.get_running_loop()
        if self._end is not None:
            self._end.cancel()
            self._end = None
        self._until = until
        if self.is_held():
            self._end = loop.call_at(until, lambda: self.on_lost())  # noqa: PLW0108 - it may be set after this
        else:
            self.on_lost()
