"""Halls of tests on PostgreSQL: each folder of a test has a database of its own.

It is copied from a template to which the program's own `migrate` was applied, once for each set of
rooms, so that opening a hall costs about as much as on SQLite.
"""

from hashlib import blake2b
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from moothall.action.migrations import migrate
from moothall.app.config import Settings
from moothall.storage.postgres import PostgresDatabase, read_address
from moothall.testing.clock import ManualClock
from moothall.testing.prepared import find_steps

_ANOTHER_EPOCH = """
UPDATE action_epoch SET epoch = substr(replace(CAST(gen_random_uuid() AS TEXT), '-', ''), 1, 8)
"""

_made: dict[str, str] = {}
"""Databases of this process, with the address of the server."""


async def prepare_database(settings: Settings, server: str) -> str:
    """Return the address of the database that belongs to the data folder of ``settings``.

    The first time it is made, as the first start of a hall leaves it.

    Raises:
        ConfigurationError: A room is declared wrongly, or one of its migrations is.
    """
    name = f"hall_{_digest(str(settings.data_path))}"
    if name not in _made:
        connection = await asyncpg.connect(server)
        try:
            template = await _find_template(settings, server, connection)
            await connection.execute(
                f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"
            )
        finally:
            await connection.close()
        _made[name] = server
        connection = await asyncpg.connect(_at(server, name))
        try:
            await connection.execute(_ANOTHER_EPOCH)
        finally:
            await connection.close()
    return _at(server, name)


async def drop_databases() -> None:
    """Delete the databases of this process, whoever uses them; for the end of a test."""
    while _made:
        name, server = _made.popitem()
        connection = await asyncpg.connect(server)
        try:
            await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        finally:
            await connection.close()


async def _find_template(settings: Settings, server: str, connection: asyncpg.Connection) -> str:
    """Return the name of a database with the tables of these rooms, made by whoever needs it."""
    rooms, steps = find_steps(settings, PostgresDatabase.engine)
    name = f"template_{_digest(' '.join(f'{step.room}{step.digest}' for step in steps))}"
    draft = f"{name}_draft"
    known = "SELECT 1 FROM pg_database WHERE datname = $1"
    if await connection.fetchval(known, name) is None:
        await connection.execute("SELECT pg_advisory_lock(1)")  # other processes need it too
        try:
            if await connection.fetchval(known, name) is None:
                await connection.execute(f"DROP DATABASE IF EXISTS {draft}")
                await connection.execute(f"CREATE DATABASE {draft}")
                database = await PostgresDatabase.open(read_address(_at(server, draft)))
                try:
                    await migrate(database, ManualClock(), rooms, database.engine)
                finally:
                    await database.close()
                await connection.execute(f"ALTER DATABASE {draft} RENAME TO {name}")
        finally:
            await connection.execute("SELECT pg_advisory_unlock(1)")
    return name


def _at(server: str, name: str) -> str:
    """Return the address of another database of a server."""
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=10).hexdigest()
