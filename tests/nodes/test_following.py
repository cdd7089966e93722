"""A resource server of several nodes: one follows the issuer, and the others learn from there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from moothall.action.connections import CloseReason
from moothall.bus import MemoryBus, MemoryNetwork
from moothall.services.identity.adapters.follower import FollowedMembers
from moothall.testing import NearIssuer, OpenHall, Visitor, open_test_hall
from moothall.testing.postgres import drop_databases
from tests.nodes.test_identity import outcome, until, until_refused
from tests.servers.postgres import use_postgres

AUDIENCE = "https://boards.test"
ROOMS = ("hall",)


@dataclass(frozen=True, slots=True)
class Server:
    """The issuer, which is a hall of one process, and two nodes of its resource server."""

    home: OpenHall
    boss: Visitor
    first: OpenHall
    """The one that follows."""
    second: OpenHall

    async def visitor(self, name: str) -> Visitor:
        """Return a member with a token for the resource server, whom both nodes have met."""
        visitor = await self.home.token_for(await self.home.member(name), AUDIENCE)
        for node in (self.first, self.second):
            assert await outcome(node, "get_self", visitor) == "done"
        return visitor


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    network = MemoryNetwork()
    async with AsyncExitStack() as opened:
        home = await opened.enter_async_context(open_test_hall(tmp_path / "home", rooms=ROOMS))
        boss = await home.administrator("boss")
        near = NearIssuer(home, AUDIENCE)
        fields = {"audience": AUDIENCE, "server_key": near.server_key}
        await home.call("identity.add_audience", fields, as_=boss)
        opened.enter_context(use_postgres())
        opened.push_async_callback(drop_databases)
        nodes: list[OpenHall] = []
        for number in range(2):
            joins: dict[str, Any] = {"node_of": nodes[0]} if nodes else {"rooms": ROOMS}
            node = open_test_hall(
                tmp_path / f"node{number}",
                follows=near,
                clock=home.clock,
                bus=MemoryBus("boards", network),
                **joins,
            )
            nodes.append(await opened.enter_async_context(node))
        following = asyncio.create_task(nodes[0].run_job("identity.follow_issuer"))
        try:
            await until(lambda: near.is_followed)
            yield Server(home, boss, *nodes)
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following


@pytest.mark.requirement("R5")
async def test_who_signs_out_at_the_issuer_is_out_at_every_node(server: Server) -> None:
    ann = await server.visitor("ann")
    connections = [await node.connect(ann) for node in (server.first, server.second)]
    at_home = await server.home.sign_in("ann")
    await server.home.call("identity.revoke_session", {"session_id": ann.session_id}, as_=at_home)
    for connection in connections:
        await until(lambda each=connection: each.reason is CloseReason.SESSION_ENDED)  # type: ignore[misc]
    await until_refused(server.first, ann)
    await until_refused(server.second, ann)


@pytest.mark.requirement("R5")
@pytest.mark.requirement("R16")
async def test_who_is_removed_or_renamed_is_so_at_every_node(server: Server) -> None:
    ann, ben = await server.visitor("ann"), await server.visitor("ben")
    known = server.second.hall.house.use(FollowedMembers)
    assert known.knows(ann.member_id, "ann", 0)
    connection = await server.second.connect(ben)
    fields = {"member": "ann", "name": "Anna"}
    await server.home.call("identity.rename_member", fields, as_=server.boss)
    await server.home.call("identity.remove_member", {"member": "ben"}, as_=server.boss)
    await until(lambda: not known.knows(ann.member_id, "ann", 0))
    await until(lambda: connection.reason is CloseReason.SESSION_ENDED)
    await until_refused(server.second, ben)
    shown = await server.second.call("identity.get_self", as_=ann)
    assert shown.name == "Anna"


@pytest.mark.requirement("R16")
async def test_a_removal_alone_ends_the_connections_at_every_node(server: Server) -> None:
    """The word that their sessions have ended may have been lost with the cursor."""
    ben = await server.visitor("ben")
    connection = await server.second.connect(ben)
    members = server.first.hall.house.use(FollowedMembers)
    sql = "UPDATE identity_member SET name = '', removed_at_ms = 1 WHERE member_id = $1"

    async def remove(tx: Any) -> None:
        await tx.execute(sql, ben.member_id)
        await members.remove(tx, ben.member_id)

    await server.first.hall.database.write(remove)
    await until(lambda: connection.reason is CloseReason.SESSION_ENDED)
    assert await outcome(server.second, "get_self", ben) == "unauthenticated"


@pytest.mark.requirement("R2")
async def test_a_key_that_the_issuer_retires_verifies_nothing_at_any_node(server: Server) -> None:
    ann = await server.visitor("ann")
    kid = server.home.hall.keys.signing_key().kid
    assert kid is not None
    await server.home.call("identity.retire_key", {"kid": kid}, as_=server.boss)
    await until_refused(server.first, ann)
    await until_refused(server.second, ann)
    await server.second.run_job("identity.fetch_issuer_keys")  # each node does so for itself
    anew = await server.home.token_for(await server.home.sign_in("ann"), AUDIENCE)
    assert await outcome(server.second, "get_self", anew) == "done"
