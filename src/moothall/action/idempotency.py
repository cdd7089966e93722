"""Remembered replies: a repeated WRITE has no second effect (R34).

The reply commits with the deed, so it is known exactly when the deed was done.
Errors are not remembered: nothing was done, so the call may be tried again.

Rows are kept by day. A call looks at today, at yesterday, and at tomorrow; what is older
is swept. So a reply is remembered for 24 hours at least, and for 49 at most while the hall runs.
The days are those of a clock of its own, which nobody can set (:class:`ReplyClock`).
"""

from hashlib import blake2b
from typing import NamedTuple

from moothall.core.errors import InternalError, KeyReusedError, ReplyNotKeptError
from moothall.core.units import DAY_MS, HOUR_MS, KIBIBYTE, SECOND_MS
from moothall.ports.clock import Clock
from moothall.ports.database import Transaction

REPLY_BYTES_MAX = 256 * KIBIBYTE
SWEPT_ROWS_MAX = 500
NODES_DIFFER_MS = HOUR_MS
"""The clocks of two nodes differ by less: each writes its own down every ten minutes."""

_FIND_ON = """
SELECT request_digest, reply FROM action_reply
WHERE day = ${day} AND actor = $4 AND action = $5 AND key = $6
"""
# Not `day IN (...)`: SQLite builds a table of the list each time, for twice the price.
_FIND = " UNION ALL ".join(_FIND_ON.format(day=day) for day in (1, 2, 3))
_INSERT = """
INSERT INTO action_reply (day, actor, action, key, request_digest, reply)
VALUES ($1, $2, $3, $4, $5, $6)
"""
_KEEP = """
UPDATE action_reply_clock SET now_ms = CASE WHEN now_ms < $1 THEN $1 ELSE now_ms END
WHERE id = 1 RETURNING now_ms
"""
_SWEEP = """
DELETE FROM action_reply WHERE (day, actor, action, key) IN (
  SELECT day, actor, action, key FROM action_reply WHERE day < $1 LIMIT $2)
"""


class Scope(NamedTuple):
    """Within which a key is one key; the keys of two members never meet."""

    actor: str
    action: str
    key: str


class ReplyClock:
    """The time by which replies are kept: steady time alone, added up over all runs of the hall.

    The clock on the wall may be wrong and set right, over a restart too, and then no key may be
    forgotten early. So it is looked at once, when a hall is made. While the hall is down, this
    clock stands still, and what the last run has not written down (:meth:`keep`) is lost to it:
    replies are kept longer for that, never shorter.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin with the time on the wall, until :meth:`load` knows better."""
        self._clock = clock
        self._began_ms = clock.now_ms()
        self._began_s = clock.monotonic()

    async def load(self, tx: Transaction) -> None:
        """Go on where the last run was; in a hall that is older than this, at its newest reply."""
        row = await tx.fetch_one("SELECT now_ms FROM action_reply_clock WHERE id = 1")
        if row is None:
            newest = await tx.fetch_one("SELECT max(day) FROM action_reply")
            if newest is not None and newest[0] is not None:
                self._began_ms = newest[0] * DAY_MS
            await tx.execute(
                "INSERT INTO action_reply_clock (id, now_ms) VALUES (1, $1)", self._began_ms
            )
        else:
            self._began_ms = row[0]
        self._began_s = self._clock.monotonic()

    async def keep(self, tx: Transaction) -> None:
        """Write down how far it went; where another node's went further, go on from there."""
        row = await tx.fetch_one(_KEEP, self.now_ms())
        if row is not None and row[0] > self.now_ms():
            self._began_ms += row[0] - self.now_ms()

    def now_ms(self) -> int:
        """Return milliseconds that never go back, and seldom are UTC's."""
        return self._began_ms + int((self._clock.monotonic() - self._began_s) * SECOND_MS)


def digest_of(request: bytes) -> str:
    """Return a digest of the request in its one canonical encoding."""
    return blake2b(request, digest_size=16).hexdigest()


async def find_reply(
    tx: Transaction, scope: Scope, request_digest: str, now_ms: int
) -> bytes | None:
    """Return the remembered reply, or None if this key is new.

    Raises:
        KeyReusedError: The key was used for another request.
        ReplyNotKeptError: The deed was done, and its reply held a secret.
    """
    if _is_near_midnight(now_ms):
        await tx.lock(f"action.reply:{':'.join(scope)}")
    today = now_ms // DAY_MS
    row = await tx.fetch_one(_FIND, today - 1, today, today + 1, *scope)
    if row is None:
        return None
    known_digest, reply = row
    if known_digest != request_digest:
        raise KeyReusedError(
            "the key was used for another request", remedy="take a new key for a new request"
        )
    if reply is None:
        raise ReplyNotKeptError
    text: str = reply
    return text.encode()


def _is_near_midnight(now_ms: int) -> bool:
    """Tell whether another node may be on another day.

    Then the same call at both would remember its reply in two rows, which are not in each other's
    way, and would be carried out twice; at other times the row's key sees to that.
    """
    return (now_ms + NODES_DIFFER_MS) // DAY_MS != (now_ms - NODES_DIFFER_MS) // DAY_MS


async def remember_reply(
    tx: Transaction, scope: Scope, request_digest: str, reply: bytes | None, now_ms: int
) -> None:
    """Keep ``reply`` (None where it holds a secret) under ``scope``."""
    if reply is not None and len(reply) > REPLY_BYTES_MAX:
        msg = f"a reply of {len(reply)} bytes cannot be remembered (at most {REPLY_BYTES_MAX})"
        raise InternalError(msg)
    text = None if reply is None else reply.decode()
    await tx.append(_INSERT, now_ms // DAY_MS, *scope, request_digest, text)


async def sweep_replies(tx: Transaction, now_ms: int) -> int:
    """Forget at most 500 replies older than a day and return how many."""
    return await tx.execute(_SWEEP, (now_ms - NODES_DIFFER_MS) // DAY_MS - 1, SWEPT_ROWS_MAX)
