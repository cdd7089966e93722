"""A resource server of several nodes: one follows the issuer, and the others learn from there."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from moothall.action.connections import CloseReason
from moothall.bus import MemoryBus, MemoryNetwork
from moothall.services.identity.adapters.follower import FollowedKeys, FollowedMembers
from moothall.storage.postgres import RowLease, database
from moothall.testing import NearIssuer, OpenHall, Visitor, open_test_hall
from moothall.testing.postgres import drop_databases
from tests.nodes.identity import outcome, until_refused
from tests.nodes.watching import WITHIN_SECONDS, tail_of, until
from tests.servers.postgres import use_postgres

AUDIENCE = "https://boards.test"
ROOMS = ("hall",)


@dataclass(frozen=True, slots=True)
class Server:
    """The issuer, which is a hall of one process, and two nodes of its resource server."""

    home: OpenHall
    near: NearIssuer
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
            yield Server(home, near, boss, *nodes)
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


@pytest.mark.requirement("R36")
async def test_a_node_that_keeps_house_no_more_follows_the_issuer_no_more(server: Server) -> None:
    """Or two would follow it for ever, with one key and one cursor."""
    lease = server.first.hall.foundation.lease
    assert isinstance(lease, RowLease)
    depose = "UPDATE action_lease SET holder = 'another', until_ms = until_ms + 3600000"
    await server.first.hall.database.write(lambda tx: tx.execute(depose))
    assert server.near.is_followed
    await lease._ask()
    await until(lambda: not server.near.is_followed)


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


@pytest.mark.requirement("R2")
async def test_a_node_that_was_away_takes_the_keys_that_were_written_down(server: Server) -> None:
    """Notices of what was retired meanwhile are swept, and the issuer may not answer."""
    await tail_of(server.second).close()
    kid = server.home.hall.keys.signing_key().kid
    assert kid is not None
    await server.home.call("identity.retire_key", {"kid": kid}, as_=server.boss)
    async with asyncio.timeout(WITHIN_SECONDS):
        sql = "SELECT jwks FROM identity_issuer"
        while kid in str(await server.first.rows(sql)):  # noqa: ASYNC110 - a row tells nobody
            await asyncio.sleep(0.002)
    ring = server.second.hall.house.use(FollowedKeys)
    assert ring.verifying_key(kid) is not None
    await ring.relearn(server.second.hall.database, ())
    assert ring.verifying_key(kid) is None
    assert await ring.wait_wanted(0), "what the issuer has now is fetched"


@pytest.mark.requirement("R16")
@pytest.mark.parametrize("is_swept", [False, True], ids=["notice", "notices swept"])
async def test_a_member_who_is_removed_is_not_known_again_by_a_hook_that_is_late(
    server: Server, monkeypatch: pytest.MonkeyPatch, *, is_swept: bool
) -> None:
    ben = await server.home.token_for(await server.home.member("ben"), AUDIENCE)
    late: list[Callable[[], None]] = []
    with monkeypatch.context() as patch:
        patch.setattr(database, "run_hooks", late.extend)
        assert await outcome(server.second, "get_self", ben) == "done"
    known = server.second.hall.house.use(FollowedMembers)
    await tail_of(server.second).close()
    sql = "UPDATE identity_member SET name = '', removed_at_ms = 1 WHERE member_id = $1"

    async def remove(tx: Any) -> None:
        await tx.execute(sql, ben.member_id)
        await server.first.hall.house.use(FollowedMembers).remove(tx, ben.member_id)

    await server.first.hall.database.write(remove)
    if is_swept:
        await known.relearn(server.second.hall.database, ())
    else:
        await tail_of(server.second).look()
    for hook in late:
        hook()
    assert not known.knows(ben.member_id, "ben", 0)
    assert await outcome(server.second, "get_self", ben) == "unauthenticated"
