"""A hall is killed at random moments under load; what it has acknowledged stays, once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from moothall.client import Hall
from tests.plays.kill_load import PASSWORD, KilledHall, Load, Write, call_once

CONNECTIONS = 48
KILLS = {1: 13, 2: 13, 3: 12, 4: 12}
"""Kills by seed: four parts, so that they can run at the same time."""

CALLS_IN_FLIGHT_MIN = 1_000
ANSWERED_MAX = 400
MEMBERS = ("ada", "bo", "cy", "dee")
COUNTING = {"every": "every", "best": "best"}
"""How scores count, by board."""


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[KilledHall]:
    hall = KilledHall(tmp_path / "hall")
    yield hall
    await hall.leave()


async def settle_in(hall: KilledHall) -> list[str]:
    """Bring in the members and make the boards; return the members' tokens."""
    tokens = []
    for name in MEMBERS:
        credentials = {"name": name, "password": PASSWORD}
        await call_once(hall.port, "identity.register", credentials)
        opened = await call_once(hall.port, "identity.open_session", credentials)
        tokens.append(opened["access_token"])
    secret = (hall.folder / "first-administrator-secret").read_text().strip()
    await call_once(hall.port, "access.claim_administration", {"secret": secret}, tokens[0])
    for board, counting in COUNTING.items():
        request = {
            "name": board,
            "board_id": board,
            "direction": "descending",
            "counting": counting,
            "default_level": "moderate",
        }
        await call_once(hall.port, "leaderboards.create_board", request, tokens[0])
    return tokens


async def list_waiting(client: Hall, board: str) -> list[dict[str, Any]]:
    """Return all entries of a board that nobody has verified."""
    found: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        page = await client.leaderboards.list_waiting(board_id=board, after=after, limit=200)
        found += page["entries"]
        after = page["next"]
    return found


async def list_entries(client: Hall, board: str) -> list[dict[str, Any]]:
    """Return the whole ranking of a board."""
    found: list[dict[str, Any]] = []
    while True:
        page = await client.leaderboards.list_entries(board_id=board, offset=len(found), limit=200)
        found += page["standings"]
        if not page["standings"]:
            assert page["total"] == len(found)
            return found


def recount(entries: list[dict[str, Any]], counting: str) -> list[tuple[int, str, float]]:
    """Return (place, entry, score) of a ranking, from the entries alone."""
    ordered = sorted(entries, key=lambda e: (-e["score"], e["submitted_at_ms"], e["entry_id"]))
    if counting == "best":
        best: dict[str, dict[str, Any]] = {}
        for entry in ordered:
            best.setdefault(entry["member_id"], entry)
        ordered = list(best.values())
    better = Counter(entry["score"] for entry in ordered)
    return [
        (1 + sum(n for score, n in better.items() if score > e["score"]), e["entry_id"], e["score"])
        for e in ordered
    ]


async def check_board(client: Hall, board: str, writes: list[Write]) -> None:
    """Compare what a client reads of a board with what was acknowledged."""
    submitted = {
        write.result["entry_id"]: write.result
        for write in writes
        if write.action == "leaderboards.submit_score" and write.request["board_id"] == board
    }
    verified = {
        write.request["entry_id"]
        for write in writes
        if write.action == "leaderboards.verify_entry" and write.request["entry_id"] in submitted
    }
    waiting = await list_waiting(client, board)
    # Not one is missing, and not one is there that no answer named: nothing was done twice.
    assert [entry["entry_id"] for entry in waiting] == sorted(submitted.keys() - verified)
    for entry in waiting:
        assert entry == {**entry, **submitted[entry["entry_id"]]}  # it has names besides
    ranking = await list_entries(client, board)
    counted = recount([submitted[entry_id] for entry_id in verified], COUNTING[board])
    assert [(row["place"], row["entry_id"], row["score"]) for row in ranking] == counted
    for name in MEMBERS:
        place = next(row["place"] for row in ranking if row["name"] == name)
        rank = await client.leaderboards.get_rank(board_id=board, member=name)
        assert (rank["place"], rank["total"]) == (place, len(counted))


def check_file(folder: Path, writes: list[Write]) -> None:
    """Look at the file itself, once nobody else does."""
    file = apsw.Connection(str(folder / "hall.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert file.execute("PRAGMA foreign_key_check").fetchall() == []
        gaps = "SELECT stream FROM action_event GROUP BY stream HAVING max(seq) <> count(*)"
        assert file.execute(gaps).fetchall() == []
        told = "SELECT count(*) FROM action_event WHERE stream LIKE 'board/%'"
        # Moderators are told of each, readers only of what is verified now, and of new boards.
        verified = sum(write.action == "leaderboards.verify_entry" for write in writes)
        assert file.execute(told).fetchall() == [(len(writes) + verified + len(COUNTING),)]
    finally:
        file.close()


@pytest.mark.requirement("R34")
@pytest.mark.requirement("R36")
@pytest.mark.timeout(300)  # a dozen starts of a real hall, on a machine that may be busy
@pytest.mark.parametrize("seed", KILLS)
async def test_what_was_acknowledged_stays_once(hall: KilledHall, seed: int) -> None:
    kills, random = KILLS[seed], Random(seed)
    await hall.start()
    load = Load(random, await settle_in(hall), list(COUNTING))
    in_flight = 0
    for _ in range(kills):
        running = asyncio.create_task(load.run(hall.port, CONNECTIONS))
        # Sometimes right after the start, mostly in the middle; then a part of a commit later.
        answered = random.choice((1, random.randrange(ANSWERED_MAX), ANSWERED_MAX))
        await load.answered(answered, running)
        await asyncio.sleep(random.random() * 0.005)
        in_flight += load.in_flight
        await hall.kill()
        await running
        await hall.start()
        # What the dead hall has answered, the new one answers alike.
        await load.repeat(hall.port, random.sample(load.done, min(10, len(load.done))))
    await load.run_until_settled(hall.port, CONNECTIONS)
    assert not load.lost
    assert in_flight >= CALLS_IN_FLIGHT_MIN * kills / sum(KILLS.values())

    async with Hall(f"http://127.0.0.1:{hall.port}", insecure=True) as client:
        await client.sign_in(MEMBERS[0], PASSWORD)
        for board in COUNTING:
            await check_board(client, board, load.done)
    await load.repeat(hall.port, random.sample(load.done, 300))
    assert await hall.stop() == 0
    check_file(hall.folder, load.done)
    print(f"seed {seed}: {kills} kills, {in_flight} in flight, {len(load.done)} writes")  # noqa: T201
