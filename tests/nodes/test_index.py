"""Whatever is changed at two nodes, both remember the same, and what a start would read."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from moothall.action.tail import Tail
from moothall.app.compose import find_catalog, make_resources
from moothall.app.config import read_hall_tables
from moothall.services.access.adapters.bindings import StoredBindings
from moothall.testing import OpenHall, Visitor
from tests.servers.nodes import open_nodes

MEMBERS = ("ann", "bob", "cid")
TEAMS = ("a", "b")
ROLES = ("r1", "r2")
PATHS = ("", "org", "org/1", "org/10")
PERMISSIONS = ("teams:list", "roles:list", "audit:read")

names = st.sampled_from(MEMBERS)
subjects = st.sampled_from((*MEMBERS, "team:a", "team:b", "everyone"))
roles = st.sampled_from((*ROLES, "auditor"))
held = st.lists(st.sampled_from(PERMISSIONS), min_size=1, max_size=2, unique=True)
paths = st.sampled_from(PATHS)
nodes = st.integers(0, 1)


class TwoNodes(RuleBasedStateMachine):
    """Changes at random at two nodes; ``ann`` is kept in memory, the others come and go."""

    @initialize()
    def open(self) -> None:
        self.runner = asyncio.Runner()
        self.opened = AsyncExitStack()
        self.boss: Visitor
        self.ids: dict[str, str] = {}
        self.halls: list[OpenHall] = []
        self.pending: list[tuple[int, str, dict[str, Any]]] = []
        self.runner.run(self._open())

    async def _open(self) -> None:
        folder = Path(self.opened.enter_context(tempfile.TemporaryDirectory()))
        self.halls = (await self.opened.enter_async_context(open_nodes(folder))).halls
        self.boss = await self.halls[0].administrator("boss")
        for name in MEMBERS:
            self.ids[name] = (await self.halls[0].member(name)).member_id
        for hall in self.halls:
            await index_of(hall).admit(hall.hall.database, self.ids["ann"])
        for role, team in zip(ROLES, TEAMS, strict=True):
            self.add(0, "define_role", name=role, permissions=PERMISSIONS[:1])
            self.add(1, "create_team", team=team)
        await self._compare()
        for role, name, at in product(ROLES, MEMBERS, PATHS[:2]):
            self.add(0, "grant_role", member=name, role=role, at=at)
        for team, name in product(TEAMS, MEMBERS):
            self.add(1, "add_team_member", team=team, member=name)
            self.add(1, "grant_role", member=f"team:{team}", role="auditor", at="org/1")
        await self._compare()

    # Deeds are gathered, and done at once.

    @rule(node=nodes, subject=subjects, role=roles, at=paths)
    def grant(self, node: int, subject: str, role: str, at: str) -> None:
        self.add(node, "grant_role", member=subject, role=role, at=at)

    @rule(node=nodes, subject=subjects, role=roles, at=paths)
    def revoke(self, node: int, subject: str, role: str, at: str) -> None:
        self.add(node, "revoke_role", member=subject, role=role, at=at)

    @rule(node=nodes, role=st.sampled_from(ROLES), permissions=held)
    def define(self, node: int, role: str, permissions: list[str]) -> None:
        self.add(node, "define_role", name=role, permissions=permissions)

    @rule(node=nodes, role=st.sampled_from(ROLES), permissions=held)
    def update(self, node: int, role: str, permissions: list[str]) -> None:
        self.add(node, "update_role", name=role, permissions=permissions)

    @rule(node=nodes, role=st.sampled_from(ROLES))
    def delete_role(self, node: int, role: str) -> None:
        self.add(node, "delete_role", name=role, force=True)

    @rule(node=nodes, team=st.sampled_from(TEAMS))
    def create_team(self, node: int, team: str) -> None:
        self.add(node, "create_team", team=team)

    @rule(node=nodes, team=st.sampled_from(TEAMS))
    def delete_team(self, node: int, team: str) -> None:
        self.add(node, "delete_team", team=team)

    @rule(node=nodes, team=st.sampled_from(TEAMS), name=names)
    def join(self, node: int, team: str, name: str) -> None:
        self.add(node, "add_team_member", team=team, member=name)

    @rule(node=nodes, team=st.sampled_from(TEAMS), name=names)
    def leave(self, node: int, team: str, name: str) -> None:
        self.add(node, "remove_team_member", team=team, member=name)

    @rule(node=nodes, name=names, at=paths)
    def ban(self, node: int, name: str, at: str) -> None:
        self.add(node, "ban", member=name, at=at)

    @rule(node=nodes, name=names, at=paths)
    def lift(self, node: int, name: str, at: str) -> None:
        self.add(node, "lift_ban", member=name, at=at)

    @rule(node=nodes, at=st.sampled_from(PATHS[1:]))
    def clear(self, node: int, at: str) -> None:
        self.add(node, "revoke_all", at=at)

    @rule(node=nodes, name=names)
    def call(self, node: int, name: str) -> None:
        """Read somebody into memory while others are changed."""
        self.pending.append((node, "", {"member_id": self.ids[name]}))

    @precondition(lambda self: bool(self.pending))
    @rule()
    def compare(self) -> None:
        self.runner.run(self._compare())

    def add(self, node: int, verb: str, **fields: Any) -> None:
        self.pending.append((node, verb, fields))

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self._close())
            self.runner.close()

    async def _close(self) -> None:
        try:
            if self.halls:
                await self._compare()
        finally:
            await self.opened.aclose()

    async def _do(self, node: int, verb: str, fields: dict[str, Any]) -> None:
        hall = self.halls[node]
        if not verb:
            index = index_of(hall)
            if not index.keep(fields["member_id"]):
                await index.admit(hall.hall.database, fields["member_id"])
            index.release(fields["member_id"])
            return
        reply = await hall.answer(f"access.{verb}", fields, token=self.boss.token)
        assert reply.problem is None or reply.problem.name != "internal", (verb, fields)

    async def _compare(self) -> None:
        deeds, self.pending = self.pending, []
        await asyncio.gather(*(self._do(*deed) for deed in deeds))
        for hall in self.halls:
            tail = hall.hall.foundation.tail
            assert isinstance(tail, Tail)
            await tail.look()
        fresh = await start_anew(self.halls[0])
        for name in MEMBERS:
            await fresh.admit(self.halls[0].hall.database, self.ids[name])
        for hall, (name, permission, path) in product(
            self.halls, product(MEMBERS, PERMISSIONS, PATHS)
        ):
            index = index_of(hall)
            rights = await hall.hall.database.read(
                lambda tx, index=index, name=name: index.rights_of(tx, self.ids[name])  # type: ignore[misc]
            )
            expected = fresh.allows(self.ids[name], permission, path)
            asked = (hall.settings.data, name, permission, path)
            assert rights.allows(permission, path) is expected, asked
        for hall in self.halls:
            index = index_of(hall)
            assert sorted(index.list_defined()) == sorted(fresh.list_defined())
            ann = index.rights_in_memory(self.ids["ann"])
            whole = fresh.rights_in_memory(self.ids["ann"])
            assert {at: [one.name for one in of] for at, of in ann.own.items()} == {
                at: [one.name for one in of] for at, of in whole.own.items()
            }


def index_of(hall: OpenHall) -> StoredBindings:
    return hall.hall.house.use(StoredBindings)


async def start_anew(hall: OpenHall) -> StoredBindings:
    """Return what a node would remember that starts now."""
    catalog = find_catalog(hall.settings)
    house, key = hall.hall.house, hall.hall.foundation.sealing_key
    tables = read_hall_tables(hall.settings.tables, catalog.settings)
    index = StoredBindings(
        make_resources(hall.settings, catalog, tables, key, house.clock, house.entropy)
    )
    await hall.hall.database.read(index.load)
    return index


# Halls are opened for each run, so a failure is shown as it was found.
TestTwoNodes = pytest.mark.timeout(240)(pytest.mark.requirement("R22")(TwoNodes.TestCase))
TestTwoNodes.settings = settings(
    max_examples=5,
    stateful_step_count=60,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
