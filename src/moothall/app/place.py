"""Where the rows of a hall lie, by which a node sees that they were restored (decision 0014).

The row of the hall holds its own place: the object ids of its database and of its table, and the
transaction that wrote it. PostgreSQL keeps all three, whatever it does to tidy up, in a standby, in
a base backup and through ``pg_upgrade``. Rows that were written by ``pg_restore``, copied as a
template or sent by logical replication have the place of the rows that they were made of. They are
refused until they are adopted, or what was lost with them would be believed.

A base backup that is rolled forward to an earlier moment cannot be told from a standby that takes
over and has lost nothing; nothing here sees it.

Whoever edits it: any change of that row gives it another place, so it belongs in here.
"""

from moothall.core.errors import ConfigurationError
from moothall.ports.database import Transaction

_AT = """
(SELECT oid FROM pg_database WHERE datname = current_database())::text
|| '/' || 'action_hall'::regclass::oid::text || '/' ||
"""
_FIND = f"SELECT place, {_AT} xmin::text FROM action_hall WHERE id = 1"
_KNOWS_PLACE = """
SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('action_hall') AND attname = 'place'
"""
_KEEP = f"UPDATE action_hall SET place = {_AT} pg_current_xact_id()::xid::text WHERE id = 1"
_DISOWN = "UPDATE action_hall SET place = '' WHERE id = 1"


async def look_at_place(tx: Transaction) -> None:
    """Refuse rows that were written elsewhere, in tables that may be older than this release.

    Raises:
        ConfigurationError: They were restored or copied, and not adopted since.
    """
    if await tx.fetch_one(_KNOWS_PLACE) is not None:
        await _is_told(tx)


async def check_place(tx: Transaction) -> None:
    """Refuse rows that were written elsewhere; those that say nothing yet stay where they are.

    Raises:
        ConfigurationError: They were restored or copied, and not adopted since.
    """
    if not await _is_told(tx):
        await keep_place(tx)


async def _is_told(tx: Transaction) -> bool:
    """Tell whether the rows say where they belong, and refuse them if that is not here."""
    row = await tx.fetch_one(_FIND)
    if row is None or row[0] is None:
        return False
    if row[0] != row[1]:
        msg = (
            "settings: database: these rows were restored or copied, and not adopted since; if "
            "they are to be served, make a hall of them: moothall adopt"
        )
        raise ConfigurationError(msg)
    return True


async def keep_place(tx: Transaction) -> None:
    """Say that the rows belong where they are; in a transaction, and not within a nested one."""
    await tx.execute(_KEEP)


async def disown_place(tx: Transaction) -> None:
    """Let nobody serve the rows before :func:`keep_place`, whatever happens meanwhile."""
    await tx.execute(_DISOWN)
