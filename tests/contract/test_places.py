"""The place that PostgreSQL tells with one statement is the one that SQLite's statements tell."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moothall.ports.database import Row, Transaction
from moothall.services.leaderboards.store.ranks import Position, Ranks, count_better_at_once
from tests.contract.databases import ADAPTERS, OpenDatabase, opened, run_script

# As the room's migrations leave them; what they do not have in common with these is for
# tests/nodes/test_migrations.py.
SCHEMA = """
CREATE TABLE leaderboards_rank (
  ranking_id TEXT NOT NULL, key REAL NOT NULL, submitted_at_ms INTEGER NOT NULL,
  entry_id TEXT NOT NULL, PRIMARY KEY (ranking_id, key, submitted_at_ms, entry_id));
CREATE TABLE leaderboards_rank_bucket (
  ranking_id TEXT NOT NULL, level INTEGER NOT NULL, key REAL NOT NULL,
  submitted_at_ms INTEGER NOT NULL, entry_id TEXT NOT NULL, group_key REAL NOT NULL,
  group_submitted_at_ms INTEGER NOT NULL, group_entry_id TEXT NOT NULL, row_count INTEGER NOT NULL,
  PRIMARY KEY (ranking_id, level, key, submitted_at_ms, entry_id));
"""
SMALL = Ranks(rows_per_bucket_max=4, buckets_per_group_max=3)
AT_ONCE = count_better_at_once("SELECT $1::text AS ranking_id, $2::double precision AS key")
SEED = 7


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[OpenDatabase]:
    async with opened(ADAPTERS["postgres"], tmp_path) as database:
        await run_script(database, SCHEMA)
        yield database


@pytest.mark.requirement("R54")
@pytest.mark.parametrize("keys", [1, 5, 200])
async def test_one_statement_counts_like_two(database: OpenDatabase, keys: int) -> None:
    chance = random.Random(SEED + keys)
    rows = [
        Position(float(chance.randrange(keys)), chance.randrange(50), f"{number:032x}")
        for number in range(120)
    ]

    async def fill(tx: Transaction) -> None:
        for row in rows:
            await SMALL.insert(tx, "kart", row)

    async def compare(tx: Transaction) -> None:
        for key in sorted({row.key for row in rows} | {-1.0, 0.5, float(keys)}):
            told = await tx.fetch_one(AT_ONCE, "kart", key)
            better = sum(row.key < key for row in rows)
            assert told == ("kart", key, better, len(rows)), f"key {key}, seed {SEED + keys}"
            assert (better, len(rows)) == await SMALL.count_better_and_all(tx, "kart", key)

    await database.write(fill)
    await database.read(compare)


async def test_who_is_not_ranked_and_who_is_alone(database: OpenDatabase) -> None:
    async def ask(tx: Transaction) -> tuple[Row | None, Row | None]:
        nobody = await tx.fetch_one(AT_ONCE, "kart", None)
        return nobody, await tx.fetch_one(AT_ONCE, "an empty board", 1.0)

    await database.write(lambda tx: SMALL.insert(tx, "kart", Position(1.0, 1, "a")))
    nobody, alone = await database.read(ask)
    assert nobody is not None
    assert nobody[:2] == ("kart", None)
    assert alone == ("an empty board", 1.0, 0, None)


async def test_it_seeks_by_the_whole_position(database: OpenDatabase) -> None:
    """Else it would walk all ties: right, and a hundred times slower."""

    async def explain(tx: Transaction) -> str:
        for number in range(40):
            await SMALL.insert(tx, "kart", Position(1.0, number, f"{number:032x}"))
        await tx.execute(f"PREPARE place (text, double precision) AS {AT_ONCE}")
        await tx.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        rows = await tx.fetch_all("EXPLAIN EXECUTE place ('kart', 2)")
        return "\n".join(row[0] for row in rows)

    plan = await database.write(explain)
    conditions = [line for line in plan.splitlines() if "ROW(" in line]
    assert len(conditions) == 4, plan
    assert all("Index Cond" in line for line in conditions), plan
    assert "Filter" not in plan, plan
    assert "Seq Scan" not in plan, plan
