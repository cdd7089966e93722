"""All rows of a hall, whatever database it runs on."""

from moothall.testing import OpenHall

_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name",
    "postgres": "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename",
}


async def list_tables(hall: OpenHall) -> list[str]:
    """Return the names of all tables."""
    return [name for (name,) in await hall.rows(_TABLES[hall.hall.database.engine])]


async def read_everything(hall: OpenHall) -> str:
    """Return all rows of all tables, as text."""
    tables = await list_tables(hall)
    return "\n".join([f"{name}: {await hall.rows(f'SELECT * FROM {name}')}" for name in tables])
