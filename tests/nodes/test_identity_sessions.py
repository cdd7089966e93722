"""Sessions at several nodes of one hall, opened, renewed and ended at once."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest

from moothall.testing import Visitor
from moothall.testing.hall import PASSWORD
from tests.nodes.boards import run_behind
from tests.nodes.identity import SEEDS, meet, open_two, outcome, sign_in
from tests.servers.nodes import Nodes


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    async with open_two(tmp_path) as opened:
        yield opened


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_member_has_no_more_sessions_than_allowed(tmp_path: Path, seed: int) -> None:
    tables = {"sessions": {"per_member_max": 3}, "lockout": {"attempts_max": 100}}
    async with open_two(tmp_path, **tables) as nodes:
        await nodes.halls[0].member("alice")
        await meet(seed, (sign_in(nodes.halls[at % 2], "alice", at) for at in range(40)))
        rows = await nodes.halls[0].rows(
            "SELECT (SELECT count(*) FROM identity_session WHERE ended_at_ms IS NULL), open"
            " FROM identity_session_count"
        )
        assert rows == [(3, 3)], seed


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("seed", SEEDS)
async def test_the_hall_has_no_more_sessions_than_allowed(tmp_path: Path, seed: int) -> None:
    async with open_two(tmp_path, sessions={"per_hall_max": 9}) as nodes:
        for at in range(4):
            await nodes.halls[0].member(f"player {at}")
        told = await meet(
            seed,
            (
                outcome(
                    nodes.halls[at % 2],
                    "open_session",
                    name=f"player {at % 4}",
                    password=PASSWORD,
                    source=f"203.0.113.{at}",
                )
                for at in range(12)
            ),
        )
        assert Counter(told) == {"done": 5, "hall_full": 7}, seed
        assert await nodes.halls[0].rows("SELECT open FROM identity_session_count") == [(9,)]


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_refresh_token_at_two_nodes_at_once_has_one_successor(
    nodes: Nodes, seed: int
) -> None:
    first, second = nodes.halls
    await first.member("alice")
    opened = await sign_in(first, "alice", 1)
    fields = {"refresh_token": opened.refresh_token}
    told = await meet(
        seed, (hall.call("identity.refresh_session", fields) for hall in nodes.halls * 8)
    )
    assert {each.refresh_token for each in told} == {told[0].refresh_token}
    assert told[0].refresh_token != opened.refresh_token
    first.clock.advance(11_000)
    assert await outcome(second, "refresh_session", **fields) == "session_ended"
    newest = {"refresh_token": told[0].refresh_token}
    assert await outcome(first, "refresh_session", **newest) == "session_ended"
    events = [each.kind for each in await first.events("identity")]
    assert events.count("identity.session_ended") == 1


@pytest.mark.requirement("R5")
async def test_renewing_a_session_that_ends_at_the_other_node_gives_no_tokens(
    nodes: Nodes,
) -> None:
    first, second = nodes.halls
    await first.member("alice")
    here, there = await sign_in(first, "alice", 1), await sign_in(first, "alice", 2)
    alice = Visitor(here.member_id, here.name, here.session_id, here.access_token)
    lock = f"SELECT 1 FROM identity_session WHERE session_id = '{there.session_id}' FOR UPDATE"
    told = await run_behind(
        nodes,
        lock,
        outcome(second, "revoke_session", alice, session_id=there.session_id),
        outcome(first, "refresh_session", refresh_token=there.refresh_token),
    )
    assert told == ["done", "session_ended"]


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("seed", SEEDS)
async def test_signing_in_renewing_and_signing_out_do_not_hinder_each_other(
    tmp_path: Path, seed: int
) -> None:
    """Locks are taken in one order, so that nothing has to be run again for a deadlock."""
    tables = {"sessions": {"per_member_max": 4}, "lockout": {"attempts_max": 100}}
    async with open_two(tmp_path, **tables) as nodes:
        first = nodes.halls[0]
        await first.member("alice")
        opened = [await sign_in(first, "alice", at) for at in range(3)]
        one = opened[0]
        alice = Visitor(one.member_id, one.name, one.session_id, one.access_token)
        works: list[Awaitable[str]] = []
        for at in range(30):
            hall = nodes.halls[at % 2]
            some = opened[1 + at % 2]
            fields: dict[str, Any] = {"name": "alice", "password": PASSWORD}
            fields["source"] = f"203.0.113.{at}"
            works += [
                outcome(hall, "open_session", **fields),
                outcome(hall, "refresh_session", refresh_token=some.refresh_token),
                outcome(hall, "revoke_session", alice, session_id=some.session_id),
                outcome(hall, "close_other_sessions", alice),
            ]
        told = Counter(await meet(seed, works))
        assert not told.keys() - {
            "done", "session_ended", "session_not_found", "unauthenticated"
        }, (seed, told)  # fmt: skip
        deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert await first.rows(deadlocks) == [(0,)]


@pytest.mark.requirement("R16")
async def test_a_sign_in_that_meets_a_removal_opens_nothing(nodes: Nodes) -> None:
    first, second = nodes.halls
    boss, ann = await first.administrator("boss"), await first.member("ann")
    lock = f"SELECT 1 FROM identity_member WHERE member_id = '{ann.member_id}' FOR UPDATE"
    told = await run_behind(
        nodes,
        lock,
        outcome(first, "remove_member", boss, member="ann"),
        outcome(second, "open_session", name="ann", password=PASSWORD),
        outcome(second, "rename_self", ann, name="Annette"),
        outcome(second, "remove_member", boss, member="ann"),
    )
    assert told[0] == "done"
    assert "done" not in told[1:], told
    rows = await first.rows(
        "SELECT name, (SELECT count(*) FROM identity_session AS s"
        " WHERE s.member_id = m.member_id AND ended_at_ms IS NULL)"
        " FROM identity_member AS m WHERE member_id = $1",
        ann.member_id,
    )
    assert rows == [("", 0)]
    events = [each.kind for each in await first.events("identity")]
    assert events.count("identity.member_removed") == 1
