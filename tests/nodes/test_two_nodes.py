"""Two nodes are one hall: what one did the other knows."""

from pathlib import Path

import pytest

from tests.servers.nodes import open_nodes


@pytest.mark.requirement("R5")
async def test_a_follower_at_one_node_sees_at_once_what_a_call_at_the_other_did(
    tmp_path: Path,
) -> None:
    async with open_nodes(tmp_path) as nodes:
        first, second = nodes.halls
        admin = await first.administrator()
        board = await first.call(
            "leaderboards.create_board", {"name": "Mile", "direction": "ascending"}, as_=admin
        )
        feed = f"board/{board.board_id}/moderation"
        connection = await second.connect(as_=admin)
        await connection.call("feeds.subscribe", feed=feed)
        await connection.until_live(feed)
        entry = await first.call(
            "leaderboards.submit_score", {"board_id": board.board_id, "score": 1.5}, as_=admin
        )
        event = await connection.next_event()
        assert event.data["entry_id"] == entry.entry_id
