"""The room `access` on two nodes: what one changed acts at the other; races get past no rule."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import product
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from moothall.action.tail import Tail
from moothall.app.lifecycle import renew_secret
from moothall.ports.claim import Claim
from moothall.services.access.adapters.bindings import StoredBindings
from moothall.services.access.adapters.learning import BindingLearner
from moothall.storage.postgres import database
from moothall.testing import OpenHall, Visitor
from tests.servers.nodes import Nodes, open_nodes
from tests.unit.services.access.calls import do, refused

ROUNDS = 20
PROOF = {"password": "correct horse battery staple"}
WITHIN_SECONDS = 1.0
"""R5."""


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    tables = {
        "access": {
            "roles_max": 5,
            "teams_max": 5,
            "teams_per_member_max": 3,
            "bindings_per_subject_max": 3,
            "bans_per_member_max": 3,
        }
    }
    async with open_nodes(tmp_path, tables=tables) as opened:
        yield opened


async def until(is_true: Callable[[], bool], seconds: float = WITHIN_SECONDS) -> None:
    """Wait for what a node learns by itself; nothing tells when it has."""
    async with asyncio.timeout(seconds):
        while not is_true():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.002)


Deed = tuple[OpenHall, Visitor, str, dict[str, Any]]
"""At which node, who calls what."""


def index_of(hall: OpenHall) -> StoredBindings:
    return hall.hall.house.use(StoredBindings)


async def together(seed: int, *deeds: Deed, spread: int = 4) -> list[str]:
    """Make calls nearly at once, in an order of the seed.

    Args:
        seed: Says which of them comes when.
        deeds: The calls.
        spread: How many reads some of them are later than others, about a millisecond each.

    Returns:
        ``done`` or the name of the refusal, of each.
    """
    chance = random.Random(seed)

    async def one(deed: Deed, reads: int) -> str:
        hall, who, action, fields = deed
        for _ in range(reads):
            await hall.rows("SELECT 1")
        reply = await hall.answer(action, fields, token=who.token)
        name = reply.problem.name if reply.problem else "done"
        assert name != "internal", (seed, action)
        return name

    return await asyncio.gather(*(one(deed, chance.randint(0, spread)) for deed in deeds))


async def look(nodes: Nodes) -> None:
    """Let both nodes learn what there is to learn."""
    for hall in nodes.halls:
        await tail_of(hall).look()


def tail_of(hall: OpenHall) -> Tail:
    tail = hall.hall.foundation.tail
    assert tail is not None
    return tail


async def count(hall: OpenHall, sql: str, *params: object) -> int:
    return int((await hall.rows(sql, *params))[0][0])


# --- what one node changed acts at the other ------------------------------------------------------

MADE: tuple[str, dict[str, Any]] = ("define_role", {"name": "made", "permissions": ["teams:list"]})
STAFF: tuple[str, dict[str, Any]] = ("create_team", {"team": "staff"})
JOINS: tuple[str, dict[str, Any]] = ("add_team_member", {"team": "staff", "member": "bob"})


def bound(subject: str, at: str = "") -> dict[str, Any]:
    return {"member": subject, "role": "made", "at": at}


def grant(subject: str, at: str = "") -> tuple[str, dict[str, Any]]:
    return "grant_role", bound(subject, at)


CHANGES: dict[str, tuple[list[tuple[str, dict[str, Any]]], str, dict[str, Any]]] = {
    "grant": ([MADE], "access.grant_role", bound("bob")),
    "grant to a team": ([MADE, STAFF, JOINS], "access.grant_role", bound("team:staff")),
    "grant to everyone": ([MADE], "access.grant_role", bound("everyone")),
    "revoke": ([MADE, grant("bob")], "access.revoke_role", bound("bob")),
    "revoke from a team": (
        [MADE, STAFF, JOINS, grant("team:staff")],
        "access.revoke_role",
        bound("team:staff"),
    ),
    "revoke from everyone": ([MADE, grant("everyone")], "access.revoke_role", bound("everyone")),
    "define": ([], "access.define_role", MADE[1]),
    "update": (
        [MADE, grant("bob")],
        "access.update_role",
        {"name": "made", "permissions": ["roles:list"]},
    ),
    "delete a role": (
        [MADE, grant("bob"), grant("everyone")],
        "access.delete_role",
        {"name": "made", "force": True},
    ),
    "delete a team": (
        [MADE, STAFF, JOINS, grant("team:staff")],
        "access.delete_team",
        {"team": "staff"},
    ),
    "join": ([MADE, STAFF, grant("team:staff")], "access.add_team_member", JOINS[1]),
    "leave": ([MADE, STAFF, JOINS, grant("team:staff")], "access.remove_team_member", JOINS[1]),
    "ban": ([MADE, grant("bob")], "access.ban", {"member": "bob", "at": ""}),
    "lift": (
        [MADE, grant("bob"), ("ban", {"member": "bob", "at": ""})],
        "access.lift_ban",
        {"member": "bob", "at": ""},
    ),
    "resource gone": ([MADE, grant("bob", "board/7")], "access.revoke_all", {"at": "board/7"}),
    "member gone": ([MADE, grant("bob")], "identity.remove_member", {"member": "bob"}),
}
MEMORY_STAYS = {"access.create_team", "access.claim_administration"}
"""The second has a test of its own below."""


@pytest.mark.requirement("R5")
@pytest.mark.requirement("R22")
@pytest.mark.parametrize("is_cut", [False, True], ids=["bus", "no bus"])
@pytest.mark.parametrize("kind", CHANGES)
async def test_r5_r22_each_change_acts_at_the_other_node_within_a_second(
    nodes: Nodes, kind: str, *, is_cut: bool
) -> None:
    before, action, request = CHANGES[kind]
    first, second = nodes.halls
    boss, bob = await first.administrator("boss"), await first.member("bob")
    for verb, fields in before:
        await do(first, boss, verb, **fields)
    here, index = index_of(first), index_of(second)
    for hall in nodes.halls:
        await index_of(hall).admit(hall.hall.database, bob.member_id)  # kept, as by a connection
    await look(nodes)

    def state(known: StoredBindings) -> tuple[bool, ...]:
        return (
            known.allows(bob.member_id, "teams:list", ""),
            known.allows(bob.member_id, "teams:list", "board/7"),
            known.knows_role("made"),
        )

    assert state(here) == state(index)
    old = state(index)
    if is_cut:
        nodes.network.cut()
    await first.call(action, request, as_=boss)
    assert state(here) != old
    await until(lambda: state(index) == state(here))


async def test_every_action_that_changes_memory_is_among_them(nodes: Nodes) -> None:
    actions = nodes.halls[0].hall.catalog.actions.values()
    writes = {one.name for one in actions if one.room == "access" and one.effect == "write"}
    assert writes - MEMORY_STAYS == {
        action for _, action, _ in CHANGES.values() if action.startswith("access.")
    }


@pytest.mark.requirement("R22")
async def test_r22_no_change_of_memory_goes_past_the_other_nodes() -> None:
    """Only ``StoredBindings.change`` and the claim have hooks, and both leave notices."""
    room = Path(StoredBindings.change.__code__.co_filename).parents[1]
    found = {
        path.relative_to(room).as_posix(): text.count("tell_nodes(")
        for path in room.rglob("*.py")
        if "on_commit(" in (text := path.read_text("utf-8"))
    }
    assert found == {"adapters/bindings.py": 1, "actions/claim.py": 1}


@pytest.mark.requirement("R22")
async def test_r22_who_is_not_kept_is_read_anew(nodes: Nodes) -> None:
    first, second = nodes.halls
    boss, bob = await first.administrator("boss"), await first.member("bob")
    await do(first, boss, "define_role", **MADE[1])
    assert (await refused(second, bob, "access.list_teams")).code == "permission_denied"
    assert index_of(second).find_rights(bob.member_id) is not None
    await do(first, boss, "grant_role", **bound("bob"))
    await until(lambda: index_of(second).find_rights(bob.member_id) is None)
    await second.call("access.list_teams", as_=bob)


@pytest.mark.requirement("R22")
async def test_r22_role_made_at_one_node_acts_at_once_where_the_other_grants_it(
    nodes: Nodes,
) -> None:
    first, second = nodes.halls
    nodes.network.cut()
    boss, bob = await first.administrator("boss"), await first.member("bob")
    await refused(second, bob, "access.list_teams")
    await do(second, boss, "list_roles")
    await do(first, boss, "define_role", **MADE[1])
    await do(second, boss, "grant_role", **bound("bob"))
    await second.call("access.list_teams", as_=bob)


@pytest.mark.requirement("R22")
async def test_r22_a_node_that_was_away_for_long_learns_all_anew(nodes: Nodes) -> None:
    first, second = nodes.halls
    boss, bob = await first.administrator("boss"), await first.member("bob")
    index = index_of(second)
    await index.admit(second.hall.database, bob.member_id)
    await tail_of(second).close()
    steps = [MADE, STAFF, JOINS, grant("everyone", "org"), grant("team:staff", "a/1")]
    for verb, fields in steps:
        await do(first, boss, verb, **fields)
    learner = second.hall.house.use(BindingLearner)
    await learner.relearn(second.hall.database, ())
    held = [index.allows(bob.member_id, "teams:list", at) for at in ("org", "a/1", "a")]
    assert held == [True, True, False]
    await do(first, boss, "delete_team", team="staff")
    await do(first, boss, "delete_role", name="made", force=True)
    await learner.relearn(second.hall.database, ())
    held = [index.allows(bob.member_id, "teams:list", at) for at in ("org", "a/1", "a")]
    assert (held, index.knows_role("made")) == ([False, False, False], False)
    assert index.allows(bob.member_id, "permissions:check_own", ""), "what is built in stays"
    assert index._marks == {}


@pytest.mark.requirement("R22")
async def test_r22_a_hook_that_runs_after_its_commit_was_learned_is_made_sure_of(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = nodes.halls
    boss, bob = await first.administrator("boss"), await first.member("bob")
    await do(first, boss, "define_role", **MADE[1])
    index = index_of(first)
    await index.admit(first.hall.database, bob.member_id)
    late: list[Callable[[], None]] = []
    with monkeypatch.context() as patch:
        patch.setattr(database, "run_hooks", late.extend)
        await do(first, boss, "grant_role", **bound("bob"))
    await do(second, boss, "revoke_role", **bound("bob"))
    await look(nodes)
    for hook in late:
        hook()
    assert index.allows(bob.member_id, "teams:list", ""), "it came too late"
    await first.run_job("access.confirm_bindings")
    assert not index.allows(bob.member_id, "teams:list", "")
    assert not index.doubtful


@pytest.mark.requirement("R22")
async def test_r22_who_belonged_to_a_team_belongs_not_to_the_next_one_of_its_name(
    nodes: Nodes,
) -> None:
    first, second = nodes.halls
    boss, bob = await first.administrator("boss"), await first.member("bob")
    for verb, fields in [MADE, STAFF, JOINS]:
        await do(first, boss, verb, **fields)
    index = index_of(second)
    await index.admit(second.hall.database, bob.member_id)
    await look(nodes)
    await tail_of(second).close()  # so that all of it is one round
    for verb, fields in [("delete_team", {"team": "staff"}), STAFF, grant("team:staff")]:
        await do(first, boss, verb, **fields)
    await tail_of(second).look()
    assert not index.allows(bob.member_id, "teams:list", "")


class SlowDatabase:
    """Reads, and lets something happen before anybody learns what was read, once."""

    def __init__(self, hall: OpenHall, meanwhile: Callable[[], Awaitable[Any]]) -> None:
        self.engine = hall.hall.database.engine
        self.write, self.close = hall.hall.database.write, hall.hall.database.close
        self._database, self._meanwhile = hall.hall.database, [meanwhile]

    async def read(self, work: Any) -> Any:
        result = await self._database.read(work)
        while self._meanwhile:
            await self._meanwhile.pop()()
        return result


@pytest.mark.requirement("R22")
async def test_r22_what_is_granted_here_while_rows_are_learned_is_not_undone(nodes: Nodes) -> None:
    first = nodes.halls[0]
    boss, bob = await first.administrator("boss"), await first.member("bob")
    await do(first, boss, "define_role", **MADE[1])
    index = index_of(first)
    await index.admit(first.hall.database, bob.member_id)
    await look(nodes)
    await tail_of(first).close()
    slow = SlowDatabase(first, lambda: do(first, boss, "grant_role", **bound("bob")))
    await first.hall.house.use(BindingLearner).relearn(slow, [f"subject {bob.member_id}"])
    assert index.allows(bob.member_id, "teams:list", "")


@pytest.mark.requirement("R22")
async def test_r22_who_is_read_while_another_node_takes_away_is_read_again(nodes: Nodes) -> None:
    first, second = nodes.halls
    boss, bob = await first.administrator("boss"), await first.member("bob")
    for verb, fields in [MADE, grant("bob", "board/7")]:
        await do(first, boss, verb, **fields)
    await look(nodes)
    await tail_of(second).close()

    async def take_away() -> None:
        await do(first, boss, "revoke_all", at="board/7")
        await tail_of(second).look()

    index = index_of(second)
    assert index.find_rights(bob.member_id) is None
    await index.admit(SlowDatabase(second, take_away), bob.member_id)
    assert not index.allows(bob.member_id, "teams:list", "board/7")


# --- decisions are made on the rows, not on what a node remembers ---------------------------------


@pytest.mark.requirement("R22")
async def test_r22_who_lost_a_role_at_one_node_gives_it_to_nobody_at_the_other(
    nodes: Nodes,
) -> None:
    first, second = nodes.halls
    boss, eve = await first.administrator("boss"), await first.member("eve")
    await first.member("bob")
    everything = {"member": "eve", "role": "administrator", "at": ""}
    await do(first, boss, "grant_role", **everything)
    await index_of(second).admit(second.hall.database, eve.member_id)
    await tail_of(second).close()  # it learns nothing from now on
    await do(first, boss, "revoke_role", **everything)
    assert index_of(second).allows(eve.member_id, "*", "")
    deeds: list[tuple[str, dict[str, Any]]] = [
        ("grant_role", {"member": "bob", "role": "administrator"}),
        ("define_role", {"name": "mine", "permissions": ["*"]}),
        ("ban", {"member": "boss", "at": "org"}),
    ]
    for verb, fields in deeds:
        refusal = await refused(second, eve, f"access.{verb}", fields)
        assert refusal.name in {"grant_exceeds_own", "ban_exceeds_own"}, verb


@pytest.mark.requirement("R22")
async def test_r22_nobody_enters_a_team_that_was_given_more_at_the_other_node(
    nodes: Nodes,
) -> None:
    first, second = nodes.halls
    boss, eve = await first.administrator("boss"), await first.member("eve")
    await do(first, boss, "grant_role", member="eve", role="team_manager")
    await do(first, boss, "create_team", team="staff")
    await index_of(second).admit(second.hall.database, eve.member_id)
    await tail_of(second).close()
    await do(first, boss, "grant_role", member="team:staff", role="administrator")
    fields = {"team": "staff", "member": "eve"}
    refusal = await refused(second, eve, "access.add_team_member", fields)
    assert refusal.name == "grant_exceeds_own"
    refusal = await refused(second, eve, "access.delete_team", {"team": "staff"})
    assert refusal.name == "grant_exceeds_own"


# --- races ----------------------------------------------------------------------------------------


async def administrators(hall: OpenHall) -> int:
    return await count(
        hall,
        "SELECT count(*) FROM access_binding WHERE role = 'administrator' AND path = '' "
        "AND subject NOT IN (SELECT member_id FROM access_ban WHERE path = '')",
    )


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


@pytest.mark.requirement("R11")
async def test_r11_of_many_claims_at_two_nodes_one_succeeds(tmp_path: Path) -> None:
    for seed in range(3):
        async with open_nodes(tmp_path / str(seed)) as nodes:
            first, second = nodes.halls
            people = [await first.member(f"person{number}") for number in range(8)]
            shown = await asyncio.gather(
                *(share_secret(hall, hall.settings.data_path / "secret") for hall in nodes.halls)
            )
            assert shown[0] == shown[1], seed
            secret = {"secret": shown[0]}
            outcomes = await together(
                seed,
                *(
                    (hall, who, "access.claim_administration", secret)
                    for who, hall in zip(people, [first, second] * 4, strict=True)
                ),
            )
            assert sorted(outcomes) == ["administration_claimed"] * 7 + ["done"], seed
            assert await administrators(first) == 1


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


# --- the first administrator ----------------------------------------------------------------------


async def share_secret(hall: OpenHall, file: Path) -> str:
    """Begin as the program does, and return what its operator sees."""
    secret = await renew_secret(hall.hall, file)
    assert secret is not None
    assert file.read_text().strip() == secret  # noqa: ASYNC240 - a test alone in its loop
    return secret


@pytest.mark.requirement("R11")
async def test_r11_all_nodes_show_one_secret_and_forget_it_when_it_is_spent(
    nodes: Nodes, tmp_path: Path
) -> None:
    first, second = nodes.halls
    secret = await share_secret(first, tmp_path / "first")
    assert await share_secret(second, tmp_path / "second") == secret
    assert await share_secret(first, tmp_path / "first") == secret, "also after another start"
    spent = asyncio.Event()
    claim: Any = first.hall.house.use(Claim)
    claim._on_claimed = spent.set
    ann = await second.member("ann")
    await index_of(first).admit(first.hall.database, ann.member_id)
    await second.call("access.claim_administration", {"secret": secret}, as_=ann)
    await asyncio.wait_for(spent.wait(), WITHIN_SECONDS)
    await until(lambda: index_of(first).allows(ann.member_id, "*", ""))
    assert await renew_secret(second.hall, tmp_path / "second") is None
    assert not (tmp_path / "second").exists()
    # As docs/how-to/run-sign-in.md lets whoever holds the rows do.
    reset = "UPDATE access_claim SET claimed_by = NULL, claimed_at_ms = NULL"
    await first.hall.database.write(lambda tx: tx.execute(reset))
    assert await share_secret(second, tmp_path / "second") != secret, "what was used stays useless"
