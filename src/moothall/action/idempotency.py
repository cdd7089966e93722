"""Remembered replies: a repeated WRITE has no second effect (R34).

The reply commits with the deed, so it is known exactly when the deed was done.
Errors are not remembered: nothing was done, so the call may be tried again.
"""

from hashlib import blake2b

from moothall.core.errors import InternalError, KeyReusedError, ReplyNotKeptError
from moothall.core.units import DAY_MS, KIBIBYTE
from moothall.ports.database import Transaction

KEPT_MS = DAY_MS
"""How long a reply is remembered at least."""

REPLY_BYTES_MAX = 256 * KIBIBYTE

KEY_LENGTH_MAX = 255

_FIND = "SELECT request_digest, reply FROM action_reply WHERE scope = $1"
_INSERT = """
INSERT INTO action_reply (scope, request_digest, reply, at_ms) VALUES ($1, $2, $3, $4)
"""
_SWEEP = """
DELETE FROM action_reply WHERE scope IN (
  SELECT scope FROM action_reply WHERE at_ms < $1 ORDER BY at_ms LIMIT 500)
"""


def scope_of(actor: str, action: str, key: str) -> str:
    """Return one short name for (actor, action, key); keys of two members never meet."""
    text = f"{len(actor)}:{actor}{action}\n{key}"
    return blake2b(text.encode(), digest_size=16).hexdigest()


def digest_of(request: bytes) -> str:
    """Return a digest of the request in its one canonical encoding."""
    return blake2b(request, digest_size=16).hexdigest()


async def find_reply(tx: Transaction, scope: str, request_digest: str) -> bytes | None:
    """Return the remembered reply, or None if this key is new.

    Raises:
        KeyReusedError: The key was used for another request.
        ReplyNotKeptError: The deed was done, and its reply held a secret.
    """
    row = await tx.fetch_one(_FIND, scope)
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


async def remember_reply(
    tx: Transaction, scope: str, request_digest: str, reply: bytes | None, now_ms: int
) -> None:
    """Keep ``reply`` (None where it holds a secret) under ``scope``."""
    if reply is not None and len(reply) > REPLY_BYTES_MAX:
        msg = f"a reply of {len(reply)} bytes cannot be remembered (at most {REPLY_BYTES_MAX})"
        raise InternalError(msg)
    text = None if reply is None else reply.decode()
    await tx.execute(_INSERT, scope, request_digest, text, now_ms)


async def sweep_replies(tx: Transaction, now_ms: int) -> int:
    """Forget at most 500 replies older than a day and return how many."""
    return await tx.execute(_SWEEP, now_ms - KEPT_MS)
