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

# One statement that makes the row or locks it: between two, another call that signs in with the
# right password could delete it, and a guess would be written to no row.
_TAKE = {
    kept: f"""
    INSERT INTO {kept} ({_KEY[kept]}, series, guesses, guessed_at_ms, locked_until_ms)
    VALUES ($1, '', 0, $2, 0)
    ON CONFLICT ({_KEY[kept]}) DO UPDATE SET guesses = {kept}.guesses
    RETURNING series, guesses, guessed_at_ms, locked_until_ms
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

_COUNT = "SELECT names FROM identity_unknown_name_count WHERE id = 1"

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


async def take_guesses(tx: Transaction, kept: Kept, key: str, now_ms: int) -> Guesses | None:
    """Return the guesses of a member, or of a name's digest, to decide on; None if it has none yet.

    In any case there is a row now, which nobody else reads or changes until the transaction ends.
    """
    row = await tx.fetch_one(_TAKE[kept], key, now_ms)
    assert row is not None, "it is made or found"
    return Guesses(*row) if row[0] else None  # each series has a name


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


async def get_names_count(tx: Transaction) -> int:
    """Return of how many unknown names guesses are kept."""
    row = await tx.fetch_one(_COUNT)
    assert row is not None, "the migration made the row"
    return int(row[0])


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
