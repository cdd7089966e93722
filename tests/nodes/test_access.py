"""The room `access` on two nodes: what one changed acts at the other, and rows alone decide."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from moothall.services.access.adapters.bindings import StoredBindings
from moothall.services.access.adapters.learning import BindingLearner
from moothall.storage.postgres import database
from moothall.testing import OpenHall
from tests.nodes.access import JOINS, MADE, STAFF, bound, grant, index_of, open_two
from tests.nodes.watching import look, tail_of, until
from tests.servers.nodes import Nodes
from tests.unit.services.access.calls import do, refused


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    async with open_two(tmp_path) as opened:
        yield opened


# --- what one node changed acts at the other ------------------------------------------------------

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
