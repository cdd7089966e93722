"""Password hashing in a bounded pool of threads."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher as Argon2
from argon2.exceptions import InvalidHashError, VerificationError

from moothall.core.errors import OverloadedError

T = TypeVar("T")

HASH_MEMORY_KIB = 19_456
HASH_PASSES = 2
HASH_LANES = 1
"""Argon2id with 19 MiB, 2 passes, 1 lane: OWASP Password Storage Cheat Sheet."""

NOBODY = f"$argon2id$v=19$m={HASH_MEMORY_KIB},t={HASH_PASSES},p={HASH_LANES}${'A' * 22}${'A' * 43}"
"""Hash to compare with where there is none: as long to check as any, and of no password."""

HASHES_WAITING_MAX = 64
"""Passwords that may wait for the pool: about a second of work on two cores."""


NICENESS = 10
"""How far hashing stands back behind whoever else wants the processor (nice(2))."""


def _step_back() -> None:
    """Let the loop go first: a burst of sign-ins takes what others leave, and all of that."""
    if sys.platform == "linux":  # where a thread has a niceness of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


class Argon2Pool:
    """Argon2id in threads, as many as there are cores. Implements the PasswordHasher port."""

    def __init__(self) -> None:
        """Make the pool; its threads come with the first password."""
        self._argon2 = Argon2(HASH_PASSES, HASH_MEMORY_KIB, HASH_LANES)
        self._threads = ThreadPoolExecutor(
            os.cpu_count() or 1, thread_name_prefix="moothall-hash", initializer=_step_back
        )
        self._running = 0

    async def hash(self, password: str) -> str:
        """Return the hash to keep."""
        return await self._run(lambda: self._argon2.hash(password))

    async def verify(self, known: str | None, password: str) -> bool:
        """Tell whether ``password`` belongs to ``known``; takes its time for None too."""
        return await self._run(lambda: self._matches(known or NOBODY, password)) and bool(known)

    def is_outdated(self, known: str) -> bool:
        """Tell whether ``known`` was made with other parameters than today's."""
        return self._argon2.check_needs_rehash(known)

    def _matches(self, known: str, password: str) -> bool:
        try:
            return self._argon2.verify(known, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        """Run ``work`` on a thread of the pool, unless too much waits for it."""
        if self._running >= HASHES_WAITING_MAX:
            raise OverloadedError("too many people are signing in", retry_after_ms=1_000)
        self._running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._running -= 1
