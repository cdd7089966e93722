"""The same call under one key at two nodes at once: it is done once, and both learn its answer."""

from pathlib import Path
from typing import Any

import pytest

from moothall.core.units import DAY_MS
from moothall.testing import Visitor
from tests.nodes.boards import run_behind
from tests.servers.nodes import Nodes, open_nodes

BOARD = {"board_id": "mile", "name": "Mile", "direction": "ascending", "default_level": "write"}
LOCK_BOARD = "SELECT 1 FROM leaderboards_board WHERE board_id = 'mile' FOR UPDATE"


async def act(nodes: Nodes, number: int, who: Visitor, action: str, **fields: Any) -> Any:
    """Call under the one key of these tests at one of the nodes."""
    found = nodes.halls[number]
    return await found.call(f"leaderboards.{action}", fields, as_=who, key="the-one")


@pytest.mark.requirement("R34")
async def test_what_was_done_meanwhile_under_its_key_answers_a_refused_call(tmp_path: Path) -> None:
    async with open_nodes(tmp_path) as nodes:
        first = nodes.halls[0]
        boss = await first.administrator("boss")
        await first.call("leaderboards.create_board", BOARD, as_=boss)
        fields = {"board_id": "mile", "score": 1.0}
        entry = await first.call("leaderboards.submit_score", fields, as_=boss)
        # Both have seen that nothing is remembered when the first of them verifies.
        here, there = await run_behind(
            nodes,
            LOCK_BOARD,
            act(nodes, 0, boss, "verify_entry", entry_id=entry.entry_id),
            act(nodes, 1, boss, "verify_entry", entry_id=entry.entry_id),
        )
        assert here == there
        assert here.verified_at_ms is not None


@pytest.mark.requirement("R34")
async def test_a_call_at_midnight_is_done_once(tmp_path: Path) -> None:
    """Replies are kept by day; the second attempt comes on another day than the first."""
    async with open_nodes(tmp_path) as nodes:
        first = nodes.halls[0]
        boss = await first.administrator("boss")
        await first.call("leaderboards.create_board", BOARD, as_=boss)
        first.clock.advance(DAY_MS - 10)
        boss = first.renew(boss)
        fields = {"board_id": "mile", "score": 1.0}

        async def submit_after_midnight() -> Any:
            first.clock.advance(20)
            return await act(nodes, 1, boss, "submit_score", **fields)

        here, there = await run_behind(
            nodes,
            LOCK_BOARD,
            act(nodes, 0, boss, "submit_score", **fields),
            submit_after_midnight(),
        )
        assert here == there
        page = await first.call("leaderboards.list_waiting", {"board_id": "mile"}, as_=boss)
        assert [one.entry_id for one in page.entries] == [here.entry_id]
