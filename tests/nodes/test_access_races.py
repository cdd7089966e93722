"""The room `access` on two nodes: calls that meet get past no rule."""

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path

import asyncpg
import pytest

from moothall.testing import OpenHall, Visitor
from tests.nodes.access import (
    JOINS,
    MADE,
    Deed,
    administrators,
    bound,
    count,
    index_of,
    open_two,
    together,
)
from tests.nodes.watching import look
from tests.servers.nodes import Nodes
from tests.unit.services.access.calls import do

ROUNDS = 20
PROOF = {"password": "correct horse battery staple"}


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    async with open_two(tmp_path) as opened:
        yield opened


@pytest.mark.requirement("R22")
@pytest.mark.parametrize(
    "verbs", [("revoke_role", "revoke_role"), ("ban", "ban"), ("revoke_role", "ban")], ids=str
)
async def test_r22_of_two_administrators_who_remove_each_other_one_stays(
    nodes: Nodes, verbs: tuple[str, str]
) -> None:
    first, second = nodes.halls
    ann, bob = await first.administrator("ann"), await first.member("bob")
    role = {"role": "administrator", "at": ""}
    for seed in range(ROUNDS):
        for giver, name in product((ann, bob), ("ann", "bob")):  # whoever is one still
            await first.answer("access.lift_ban", {"member": name, "at": ""}, token=giver.token)
            await first.answer("access.grant_role", {"member": name, **role}, token=giver.token)
        assert await administrators(first) == 2, seed
        await look(nodes)
        outcomes = await together(
            seed,
            (first, ann, f"access.{verbs[0]}", LESS[verbs[0]] | {"member": "bob"}),
            (second, bob, f"access.{verbs[1]}", LESS[verbs[1]] | {"member": "ann"}),
        )
        assert await administrators(first) == outcomes.count("done") == 1, (seed, outcomes)


LESS = {"ban": {"at": ""}, "revoke_role": {"role": "administrator", "at": ""}}


@pytest.mark.requirement("R22")
async def test_r22_of_two_administrators_who_leave_at_once_one_stays(nodes: Nodes) -> None:
    first, second = nodes.halls
    last = await first.administrator("admin0")
    for seed in range(1, ROUNDS):
        name = f"admin{seed}"
        other = await first.member(name)
        await do(first, last, "grant_role", member=name, role="administrator")
        outcomes = await together(
            seed,
            (first, last, "identity.remove_account", PROOF),
            (second, other, "identity.remove_account", PROOF),
        )
        assert sorted(outcomes) == ["done", "member_needed"], (seed, outcomes)
        assert await administrators(first) == 1
        last = last if outcomes[0] != "done" else other


@pytest.mark.requirement("R22")
async def test_r22_bounds_hold_for_calls_at_once_at_two_nodes(nodes: Nodes) -> None:
    first, second = nodes.halls
    boss = await first.administrator("boss")
    for number in range(5):
        await do(first, boss, "create_team", team=f"team{number}")
    for seed in range(ROUNDS):
        bob = await first.member(f"bob{seed}")
        deeds: list[Deed] = []
        for number in range(5):
            hall, member = nodes.halls[number % 2], {"member": bob.name}
            grant_ = {**member, "role": "auditor", "at": f"a/{number}"}
            deeds += [
                (hall, boss, "access.add_team_member", {**member, "team": f"team{number}"}),
                (hall, boss, "access.grant_role", grant_),
                (hall, boss, "access.ban", {**member, "at": f"b/{number}"}),
            ]
        outcomes = await together(seed, *deeds)
        assert outcomes.count("limit_reached") == 6, (seed, outcomes)
        assert await count_of(second, bob) == [3, 3, 3], (seed, outcomes)


async def count_of(hall: OpenHall, who: Visitor) -> list[int]:
    """How many bindings, bans and teams a member has."""
    tables = {"access_binding": "subject", "access_ban": "member_id"}
    tables["access_team_member"] = "member_id"
    return [
        await count(hall, f"SELECT count(*) FROM {table} WHERE {owner} = $1", who.member_id)
        for table, owner in tables.items()
    ]


@pytest.mark.requirement("R22")
async def test_r22_bounds_of_the_hall_hold_for_calls_at_once_at_two_nodes(nodes: Nodes) -> None:
    boss = await nodes.halls[0].administrator("boss")
    for seed in range(ROUNDS):
        names = [(nodes.halls[number % 2], f"x{number}") for number in range(8)]
        define = {"permissions": ["teams:list"]}
        outcomes = await together(
            seed,
            *((hall, boss, "access.define_role", {**define, "name": name}) for hall, name in names),
            *((hall, boss, "access.create_team", {"team": name}) for hall, name in names),
        )
        assert outcomes[:8].count("done") == outcomes[8:].count("done") == 5, (seed, outcomes)
        for hall, name in names:
            await hall.answer("access.delete_role", {"name": name}, token=boss.token)
            await hall.answer("access.delete_team", {"team": name}, token=boss.token)


@pytest.mark.requirement("R22")
async def test_r22_two_definitions_of_one_name_make_one_role(nodes: Nodes) -> None:
    first, second = nodes.halls
    boss = await first.administrator("boss")
    for seed in range(ROUNDS):
        outcomes = await together(
            seed,
            (first, boss, "access.define_role", MADE[1]),
            (second, boss, "access.define_role", {**MADE[1], "permissions": ["roles:list"]}),
        )
        assert sorted(outcomes) == ["done", "role_exists"], (seed, outcomes)
        await do(first, boss, "delete_role", name="made")


@pytest.mark.requirement("R22")
async def test_r22_nothing_is_bound_to_a_role_or_team_that_goes_at_once(nodes: Nodes) -> None:
    first, second = nodes.halls
    boss, bob = await first.administrator("boss"), await first.member("bob")
    seen = set()
    for seed in range(ROUNDS):
        await do(first, boss, "define_role", **MADE[1])
        await do(first, boss, "create_team", team="staff")
        outcomes = await together(
            seed,
            (first, boss, "access.delete_role", {"name": "made", "force": True}),
            (second, boss, "access.grant_role", bound("bob")),
            (first, boss, "access.delete_team", {"team": "staff"}),
            (second, boss, "access.add_team_member", JOINS[1]),
            (second, boss, "access.grant_role", {"member": "team:staff", "role": "auditor"}),
        )
        seen.add(tuple(outcomes))
        orphans = await count(
            first,
            "SELECT count(*) FROM access_binding WHERE role = 'made' OR subject = 'team:staff'",
        )
        members = await count(first, "SELECT count(*) FROM access_team_member")
        assert (orphans, members) == (0, 0), (seed, outcomes)
        await look(nodes)
        for hall in nodes.halls:
            index = index_of(hall)
            await index.admit(hall.hall.database, bob.member_id)
            for permission in ("teams:list", "audit:read"):
                assert not index.allows(bob.member_id, permission, ""), (seed, outcomes)
            index.release(bob.member_id)
    assert len(seen) > 1, "one was first here, the other there"


@pytest.mark.requirement("R16")
async def test_r16_nothing_is_given_to_a_member_who_goes_at_once(nodes: Nodes) -> None:
    first, second = nodes.halls
    boss = await first.administrator("boss")
    await do(first, boss, "create_team", team="staff")
    seen = set()
    for seed in range(ROUNDS):
        bob = await first.member(f"bob{seed}")
        member = {"member": bob.member_id}
        outcomes = await together(
            seed,
            (first, bob, "identity.remove_account", PROOF),
            (second, boss, "access.grant_role", {**member, "role": "auditor"}),
            (second, boss, "access.ban", {**member, "at": "org"}),
            (second, boss, "access.add_team_member", {**member, "team": "staff"}),
            spread=30,
        )
        seen.add(tuple(outcomes))
        assert await count_of(first, bob) == [0, 0, 0], (seed, outcomes)
    assert len(seen) > 1, "some were given first, some refused"


@pytest.mark.requirement("R16")
async def test_r16_a_member_who_is_given_something_goes_after_it(nodes: Nodes) -> None:
    """The grant is held up just before its row; whoever removes the member waits for it."""
    first, second = nodes.halls
    boss, bob = await first.administrator("boss"), await first.member("bob")
    blocker = await asyncpg.connect(first.settings.database)
    try:
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute(
            "INSERT INTO access_binding (subject, path, role, granted_by, granted_at_ms) "
            "VALUES ($1, '', 'auditor', '', 0)",
            bob.member_id,
        )
        fields = {"member": "bob", "role": "auditor"}
        grant_ = asyncio.create_task(do(second, boss, "grant_role", **fields))
        await until_waiting(blocker, 1)
        removal = asyncio.create_task(first.call("identity.remove_account", PROOF, as_=bob))
        waiting = asyncio.create_task(until_waiting(blocker, 2))
        await asyncio.wait({removal, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        await asyncio.wait({waiting})
        await transaction.rollback()
        await asyncio.gather(grant_, removal)
    finally:
        await blocker.close()
    assert await count_of(first, bob) == [0, 0, 0]


@pytest.mark.requirement("R16")
async def test_r16_nothing_is_given_to_a_member_whose_removal_is_under_way(nodes: Nodes) -> None:
    """The removal is held up within; whoever gives something waits for it."""
    first, second = nodes.halls
    boss, bob = await first.administrator("boss"), await first.member("bob")
    blocker = await asyncpg.connect(first.settings.database)
    try:
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute(HOLD, "access.administrators", (1 << 62) - 1)
        remove = first.call("identity.remove_member", {"member": "bob"}, as_=boss)
        removal = asyncio.create_task(remove)
        await until_waiting(blocker, 1)
        request = {"member": bob.member_id, "role": "auditor"}
        grant_ = asyncio.create_task(second.answer("access.grant_role", request, token=boss.token))
        await until_waiting(blocker, 2)
        await transaction.rollback()
        reply, _ = await asyncio.gather(grant_, removal)
    finally:
        await blocker.close()
    assert reply.problem is not None
    assert reply.problem.name == "member_not_found"
    assert await count_of(first, bob) == [0, 0, 0]


HOLD = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0) & $2)"
"""As PostgresTransaction.lock does."""


async def until_waiting(connection: asyncpg.Connection, number: int) -> None:
    """Wait until so many of the hall's transactions wait for a lock."""
    sql = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
    """
    async with asyncio.timeout(10):
        while await connection.fetchval(sql) < number:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.005)


@pytest.mark.requirement("R59")
async def test_r59_whoever_hears_that_nothing_is_left_at_a_resource_can_rely_on_it(
    nodes: Nodes,
) -> None:
    first = nodes.halls[0]
    boss = await first.administrator("boss")
    people = [await first.member(f"person{number}") for number in range(6)]
    for seed in range(ROUNDS // 2):
        for person in people:
            await do(first, boss, "grant_role", member=person.name, role="auditor", at="board/7")

        await asyncio.gather(*(clear(hall, boss) for hall in nodes.halls))
        assert await count(first, AT_BOARD) == 0, seed


AT_BOARD = "SELECT count(*) FROM access_binding WHERE path = 'board/7'"


async def clear(hall: OpenHall, boss: Visitor) -> None:
    while (await do(hall, boss, "revoke_all", at="board/7", limit=3)).count:
        pass
    assert await count(hall, AT_BOARD) == 0
