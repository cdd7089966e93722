"""Rows of guesses: of members' passwords, and of names that nobody has.

Both tables have the same columns and the same statements run on both, so that an unknown
name costs what a known one costs.
"""

from enum import StrEnum

from moothall.ports.database import Transaction
from moothall.services.identity.model import Guesses


class Kept(StrEnum):
    """Whose guesses, and the table they are kept in."""

    MEMBER = "identity_lockout"
    UNKNOWN = "identity_unknown_name"


_KEY = {Kept.MEMBER: "member_id", Kept.UNKNOWN: "name_digest"}

_FIND = {
    kept: f"""
    SELECT series, guesses, guessed_at_ms, locked_until_ms FROM {kept} WHERE {_KEY[kept]} = $1
    """
    for kept in Kept
}

_INSERT = {
    kept: f"""
    INSERT INTO {kept} ({_KEY[kept]}, series, guesses, guessed_at_ms, locked_until_ms)
    VALUES ($1, '', 0, $2, 0) ON CONFLICT ({_KEY[kept]}) DO NOTHING
    """
    for kept in Kept
}

_UPDATE = {
    kept: f"""
    UPDATE {kept} SET series = $2, guesses = $3, guessed_at_ms = $4, locked_until_ms = $5
    WHERE {_KEY[kept]} = $1
    """
    for kept in Kept
}

_TAKE_BACK = {
    kept: f"""
    UPDATE {kept} SET guesses = guesses - 1, locked_until_ms = 0
    WHERE {_KEY[kept]} = $1 AND series = $2 AND guesses > 0
    """
    for kept in Kept
}

_CHANGE_COUNT = (
    "UPDATE identity_unknown_name_count SET names = names + $1 WHERE id = 1 RETURNING names"
)

# A lock that has passed tells nothing any more.
_DELETE_PASSED = """
DELETE FROM identity_unknown_name WHERE name_digest IN (
  SELECT name_digest FROM identity_unknown_name
  WHERE locked_until_ms > 0 AND locked_until_ms <= $1 AND name_digest <> $3
  ORDER BY locked_until_ms, guessed_at_ms LIMIT $2)
"""

# Those that are not locked have 0 there, so they come first, the oldest at the front.
_DELETE_OLDEST = """
DELETE FROM identity_unknown_name WHERE name_digest IN (
  SELECT name_digest FROM identity_unknown_name WHERE name_digest <> $2
  ORDER BY locked_until_ms, guessed_at_ms LIMIT $1)
"""

_DELETED_AT_ONCE_MAX = 500


async def insert_guesses(tx: Transaction, kept: Kept, key: str, now_ms: int) -> bool:
    """Make sure that there is a row to lock; True if it is new.

    Without it the first guesses at a name on several nodes would not see each other.
    """
    return await tx.execute(_INSERT[kept], key, now_ms) == 1


async def find_guesses(tx: Transaction, kept: Kept, key: str) -> Guesses | None:
    """Return the guesses of a member, or of a name's digest, to decide on."""
    rows = await tx.lock_rows(_FIND[kept], key)
    return Guesses(*rows[0]) if rows else None


async def update_guesses(tx: Transaction, kept: Kept, key: str, guesses: Guesses) -> None:
    """Write guesses down; there is a row."""
    await tx.execute(
        _UPDATE[kept],
        key,
        guesses.series,
        guesses.count,
        guesses.guessed_at_ms,
        guesses.locked_until_ms,
    )


async def update_guess_taken_back(tx: Transaction, kept: Kept, key: str, series: str) -> None:
    """Give back a guess that nobody looked at, and with it the lock that it may have set."""
    await tx.execute(_TAKE_BACK[kept], key, series)


async def delete_guesses(tx: Transaction, member_id: str) -> bool:
    """Forget the guesses of a member, and so the lock; False if there were none."""
    return await tx.execute("DELETE FROM identity_lockout WHERE member_id = $1", member_id) == 1


async def delete_surplus_names(tx: Transaction, names_max: int, now_ms: int, but: str) -> int:
    """Count a name that was added, ``but``, and make room for it; return how many others went.

    Those whose lock has passed go first, then those that are not locked, oldest first, then
    those whose lock passes soonest. At most 500 go at once, should the bound have been lowered.
    """
    row = await tx.fetch_one(_CHANGE_COUNT, 1)
    assert row is not None, "the migration made the row"
    surplus = min(row[0] - names_max, _DELETED_AT_ONCE_MAX)
    if surplus <= 0:
        return 0
    gone = await tx.execute(_DELETE_PASSED, now_ms, surplus, but)
    if gone < surplus:
        gone += await tx.execute(_DELETE_OLDEST, surplus - gone, but)
    await tx.fetch_one(_CHANGE_COUNT, -gone)
    return gone
