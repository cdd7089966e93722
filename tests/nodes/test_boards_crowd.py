"""Many members act at random at both nodes, on the same boards and with the same files.

Which call comes first is up to the server, so a seed plays the same deeds and not the same run.
What must hold holds whatever the order was: the rooms' own checks, rankings as a sorted list gives
them, streams without a gap for those who follow at either node, and no two calls that wait for each
other in a circle.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import pytest

from moothall.services.leaderboards.actions import rebuilding
from moothall.storage.postgres import database as postgres
from moothall.storage.postgres import failure
from moothall.testing import OpenConnection, ProblemError, Visitor
from tests.nodes.boards import find_faults, rank_naively, run_job_anyway
from tests.servers.nodes import Nodes, open_nodes
from tests.unit.services.files.uploading import digest_of, pattern, put

BOARDS = {"best": "ascending", "sum": "descending", "every": "descending"}
FILES = [pattern(200 + number, "crowd") for number in range(3)]
ACTORS, DEEDS = 8, 40
QUOTA_BYTES = 450
"""Of one member: two of the files, so that the bound is met."""
REFUSALS = {
    "already_verified",
    "board_busy",
    "chunk_out_of_order",
    "comment_not_found",
    "comments_full",
    "entry_not_found",
    "file_held",
    "level_too_high",
    "level_unchanged",
    "no_such_file",
    "not_submitter",
    "not_verified",
    "own_level",
    "permission_denied",
    "proof_not_found",
    "proofs_full",
    "quota_exceeded",
}
JOBS = (
    "leaderboards.rebuild_rankings",
    "leaderboards.erase_unused_rankings",
    "leaderboards.release_orphaned_proofs",
    "files.collect_files",
)
WEIGHTS = {
    "submit": 8,
    "verify": 9,
    "unverify": 3,
    "remove": 2,
    "import_some": 1,
    "comment": 2,
    "uncomment": 1,
    "upload": 3,
    "prove": 4,
    "unprove": 2,
    "delete_file": 2,
    "count_otherwise": 1,
    "start_season": 1,
    "set_level": 1,
    "run_job": 3,
}


class Crowd:
    """People who know of the entries, comments and proofs that any of them has made."""

    def __init__(self, nodes: Nodes, people: list[Visitor], seed: int) -> None:
        self.nodes = nodes
        self.people = people
        self.seed = seed
        self.outcomes: Counter[str] = Counter()
        self._entries: list[str] = []
        self._comments: list[str] = []
        self._proofs: list[str] = []

    async def act(self, number: int) -> None:
        """Do many deeds, one after the other."""
        chance = Random(f"{self.seed}/{number}")
        for _ in range(DEEDS):
            [deed] = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
            self.nodes.halls[0].clock.advance(1)
            try:
                await getattr(self, deed)(chance)
                self.outcomes["done"] += 1
            except ProblemError as refusal:
                if refusal.name not in REFUSALS:
                    refusal.add_note(f"seed {self.seed}, {deed}")
                    raise
                self.outcomes[refusal.name] += 1

    async def submit(self, chance: Random) -> None:
        fields = {"board_id": self._board(chance), "score": float(chance.randrange(8))}
        self._entries.append((await self._call(chance, "submit_score", **fields)).entry_id)

    async def verify(self, chance: Random) -> None:
        await self._call(chance, "verify_entry", entry_id=_pick(chance, self._entries))

    async def unverify(self, chance: Random) -> None:
        await self._call(chance, "unverify_entry", entry_id=_pick(chance, self._entries))

    async def remove(self, chance: Random) -> None:
        await self._call(chance, "remove_entry", entry_id=_pick(chance, self._entries))

    async def import_some(self, chance: Random) -> None:
        rows = [
            {
                "submitter": one.name,
                "score": chance.random(),
                "submitted_at_ms": chance.randrange(9),
            }
            for one in self.people
        ]
        await self._call(chance, "import_entries", board_id=self._board(chance), entries=rows)

    async def comment(self, chance: Random) -> None:
        fields = {"entry_id": _pick(chance, self._entries), "text": "well played"}
        self._comments.append((await self._call(chance, "add_comment", **fields)).comment_id)

    async def uncomment(self, chance: Random) -> None:
        await self._call(chance, "remove_comment", comment_id=_pick(chance, self._comments))

    async def upload(self, chance: Random) -> None:
        await put(self._node(chance), chance.choice(self.people), chance.choice(FILES), 0)

    async def prove(self, chance: Random) -> None:
        fields = {"entry_id": _pick(chance, self._entries), "name": "proof"}
        fields["sha256"] = digest_of(chance.choice(FILES))
        self._proofs.append((await self._call(chance, "add_proof", **fields)).proof_id)

    async def unprove(self, chance: Random) -> None:
        await self._call(chance, "remove_proof", proof_id=_pick(chance, self._proofs))

    async def delete_file(self, chance: Random) -> None:
        fields = {"sha256": digest_of(chance.choice(FILES))}
        await self._node(chance).call("files.delete_file", fields, as_=chance.choice(self.people))

    async def count_otherwise(self, chance: Random) -> None:
        fields = {
            "counting": chance.choice(["best", "last", "sum", "every"]),
            "direction": chance.choice(["ascending", "descending"]),
        }
        await self._call(chance, "update_board", board_id=self._board(chance), **fields)

    async def start_season(self, chance: Random) -> None:
        await self._call(chance, "start_season", board_id=self._board(chance))

    async def set_level(self, chance: Random) -> None:
        fields = {
            "member": chance.choice(self.people).name,
            "level": chance.choice(["none", "write"]),
        }
        await self._call(chance, "set_level", board_id=self._board(chance), **fields)

    async def run_job(self, chance: Random) -> None:
        await run_job_anyway(self._node(chance), chance.choice(JOBS))

    def _board(self, chance: Random) -> str:
        return chance.choice(list(BOARDS))

    def _node(self, chance: Random) -> Any:
        return chance.choice(self.nodes.halls)

    async def _call(self, chance: Random, action: str, **fields: Any) -> Any:
        who = chance.choice(self.people)
        return await self._node(chance).call(f"leaderboards.{action}", fields, as_=who)


def _pick(chance: Random, known: list[str]) -> str:
    """Return one of the latest ids, about which others may do something at this moment."""
    return chance.choice(known[-6:]) if known else "none"


@pytest.fixture
def reruns(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what works were run again for."""
    counted: Counter[str] = Counter()
    may_pass = failure.may_pass

    def count(error: BaseException) -> bool:
        helps = may_pass(error)
        counted[type(error).__name__] += helps
        return helps

    monkeypatch.setattr(postgres, "may_pass", count)
    return counted


async def _gather_people(nodes: Nodes) -> list[Visitor]:
    """Return people who all may moderate all boards; the first may do everything."""
    hall = nodes.halls[0]
    boss = await hall.administrator("boss")
    people = [boss, *[await hall.member(f"member{number}") for number in range(3)]]
    for counting, direction in BOARDS.items():
        board = {"name": counting, "board_id": counting, "direction": direction}
        fields = {**board, "counting": counting, "default_level": "moderate"}
        await hall.call("leaderboards.create_board", fields, as_=boss)
    return people


async def _follow(nodes: Nodes, who: Visitor) -> list[tuple[str, OpenConnection]]:
    """Follow each board at each node, from now on."""
    followed = []
    for hall in nodes.halls:
        for board in BOARDS:
            connection = await hall.connect(who)
            feed = f"board/{board}/moderation"
            await connection.call("feeds.subscribe", feed=feed)
            await connection.until_live(feed)
            followed.append((feed, connection))
    return followed


async def _check_followers(nodes: Nodes, followed: list[tuple[str, OpenConnection]]) -> None:
    """Each follower gets every number of the stream in its order, repeats aside."""
    for feed, connection in followed:
        told = [event.seq for event in await nodes.halls[0].events(feed)]
        assert told == list(range(1, len(told) + 1))
        seen: list[int] = []
        while len(seen) < len(told):
            if (event := await connection.next_event()).seq not in seen:
                seen.append(event.seq)
        assert seen == told


async def _finish(nodes: Nodes) -> None:
    """Let the jobs end what was begun."""
    for job in JOBS:
        await run_job_anyway(nodes.halls[0], job)


@pytest.mark.requirement("R54")
@pytest.mark.requirement("R57")
@pytest.mark.parametrize("seed", range(3))
async def test_whatever_members_do_at_two_nodes_rankings_files_and_streams_are_right(
    tmp_path: Path, seed: int, reruns: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "ROWS_AT_ONCE", 5)  # so that boards are busy for a while
    tables = {
        "files": {"member_bytes_max": QUOTA_BYTES},
        "boards": {"comments_per_entry_max": 2, "proofs_per_entry_max": 2},
    }
    async with open_nodes(tmp_path, tables=tables) as nodes:
        people = await _gather_people(nodes)
        followed = await _follow(nodes, people[0])
        crowd = Crowd(nodes, people, seed)
        deeds: list[Awaitable[None]] = [crowd.act(number) for number in range(ACTORS)]
        await asyncio.gather(*deeds)
        await _finish(nodes)
        told = f"seed {seed}: {dict(crowd.outcomes)}, run again: {dict(reruns)}"
        for hall in nodes.halls:
            assert await find_faults(hall) == [], told
            for board_id in BOARDS:
                about = {"board_id": board_id}
                board = await hall.call("leaderboards.get_board", about, as_=people[0])
                page = {**about, "limit": 200}
                shown = await hall.call("leaderboards.list_entries", page, as_=people[0])
                ranking = [
                    (row.place, row.member_id, row.score, row.submitted_at_ms, row.entry_id)
                    for row in shown.standings
                ]
                assert ranking == await rank_naively(hall, board), told
        sums = await nodes.halls[0].rows(
            "SELECT sum(size_bytes) FROM files_upload GROUP BY member_id"
        )
        assert all(row[0] <= QUOTA_BYTES for row in sums), told
        await _check_followers(nodes, followed)
        assert reruns[asyncpg.DeadlockDetectedError.__name__] == 0, told
        assert crowd.outcomes["done"] > ACTORS * DEEDS // 3, told
