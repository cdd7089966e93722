"""Accounts and keys at several nodes of one hall: what one did holds at the others.

Where calls meet, they are made in the order of a seed, or behind a lock that the test holds.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from moothall.action.connections import CloseReason
from moothall.core.units import MINUTE_MS
from moothall.services.identity.adapters.activity import HEARD_WITHIN_MS, TOLD_EVERY_MS_MAX
from moothall.services.identity.adapters.keys import KNOWN_AFTER_MS, SealedKeyRing
from moothall.services.identity.adapters.senders import Senders
from moothall.storage.postgres import database
from moothall.testing import OpenHall, Visitor
from moothall.testing.hall import PASSWORD, CheapHasher
from tests.nodes.boards import run_job_anyway
from tests.nodes.identity import SEEDS, Letterbox, meet, open_two, outcome, until_refused
from tests.nodes.watching import tail_of, until
from tests.servers.nodes import Nodes
from tests.unit.services.identity.server_calls import BOARDS, KEY, assertion, rotate_now, shown

IDLE_MS = 10 * MINUTE_MS


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    async with open_two(tmp_path) as opened:
        yield opened


# --- what is remembered ---------------------------------------------------------------------------


@pytest.mark.requirement("R5")
async def test_who_signs_out_at_one_node_is_out_at_the_other(nodes: Nodes) -> None:
    first, second = nodes.halls
    ann = await first.member("ann")
    connection = await second.connect(ann)
    assert await outcome(second, "get_self", ann) == "done"
    await first.call("identity.close_session", as_=ann)
    await until(lambda: connection.reason is CloseReason.SESSION_ENDED)
    assert await outcome(second, "get_self", ann) == "unauthenticated"


@pytest.mark.requirement("R5")
@pytest.mark.requirement("R16")
async def test_who_is_removed_at_one_node_is_gone_at_the_other(nodes: Nodes) -> None:
    first, second = nodes.halls
    boss, ann = await first.administrator("boss"), await second.member("ann")
    connection = await second.connect(ann)
    await first.call("identity.remove_member", {"member": "ann"}, as_=boss)
    await until(lambda: connection.reason is CloseReason.SESSION_ENDED)
    assert await outcome(second, "get_self", ann) == "unauthenticated"


@pytest.mark.requirement("R5")
async def test_a_node_that_starts_later_knows_who_signed_out(tmp_path: Path) -> None:
    async with open_two(tmp_path) as nodes:
        first = nodes.halls[0]
        ann = await first.member("ann")
        await first.call("identity.close_session", as_=ann)
        second = nodes.halls[1]
        await until_refused(second, ann)


@pytest.mark.requirement("R11")
@pytest.mark.parametrize("now", [False, True])
async def test_a_key_is_known_at_every_node_before_it_signs(nodes: Nodes, *, now: bool) -> None:
    first, second = nodes.halls
    boss = await first.administrator("boss")
    made = await first.call("identity.rotate_keys", {"now": now}, as_=boss)
    assert made.begins_at_ms >= first.clock.now_ms() + KNOWN_AFTER_MS
    await until(lambda: second.hall.keys.verifying_key(made.kid) is not None)
    first.clock.advance(made.begins_at_ms - first.clock.now_ms())
    assert first.hall.keys.signing_key().kid == second.hall.keys.signing_key().kid == made.kid
    assert await outcome(second, "get_self", await first.sign_in("boss")) == "done"


@pytest.mark.requirement("R11")
async def test_a_key_that_is_retired_at_one_node_verifies_nothing_at_the_other(
    nodes: Nodes,
) -> None:
    first, second = nodes.halls
    boss = await first.administrator("boss")
    old = first.hall.keys.signing_key().kid
    assert old is not None
    await rotate_now(first, boss)  # or retiring it would make one, and so tell of all of them
    await until(lambda: second.hall.keys.signing_key().kid != old)
    assert await outcome(second, "get_self", boss) == "done"
    await first.call("identity.retire_key", {"kid": old}, as_=boss)
    await until_refused(second, boss)
    assert second.hall.keys.verifying_key(old) is None
    assert await outcome(second, "get_self", await first.sign_in("boss")) == "done"


@pytest.mark.requirement("R11")
@pytest.mark.parametrize("is_swept", [False, True], ids=["notice", "notices swept"])
async def test_a_key_that_is_retired_is_not_published_by_a_hook_that_is_late(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, *, is_swept: bool
) -> None:
    first, second = nodes.halls
    boss = await first.administrator("boss")
    late: list[Callable[[], None]] = []
    await tail_of(first).close()
    with monkeypatch.context() as patch:
        patch.setattr(database, "run_hooks", late.extend)
        made = await first.call("identity.rotate_keys", as_=boss)
    await second.call("identity.retire_key", {"kid": made.kid}, as_=boss)
    ring = first.hall.house.use(SealedKeyRing)
    if is_swept:
        await ring.relearn(first.hall.database, ())
    else:
        await tail_of(first).look()
    for hook in late:
        hook()
    assert ring.verifying_key(made.kid) is None
    assert made.kid not in str(ring.public_jwks())


@pytest.mark.requirement("R13")
async def test_who_is_active_at_one_node_only_is_not_signed_out_by_the_other(
    tmp_path: Path,
) -> None:
    async with open_two(tmp_path, sessions={"idle_timeout_ms": IDLE_MS}) as nodes:
        first, second = nodes.halls
        busy, idle = await first.member("busy"), await first.member("idle")
        for _ in range(2 * IDLE_MS // MINUTE_MS):
            busy = first.renew(busy)
            await first.call("identity.get_self", as_=busy)
            first.clock.advance(MINUTE_MS)
            await first.run_job("identity.tell_activity")
            await second.hall.foundation.tail.look()  # type: ignore[union-attr] # it has one
            for hall in nodes.halls:
                await run_job_anyway(hall, "identity.end_idle_sessions")
        ended = await first.rows(
            "SELECT member_id FROM identity_session WHERE ended_at_ms IS NOT NULL"
        )
        assert ended == [(idle.member_id,)]
        first.clock.advance(IDLE_MS + TOLD_EVERY_MS_MAX + HEARD_WITHIN_MS)
        await run_job_anyway(second, "identity.end_idle_sessions")
        await until_refused(first, first.renew(busy))


# --- what is used once ----------------------------------------------------------------------------


@pytest.mark.requirement("R10")
@pytest.mark.parametrize("seed", SEEDS)
async def test_an_invitation_at_two_nodes_makes_as_many_accounts_as_it_says(
    tmp_path: Path, seed: int
) -> None:
    async with open_two(tmp_path, registration={"mode": "invite"}) as nodes:
        first = nodes.halls[0]
        boss = await found(first)
        made = await first.call("identity.create_invitation", {"uses": 3}, as_=boss)
        told = await meet(
            seed,
            (
                outcome(
                    nodes.halls[at % 2],
                    "register",
                    name=f"player {at}",
                    password=PASSWORD,
                    invitation=made.code,
                )
                for at in range(20)
            ),
        )
        assert Counter(told) == {"done": 3, "invitation_refused": 17}, seed


async def found(hall: OpenHall) -> Visitor:
    """Return the administrator of a hall in which nobody can register."""
    await hall.hall.database.write(_add_boss)
    boss = await hall.sign_in("boss")
    await hall.claim(boss)
    return boss


async def _add_boss(tx: Any) -> None:
    sql = """
    INSERT INTO identity_member (member_id, name, name_key, skeleton, password_hash, created_at_ms)
    VALUES ('01hzzzzzzzzzzzzzzzzzzzzzzz', 'boss', 'boss', 'boss', $1, 1)
    """
    await tx.execute(sql, await CheapHasher().hash(PASSWORD))


@pytest.mark.requirement("R10")
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_name_at_two_nodes_is_given_once(nodes: Nodes, seed: int) -> None:
    names = ["ann", "Ann", "ANN", "\u0251nn"] * 6  # the last one looks like the others
    told = await meet(
        seed,
        (
            outcome(nodes.halls[at % 2], "register", name=name, password=PASSWORD)
            for at, name in enumerate(names)
        ),
    )
    assert Counter(told) == {"done": 1, "name_taken": 23}, seed


@pytest.mark.requirement("R8")
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_recovery_code_at_two_nodes_is_good_once(nodes: Nodes, seed: int) -> None:
    first = nodes.halls[0]
    boss = await first.administrator("boss")
    await first.member("alice")
    issued = await first.call("identity.issue_recovery_code", {"member": "alice"}, as_=boss)
    told = await meet(
        seed,
        (
            outcome(
                nodes.halls[at % 2],
                "complete_recovery",
                name="alice",
                code=issued.code,
                new_password=f"another password {at}",
            )
            for at in range(8)
        ),
    )
    assert told.count("done") == 1, (seed, told)
    assert set(told) == {"done", "recovery_refused"}


@pytest.mark.requirement("R10")
@pytest.mark.parametrize("seed", SEEDS)
async def test_contacts_at_two_nodes_are_bounded_and_never_the_last_one_goes(
    tmp_path: Path, seed: int
) -> None:
    async with open_two(tmp_path, registration={"contacts_per_member_max": 2}) as nodes:
        first, box = nodes.halls[0], Letterbox()
        for hall in nodes.halls:
            hall.hall.house.ports[Senders] = Senders({"email": box})  # type: ignore[index]
        ann = await first.member("ann")
        addresses = [f"ann{at}@example.org" for at in range(5)]
        for at, address in enumerate(addresses):
            asked = {"contact": address, "password": PASSWORD, "source": f"203.0.113.{at}"}
            assert await outcome(first, "add_contact", ann, **asked) == "done"
        told = await meet(
            seed,
            (
                outcome(
                    nodes.halls[at % 2], "verify_contact", ann, contact=each, code=box.codes[each]
                )
                for at, each in enumerate(addresses * 2)
            ),
        )
        assert told.count("done") == 2, (seed, told)
        assert len(await first.rows("SELECT 1 FROM identity_contact")) == 2


@pytest.mark.requirement("R5")
async def test_an_assertion_at_two_nodes_is_taken_once(nodes: Nodes) -> None:
    first = nodes.halls[0]
    boss = await first.administrator("boss")
    fields = {"audience": BOARDS, "server_key": shown(KEY)}
    await first.call("identity.add_audience", fields, as_=boss)
    for number in range(5):
        text = assertion(first, number)
        told = await meet(
            number,
            (outcome(hall, "open_server_session", assertion=text) for hall in nodes.halls * 4),
        )
        assert Counter(told) == {"done": 1, "server_refused": 7}


@pytest.mark.requirement("R11")
@pytest.mark.parametrize("seed", SEEDS)
async def test_rotating_at_two_nodes_at_once_makes_one_key(nodes: Nodes, seed: int) -> None:
    first = nodes.halls[0]
    boss = await first.administrator("boss")
    told = await meet(seed, (outcome(hall, "rotate_keys", boss) for hall in nodes.halls * 4))
    assert Counter(told) == {"done": 1, "rotation_pending": 7}, seed
    assert await first.rows("SELECT count(*) FROM identity_key") == [(2,)]


@pytest.mark.requirement("R11")
@pytest.mark.parametrize("seed", SEEDS)
async def test_audiences_at_two_nodes_are_bounded(tmp_path: Path, seed: int) -> None:
    async with open_two(tmp_path, tokens={"audiences_max": 3}) as nodes:
        boss = await nodes.halls[0].administrator("boss")
        told = await meet(
            seed,
            (
                outcome(nodes.halls[at % 2], "add_audience", boss, audience=f"urn:server{at}")
                for at in range(12)
            ),
        )
        assert Counter(told) == {"done": 3, "too_many_audiences": 9}, seed
