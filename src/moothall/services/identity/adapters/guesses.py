"""Guesses that are under way: reserved and not answered yet, and whoever waits for an answer.

A reserved guess counts as wrong until it is answered, so several right sign-ins of one account
in the same moment use up all its guesses at once. Whoever comes next finds a lock that one of
the answers may lift, and waits for it here. The rows alone decide who is let in: this is only
about when to ask them again, and it knows nothing of other processes.
"""

import asyncio
from collections import deque
from contextlib import suppress

from moothall.core.units import SECOND_MS
from moothall.services.identity.model import LockoutSettings


class _Name:
    """Guesses under way of one account, or of one name that nobody has."""

    __slots__ = ("under_way", "waiting")

    def __init__(self) -> None:
        self.under_way = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class GuessesUnderWay:
    """Counts the guesses under way in this process, and wakes who waits for their answers."""

    def __init__(self, settings: LockoutSettings) -> None:
        """Begin with none."""
        self._settings = settings
        self._names: dict[str, _Name] = {}
        self._waiting = 0

    def __len__(self) -> int:
        """Return of how many names guesses are under way."""
        return len(self._names)

    def begin(self, key: str) -> None:
        """Count a guess that is reserved."""
        self._names.setdefault(key, _Name()).under_way += 1

    def end(self, key: str) -> None:
        """Count a guess as answered, however that went.

        The first who waits asks again. After the last answer all do, so that nobody waits for
        nothing: whoever was woken and gave up at the same time has woken nobody else.
        """
        name = self._names[key]
        name.under_way -= 1
        if name.under_way == 0:
            del self._names[key]
        while name.waiting:
            future = name.waiting.popleft()
            if not future.done():
                future.set_result(None)
                if name.under_way:
                    break

    async def wait(self, key: str, until_s: float) -> bool:
        """Wait for an answer; False if none is to come, too many wait, or it takes too long.

        Args:
            key: Of the account or name.
            until_s: By the clock of the running loop.
        """
        name, settings = self._names.get(key), self._settings
        if name is None or len(name.waiting) >= settings.waiting_per_account_max:
            return False
        if self._waiting >= settings.waiting_max:
            return False
        future = asyncio.get_running_loop().create_future()
        name.waiting.append(future)
        self._waiting += 1
        try:
            async with asyncio.timeout_at(until_s):
                await future
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
            with suppress(ValueError):  # Whoever was woken is not in the row any more.
                name.waiting.remove(future)
        return True


class Turn:
    """One call's guess, from its reservation to its answer.

    It may be cut off while the reservation is being made durable; so it begins with the commit
    (:meth:`begin` is a hook), and a turn that is over does not begin any more.
    """

    def __init__(self, guesses: GuessesUnderWay, wait_ms_max: int) -> None:
        """Wait for others until ``wait_ms_max`` from now, if that must be."""
        self._guesses = guesses
        self._until_s = asyncio.get_running_loop().time() + wait_ms_max / SECOND_MS
        self._key: str | None = None
        self._is_over = False

    def begin(self, key: str) -> None:
        """Count the guess, now that it is reserved."""
        if not self._is_over:
            self._key = key
            self._guesses.begin(key)

    async def wait(self, key: str) -> bool:
        """Wait for the answer to another guess; False if it is no use to ask again."""
        return await self._guesses.wait(key, self._until_s)

    def end(self) -> None:
        """Count the guess as answered, if it was ever reserved."""
        self._is_over = True
        if self._key is not None:
            self._guesses.end(self._key)
