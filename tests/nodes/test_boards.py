"""Boards, files and feeds keep their invariants, whatever two nodes do at the same moment.

The first tests make two calls meet at a lock, each in the way in which one without its lock would
do harm. The last one lets many members act at random at both nodes.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from moothall.action.connections import CloseReason
from moothall.testing import ProblemError, Visitor
from tests.nodes.boards import find_faults, run_behind, run_job_anyway
from tests.servers.nodes import Nodes, open_nodes
from tests.unit.services.files.uploading import download, pattern, put, stored, upload

BOARD = {"board_id": "mile", "name": "Mile", "direction": "ascending", "default_level": "write"}
LOCK_BOARD = "SELECT 1 FROM leaderboards_board WHERE board_id = 'mile' FOR UPDATE"
LOCK_UPLOADS = "SELECT 1 FROM files_upload FOR UPDATE"
LOCK_FILES = "SELECT 1 FROM files_file FOR UPDATE"


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    async with open_nodes(tmp_path) as opened:
        yield opened


@pytest.fixture
async def boss(nodes: Nodes) -> Visitor:
    found = await nodes.halls[0].administrator("boss")
    await nodes.halls[0].call("leaderboards.create_board", BOARD, as_=found)
    return found


async def act(nodes: Nodes, number: int, who: Visitor, action: str, **fields: Any) -> Any:
    """Call an action of the boards at one of the nodes."""
    return await nodes.halls[number].call(f"leaderboards.{action}", fields, as_=who)


async def submit(nodes: Nodes, who: Visitor, score: float = 1.0, *, board_id: str = "mile") -> str:
    entry = await act(nodes, 0, who, "submit_score", board_id=board_id, score=score)
    return str(entry.entry_id)


async def prove(nodes: Nodes, number: int, who: Visitor, entry_id: str, sha256: str) -> Any:
    fields = {"entry_id": entry_id, "sha256": sha256, "name": "finish.png"}
    return await act(nodes, number, who, "add_proof", **fields)


def names_of(ended: list[Any]) -> list[str]:
    """Return how calls ended: ``done``, or the name of the refusal."""
    return [
        each.name
        if isinstance(each, ProblemError)
        else "done"
        if not isinstance(each, BaseException)
        else repr(each)
        for each in ended
    ]


# --- Boards ---------------------------------------------------------------------------------------


@pytest.mark.requirement("R54")
async def test_of_two_seasons_begun_at_once_one_follows_the_other(
    nodes: Nodes, boss: Visitor
) -> None:
    works = [act(nodes, each, boss, "start_season", board_id="mile") for each in (0, 1)]
    ended = await run_behind(nodes, LOCK_BOARD, *works)
    assert names_of(ended) == ["done", "done"]
    assert sorted(each.season for each in ended) == [2, 3]


async def test_a_season_that_is_due_begins_once_though_two_nodes_keep_house(
    nodes: Nodes, boss: Visitor
) -> None:
    await act(nodes, 0, boss, "update_board", board_id="mile", schedule="0 0 * * *")
    nodes.halls[0].clock.advance(86_400_000)
    works = [run_job_anyway(hall, "leaderboards.start_due_seasons") for hall in nodes.halls]
    assert await run_behind(nodes, LOCK_BOARD, *works) == [None, None]
    rows = await nodes.halls[0].rows("SELECT season FROM leaderboards_board")
    assert rows == [(2,)]


@pytest.mark.requirement("R54")
async def test_of_two_who_verify_the_same_entry_one_does(nodes: Nodes, boss: Visitor) -> None:
    entry_id = await submit(nodes, boss)
    works = [act(nodes, each, boss, "verify_entry", entry_id=entry_id) for each in (0, 1)]
    ended = await run_behind(nodes, LOCK_BOARD, *works)
    assert names_of(ended) == ["done", "already_verified"]
    assert await find_faults(nodes.halls[0]) == []


@pytest.mark.requirement("R54")
async def test_verifying_waits_for_another_counting_and_then_counts_so(
    nodes: Nodes, boss: Visitor
) -> None:
    first, second = await submit(nodes, boss, 3.0), await submit(nodes, boss, 4.0)
    await act(nodes, 0, boss, "verify_entry", entry_id=first)
    ended = await run_behind(
        nodes,
        LOCK_BOARD,
        act(nodes, 0, boss, "update_board", board_id="mile", counting="sum"),
        act(nodes, 1, boss, "verify_entry", entry_id=second),
    )
    assert names_of(ended) == ["done", "done"]
    assert (await act(nodes, 1, boss, "get_rank", board_id="mile")).score == 7.0
    assert await find_faults(nodes.halls[0]) == []


async def test_removing_an_entry_and_verifying_it_are_in_nobodys_way(
    nodes: Nodes, boss: Visitor
) -> None:
    entry_id = await submit(nodes, boss)
    ended = await run_behind(
        nodes,
        LOCK_BOARD,
        act(nodes, 0, boss, "verify_entry", entry_id=entry_id),
        act(nodes, 1, boss, "remove_entry", entry_id=entry_id),
    )
    assert names_of(ended) == ["done", "done"]
    assert await find_faults(nodes.halls[0]) == []


async def test_two_levels_set_at_once_leave_one(nodes: Nodes, boss: Visitor) -> None:
    ann = await nodes.halls[0].member("ann")
    works = [
        act(nodes, each, boss, "set_level", board_id="mile", member="ann", level=level)
        for each, level in enumerate(("read", "moderate"))
    ]
    assert names_of(await run_behind(nodes, LOCK_BOARD, *works)) == ["done", "done"]
    sql = "SELECT role FROM access_binding WHERE subject = $1 AND role LIKE 'board_%'"
    assert await nodes.halls[0].rows(sql, ann.member_id) == [("board_moderator",)]


async def test_a_level_set_while_its_board_is_removed_does_not_outlive_it(
    nodes: Nodes, boss: Visitor
) -> None:
    await nodes.halls[0].member("ann")
    ended = await run_behind(
        nodes,
        LOCK_BOARD,
        act(nodes, 0, boss, "remove_board", board_id="mile"),
        act(nodes, 1, boss, "set_level", board_id="mile", member="ann", level="moderate"),
    )
    assert names_of(ended) == ["done", "board_not_found"]


@pytest.mark.parametrize("step", [0, 1, 2, 3])
async def test_a_node_that_was_stopped_erases_nothing_of_a_board_made_anew(
    nodes: Nodes, boss: Visitor, step: int
) -> None:
    """A job is cut off before one of its steps; another node ends it, and the id is used again."""
    first, second = nodes.halls
    await act(nodes, 0, boss, "remove_board", board_id="mile")
    jobs = first.hall.jobs
    context = jobs._context(jobs._jobs["leaderboards.erase_removed_boards"])
    write, steps = context.write, 0

    async def stop(work: Any, **options: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == step + 1:
            await run_job_anyway(second, "leaderboards.erase_removed_boards")
            await act(nodes, 1, boss, "create_board", **BOARD)
            entry_id = await submit(nodes, boss)
            await act(nodes, 1, boss, "verify_entry", entry_id=entry_id)
        return await write(work, **options)

    class Stopped:
        """The context of a job that is stopped in the middle."""

        def __getattr__(self, name: str) -> Any:
            return stop if name == "write" else getattr(context, name)

    await jobs._jobs["leaderboards.erase_removed_boards"].handler(Stopped())  # type: ignore[arg-type] # as Context
    assert (await act(nodes, 1, boss, "get_rank", board_id="mile")).place == 1
    ann = await second.member("ann")
    assert (await act(nodes, 1, ann, "get_board", board_id="mile")).level == "write"
    assert await find_faults(second) == []


# --- Comments and proofs --------------------------------------------------------------------------


async def test_of_two_who_remove_the_same_proof_or_comment_one_does(
    nodes: Nodes, boss: Visitor
) -> None:
    entry_id = await submit(nodes, boss)
    sha256 = await upload(nodes.halls[0], boss, b"proof")
    proof = await prove(nodes, 0, boss, entry_id, sha256)
    lock = "SELECT 1 FROM leaderboards_entry FOR UPDATE"
    works = [act(nodes, each, boss, "remove_proof", proof_id=proof.proof_id) for each in (0, 1)]
    assert names_of(await run_behind(nodes, lock, *works)) == ["done", "proof_not_found"]
    comment = await act(nodes, 0, boss, "add_comment", entry_id=entry_id, text="well run")
    fields = {"comment_id": comment.comment_id}
    works = [act(nodes, each, boss, "remove_comment", **fields) for each in (0, 1)]
    assert names_of(await run_behind(nodes, lock, *works)) == ["done", "comment_not_found"]


async def test_an_entry_is_verified_while_its_proof_is_removed(nodes: Nodes, boss: Visitor) -> None:
    entry_id = await submit(nodes, boss)
    sha256 = await upload(nodes.halls[0], boss, b"proof")
    proof = await prove(nodes, 0, boss, entry_id, sha256)
    ended = await run_behind(
        nodes,
        "SELECT 1 FROM files_hold FOR UPDATE",
        act(nodes, 0, boss, "remove_proof", proof_id=proof.proof_id),
        act(nodes, 1, boss, "verify_entry", entry_id=entry_id),
    )
    assert names_of(ended) == ["done", "done"]


@pytest.mark.parametrize("kind", ["comments", "proofs"])
async def test_bounds_of_an_entry_are_exact_over_nodes(tmp_path: Path, kind: str) -> None:
    tables = {"boards": {f"{kind}_per_entry_max": 2}}
    async with open_nodes(tmp_path, tables=tables) as nodes:
        boss = await nodes.halls[0].administrator("boss")
        await act(nodes, 0, boss, "create_board", **BOARD)
        entry_id = await submit(nodes, boss)
        sha256 = await upload(nodes.halls[0], boss, b"proof")

        def add(number: int) -> Any:
            if kind == "proofs":
                return prove(nodes, number % 2, boss, entry_id, sha256)
            return act(nodes, number % 2, boss, "add_comment", entry_id=entry_id, text="hm")

        lock = "SELECT 1 FROM leaderboards_entry FOR UPDATE"
        ended = await run_behind(nodes, lock, *(add(number) for number in range(4)))
        assert sorted(names_of(ended)) == sorted(["done", f"{kind}_full"] * 2)


# --- Files ----------------------------------------------------------------------------------------


@pytest.mark.requirement("R57")
async def test_a_file_that_one_entry_lets_go_while_another_takes_it_stays_held(
    nodes: Nodes, boss: Visitor
) -> None:
    first, second = await submit(nodes, boss), await submit(nodes, boss)
    sha256 = await upload(nodes.halls[0], boss, b"proof")
    proof = await prove(nodes, 0, boss, first, sha256)
    ended = await run_behind(
        nodes,
        LOCK_UPLOADS,
        prove(nodes, 1, boss, second, sha256),
        act(nodes, 0, boss, "remove_proof", proof_id=proof.proof_id),
    )
    assert names_of(ended) == ["done", "done"]
    assert await find_faults(nodes.halls[0]) == []
    with pytest.raises(ProblemError, match="file_held"):
        await nodes.halls[1].call("files.delete_file", {"sha256": sha256}, as_=boss)


@pytest.mark.requirement("R57")
async def test_a_file_whose_last_two_holds_go_at_once_is_held_no_more(
    nodes: Nodes, boss: Visitor
) -> None:
    sha256 = await upload(nodes.halls[0], boss, b"proof")
    proofs = [
        (await prove(nodes, 0, boss, await submit(nodes, boss), sha256)).proof_id for _ in range(2)
    ]
    works = [act(nodes, each, boss, "remove_proof", proof_id=proofs[each]) for each in (0, 1)]
    assert names_of(await run_behind(nodes, LOCK_UPLOADS, *works)) == ["done", "done"]
    assert await find_faults(nodes.halls[0]) == []
    await nodes.halls[1].call("files.delete_file", {"sha256": sha256}, as_=boss)


@pytest.mark.requirement("R57")
async def test_entries_with_the_same_files_in_another_order_go_at_once(
    nodes: Nodes, boss: Visitor
) -> None:
    """Their uploads are locked in one order, so that nothing is run again for a deadlock."""
    await act(nodes, 0, boss, "create_board", **BOARD | {"board_id": "other"})
    files = [await upload(nodes.halls[0], boss, data) for data in (b"start", b"finish")]
    entries, last = [], []
    for board_id, order in (("mile", files), ("other", files[::-1])):
        entry_id = await submit(nodes, boss, board_id=board_id)
        entries.append(entry_id)
        proofs = [await prove(nodes, 0, boss, entry_id, sha256) for sha256 in order]
        last.append(proofs[-1].proof_id)
    lock = f"SELECT 1 FROM files_hold WHERE ref IN ('{last[0]}', '{last[1]}') FOR UPDATE"
    works = [
        act(nodes, number, boss, "remove_entry", entry_id=entry_id)
        for number, entry_id in enumerate(entries)
    ]
    assert names_of(await run_behind(nodes, lock, *works)) == ["done", "done"]
    again = [hall.hall.foundation.database.measures() for hall in nodes.halls]  # type: ignore[attr-defined]
    assert [each["write_reruns_total"] for each in again] == [0, 0]
    assert await find_faults(nodes.halls[0]) == []


@pytest.mark.requirement("R57")
async def test_bytes_whose_last_two_uploads_go_at_once_are_collected(
    nodes: Nodes, boss: Visitor
) -> None:
    ann = await nodes.halls[0].member("ann")
    sha256 = await upload(nodes.halls[0], boss, b"shared")
    await upload(nodes.halls[0], ann, b"shared")
    works = [
        hall.call("files.delete_file", {"sha256": sha256}, as_=who)
        for hall, who in zip(nodes.halls, (boss, ann), strict=True)
    ]
    assert names_of(await run_behind(nodes, LOCK_FILES, *works)) == ["done", "done"]
    await nodes.halls[0].run_job("files.collect_files")
    assert await stored(nodes.halls[0]) == (0, 0)


@pytest.mark.requirement("R57")
async def test_an_upload_that_ends_while_the_last_other_one_goes_has_its_bytes(
    nodes: Nodes, boss: Visitor
) -> None:
    ann = await nodes.halls[1].member("ann")
    data = pattern(300_000)
    sha256 = await upload(nodes.halls[0], boss, data)
    await put(nodes.halls[1], ann, data, 0)
    ended = await run_behind(
        nodes,
        LOCK_FILES,
        nodes.halls[0].call("files.delete_file", {"sha256": sha256}, as_=boss),
        put(nodes.halls[1], ann, data, 262_144),
    )
    assert names_of(ended) == ["done", "done"]
    await nodes.halls[0].run_job("files.collect_files")
    assert await download(nodes.halls[1], ann, sha256) == data
    assert await find_faults(nodes.halls[0]) == []


async def test_garbage_that_two_nodes_collect_is_counted_once(nodes: Nodes, boss: Visitor) -> None:
    hall = nodes.halls[0]
    await upload(hall, boss, b"stays")
    sha256 = await upload(hall, boss, b"goes")
    await hall.call("files.delete_file", {"sha256": sha256}, as_=boss)
    works = [run_job_anyway(each, "files.collect_files") for each in nodes.halls]
    lock = "SELECT 1 FROM files_blob WHERE is_garbage = 1 FOR UPDATE"
    assert await run_behind(nodes, lock, *works) == [None, None]
    assert await stored(hall) == (5, 5)


@pytest.mark.parametrize("bound", ["member_bytes_max", "hall_bytes_max", "uploads_per_member_max"])
async def test_quotas_are_exact_over_nodes(tmp_path: Path, bound: str) -> None:
    limit = 2 if bound == "uploads_per_member_max" else 250
    async with open_nodes(tmp_path, tables={"files": {bound: limit}}) as nodes:
        boss = await nodes.halls[0].administrator("boss")
        works = [
            put(nodes.halls[number % 2], boss, pattern(100, str(number)), 0) for number in range(6)
        ]
        ended = await run_behind(nodes, "SELECT 1 FROM files_usage FOR UPDATE", *works)
        refusal = "hall_full" if bound == "hall_bytes_max" else "quota_exceeded"
        assert sorted(names_of(ended)) == ["done"] * 2 + [refusal] * 4
        assert await find_faults(nodes.halls[0]) == []


async def test_one_chunk_that_comes_at_both_nodes_is_kept_once(nodes: Nodes, boss: Visitor) -> None:
    data = pattern(1_000)
    works = [put(hall, boss, data, 0) for hall in nodes.halls]
    ended = await run_behind(nodes, "SELECT 1 FROM files_usage FOR UPDATE", *works)
    assert names_of(ended) == ["done", "done"]
    assert await stored(nodes.halls[0]) == (1_000, 1_000)


# --- Feeds and connections ------------------------------------------------------------------------


@pytest.mark.requirement("R33")
async def test_of_two_acknowledgements_at_once_the_later_one_stays(
    nodes: Nodes, boss: Visitor
) -> None:
    feed = "board/mile/moderation"
    for _ in range(3):
        await submit(nodes, boss)
    cursors = [event.seq for event in await nodes.halls[0].events(feed)]
    assert cursors == [1, 2, 3]
    rows = await nodes.halls[0].rows(
        "SELECT cursor FROM action_event WHERE stream = $1 ORDER BY seq", feed
    )
    first, second, third = (nodes.halls[0].cursor(row[0]) for row in rows)
    connections = [await hall.connect(boss) for hall in nodes.halls]
    await connections[0].call("feeds.acknowledge", feed=feed, cursor=first)
    works = [
        connection.call("feeds.acknowledge", feed=feed, cursor=cursor)
        for connection, cursor in zip(connections, (third, second), strict=True)
    ]
    await run_behind(nodes, "SELECT 1 FROM feeds_position FOR UPDATE", *works)
    assert await nodes.halls[0].rows("SELECT cursor FROM feeds_position") == [(third,)]


async def test_a_position_that_is_moved_while_old_ones_are_swept_stays(
    nodes: Nodes, boss: Visitor
) -> None:
    feed = "board/mile/moderation"
    await submit(nodes, boss)
    hall = nodes.halls[0]
    connection = await hall.connect(boss)
    [(number,)] = await hall.rows("SELECT max(cursor) FROM action_event")
    cursor = hall.cursor(number)
    await connection.call("feeds.acknowledge", feed=feed, cursor=cursor)
    hall.clock.advance(31 * 86_400_000)
    boss = await hall.sign_in("boss")
    await submit(nodes, boss)
    [(number,)] = await hall.rows("SELECT max(cursor) FROM action_event")
    back = await nodes.halls[1].connect(boss)
    # The same device again, which is a session without a label here.
    sql = "UPDATE feeds_position SET device = $1"
    await hall.hall.database.write(lambda tx: tx.execute(sql, boss.session_id))
    await run_behind(
        nodes,
        "SELECT 1 FROM feeds_position FOR UPDATE",
        back.call("feeds.acknowledge", feed=feed, cursor=hall.cursor(number)),
        run_job_anyway(hall, "feeds.sweep_events"),
    )
    assert await hall.rows("SELECT cursor FROM feeds_position") == [(hall.cursor(number),)]


@pytest.mark.requirement("R42")
async def test_a_connection_is_closed_at_its_own_node_only(nodes: Nodes, boss: Visitor) -> None:
    opened = [await hall.connect(boss) for hall in nodes.halls]
    request = {"connection_id": opened[0].connection.connection_id}
    with pytest.raises(ProblemError, match="connection_not_found"):
        await nodes.halls[1].call("hall.close_connection", request, as_=boss)
    assert [each.reason for each in opened] == [None, None]
    await nodes.halls[0].call("hall.close_connection", request, as_=boss)
    assert [each.reason for each in opened] == [CloseReason.ADMINISTRATOR, None]
